package docker

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/docker/docker/api/types/image"
	"github.com/google/uuid"
)

// TestAgentImageLost has the image removed while no container uses it, as an
// emulator of another version does.
func TestAgentImageLost(t *testing.T) {
	needEngine(t)
	raw, err := os.ReadFile(program(t, "agent"))
	if err != nil {
		t.Fatal(err)
	}
	// A build of its own, which no other test uses: what follows a program's
	// sections is not looked at.
	own := filepath.Join(t.TempDir(), "agent")
	if err := os.WriteFile(own, slices.Concat(raw, []byte(uuid.NewString())), 0o755); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *Config) { c.AgentBinary = own })
	importProgram(t, probeImage, "probe", `["/probe", ":8080"]`)
	ref, err := w.agentImage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	remove := func() error {
		api, err := Client("")
		if err != nil {
			return err
		}
		defer api.Close() //nolint:errcheck // idle connections only
		_, err = api.ImageRemove(t.Context(), ref, image.RemoveOptions{})
		if err = tell(err); errors.Is(err, errNotFound) {
			return nil // another emulator did it
		}
		return err
	}
	if err := remove(); err != nil {
		t.Fatal(err)
	}
	i, _ := w.run(t, probeImage, nil)
	if got := ask(t, i, "/get", "url", "https://"+blobHost+"/"); got != "200 hello from "+blobHost {
		t.Error(got)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	nothingLeft(t, w.cfg)
	if err := remove(); err != nil {
		t.Error(err)
	}
}
