package e2e

import (
	"bufio"
	"path/filepath"
	"strings"
	"testing"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
)

// TestPythonKeyRotation: PyJWT, which caches the key set, takes tokens from
// before and after a rotation without fetching it again, as its next key was in
// there, and after several where it may. The other tests go on meanwhile.
func TestPythonKeyRotation(t *testing.T) {
	covers.C(t, "PyJWT", "R-524")
	verifyWhileRotating(t, "3600", 1)
	verifyWhileRotating(t, "0", 4)
}

func verifyWhileRotating(t *testing.T, cooldown string, rotations int) {
	t.Helper()
	e := labOf(t).emulator
	cmd := labOf(t).command(t, filepath.Join(python(t, "python"), "python"), script("python", "keys.py"), cooldown)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(out)
	var tokens []string
	check := func(raw string) {
		t.Helper()
		if _, err := in.Write([]byte(raw + "\n")); err != nil {
			t.Fatal(err)
		}
		answer, err := answers.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.TrimSpace(answer) != azure.SeedOwnerObjectID {
			t.Errorf("after %d rotations: %s", len(tokens)-1, answer)
		}
	}
	for i := range rotations + 1 {
		if i > 0 {
			if _, err := e.RotateKeys(t.Context(), false); err != nil {
				t.Fatal(err)
			}
		}
		token, err := e.Token(t.Context(), azure.SeedOwnerObjectID, "https://storage.azure.com")
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, token.Raw)
		for _, raw := range tokens {
			check(raw)
		}
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
