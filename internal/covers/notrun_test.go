package covers

import (
	"os"
	"path/filepath"
	"testing"
)

func TestNotRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "not-run")
	t.Setenv(NotRunEnv, path)
	t.Setenv(RequireEnv, "")
	var skipped bool
	t.Run("inner", func(t *testing.T) {
		defer func() { skipped = t.Skipped() }()
		NotRun(t, "docker", "no engine answers")
	})
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !skipped || string(got) != "NOT RUN: docker (no engine answers)\n" {
		t.Errorf("skipped = %v, recorded %q", skipped, got)
	}
}
