package covers

import (
	"errors"
	"fmt"
	"os"
	"testing"
)

// NotRunEnv names the environment variable that holds the file the closing
// block of `make test` is made from; RequireEnv, set to "all", makes not run
// mean failed.
const (
	NotRunEnv  = "AMLOCAL_NOT_RUN"
	RequireEnv = "AMLOCAL_REQUIRE"
)

// NotRun ends a test that lacks something of the machine's: what, and why it is
// not there, e.g. NotRun(t, "docker", "no engine answers"). The test is skipped
// and named in the closing block; under AMLOCAL_REQUIRE=all it fails.
func NotRun(t testing.TB, what, why string) {
	t.Helper()
	line := fmt.Sprintf("NOT RUN: %s (%s)", what, why)
	if path := os.Getenv(NotRunEnv); path != "" {
		if err := appendLine(path, line); err != nil {
			t.Errorf("covers: %v", err)
		}
	}
	if os.Getenv(RequireEnv) == "all" {
		t.Fatal(line)
	}
	t.Skip(line)
}

// NoteNotRun is NotRun outside of a test: it names what did not run, and is an
// error only where all is required.
func NoteNotRun(what, why string) error {
	line := fmt.Sprintf("NOT RUN: %s (%s)", what, why)
	if path := os.Getenv(NotRunEnv); path != "" {
		if err := appendLine(path, line); err != nil {
			return err
		}
	}
	if os.Getenv(RequireEnv) == "all" {
		return errors.New(line)
	}
	return nil
}

// appendLine writes in one call, so that lines of several test processes do not
// mix.
func appendLine(path, line string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(line + "\n"); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
