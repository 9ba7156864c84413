package docker

import (
	"slices"
	"strings"
	"testing"
)

func TestPossibleSelves(t *testing.T) {
	a, b := strings.Repeat("0a", 32), strings.Repeat("1b", 32)
	for _, tt := range []struct {
		name, table string
		want        []string
	}{
		{"a host", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 22 0:5 /etc/hosts /mnt/hosts rw - ext4 /dev/sda1 rw\n", nil},
		{"docker", "901 880 8:1 /var/lib/docker/containers/" + a + "/resolv.conf /etc/resolv.conf rw - ext4 /dev/sda1 rw\n" +
			"902 880 8:1 /var/lib/docker/containers/" + a + "/hostname /etc/hostname rw - ext4 /dev/sda1 rw\n", []string{a}},
		{"podman", "902 880 0:44 /containers/overlay-containers/" + b + "/userdata/hostname /etc/hostname rw - tmpfs tmpfs rw\n", []string{b}},
		{"something else with an id", "902 880 8:1 /var/lib/docker/containers/" + a + "/hostname /data/etc/hostname rw - ext4 /dev/sda1 rw\n", nil},
		{"no id", "902 880 8:1 /containers/short/hostname /etc/hostname rw - ext4 /dev/sda1 rw\n", nil},
		{"broken", "/etc/hostname\n\n", nil},
	} {
		if got := possibleSelves(tt.table); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
