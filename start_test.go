package amlocal

import (
	"fmt"
	"strings"
	"testing"
)

func TestStartAndClose(t *testing.T) {
	e := start(t, nil)
	if s := e.Status(); s.Port == 0 || s.Runner != "process" || s.StateUUID == "" {
		t.Errorf("status %+v", s)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	a := Access{Port: 1, AdminToken: "admin-token", OwnerSecret: "owner-secret"}
	for _, s := range []string{fmt.Sprint(a), fmt.Sprintf("%+v", a), fmt.Sprintf("%#v", a), fmt.Sprintf("%v", &a)} {
		if strings.Contains(s, "admin-token") || strings.Contains(s, "owner-secret") {
			t.Errorf("a secret is printed: %s", s)
		}
	}
}
