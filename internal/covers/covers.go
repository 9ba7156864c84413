// Package covers ties tests to the requirements they prove. `make coverage`
// builds docs/coverage.md from what a real run recorded.
package covers

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// OutputEnv names the environment variable that holds the folder records are
// written to; unset, nothing is recorded.
const OutputEnv = "AMLOCAL_COVERS"

// Record is one line of a record file: a test, what it proves, with which
// client, and how it ended.
type Record struct {
	Requirement string `json:"requirement"`
	Package     string `json:"package"`
	Test        string `json:"test"`
	Client      string `json:"client,omitempty"`
	Result      string `json:"result"`
}

// R says that the running test proves the requirements. The result is recorded
// when the test ends.
func R(t testing.TB, ids ...string) {
	t.Helper()
	C(t, "", ids...)
}

// C is R for a test driven by a real client, e.g. "azure-sdk-for-go".
func C(t testing.TB, client string, ids ...string) {
	t.Helper()
	dir := os.Getenv(OutputEnv)
	if dir == "" {
		return
	}
	t.Cleanup(func() {
		result := "pass"
		switch {
		case t.Failed():
			result = "fail"
		case t.Skipped():
			result = "skip"
		}
		wd, _ := os.Getwd()
		for _, id := range ids {
			if err := write(dir, Record{Requirement: id, Package: wd, Test: t.Name(), Client: client, Result: result}); err != nil {
				t.Errorf("covers: %v", err)
			}
		}
	})
}

var mu sync.Mutex

func write(dir string, rec Record) error {
	mu.Lock()
	defer mu.Unlock()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, fmt.Sprintf("%d.jsonl", os.Getpid())), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(f).Encode(rec); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
