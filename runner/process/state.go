package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// record is what the next process needs to know of a child: pid and start time
// together name one process for ever.
type record struct {
	ID    string `json:"id"`
	Mark  string `json:"mark"`
	PID   int    `json:"pid,omitempty"`
	Start string `json:"start,omitempty"`
	Tmp   string `json:"tmp"`

	// Of a sandboxed one, which can be taken over: by which protocol, with
	// which key, and what it is. The folder is its owner's alone, as is the
	// process that has the secret in its environment.
	Protocol    int       `json:"protocol,omitempty"`
	Key         string    `json:"key,omitempty"`
	Fingerprint string    `json:"fingerprint,omitempty"`
	Deployment  string    `json:"deployment,omitempty"`
	Revision    string    `json:"revision,omitempty"`
	Secret      string    `json:"secret,omitempty"`
	Since       time.Time `json:"since,omitzero"`
}

// alive says whether the recorded process still runs.
func (r record) alive() bool {
	if r.PID <= 1 || r.Start == "" {
		return false
	}
	now, err := startTime(r.PID)
	return err == nil && now == r.Start
}

const recordFile = "process.json"

func (r record) write(dir string) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("process: %w", err)
	}
	tmp := filepath.Join(dir, recordFile+".new")
	if err := os.WriteFile(tmp, raw, 0o600); err != nil {
		return fmt.Errorf("process: %w", err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, recordFile)); err != nil {
		return fmt.Errorf("process: %w", err)
	}
	return nil
}

// SweepState ends every instance recorded in a state folder, for `down` after
// the emulator was killed, and removes what they left. It must not run beside
// a living emulator of the same folder.
//
// A recorded pid is touched only if the process started when the record says.
// On Linux, descendants whose leader is gone are found by the mark in their
// environment.
func SweepState(ctx context.Context, stateDir string) error {
	return eachRecorded(ctx, stateDir, func(dir string, rec *record) error { return endRecorded(ctx, dir, rec) })
}

// eachRecorded visits every instance's folder. rec is nil where there is no
// record, or not one of that folder.
func eachRecorded(ctx context.Context, stateDir string, visit func(dir string, rec *record) error) error {
	entries, err := os.ReadDir(instancesDir(stateDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("process: sweep: %w", err)
	}
	var problems []error
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		dir := filepath.Join(instancesDir(stateDir), e.Name())
		raw, err := os.ReadFile(filepath.Join(dir, recordFile))
		rec := &record{}
		if err != nil || json.Unmarshal(raw, rec) != nil || rec.ID != e.Name() {
			rec = nil
		}
		problems = append(problems, visit(dir, rec))
	}
	return errors.Join(problems...)
}

// endRecorded ends an instance and removes what it left.
func endRecorded(ctx context.Context, dir string, rec *record) error {
	f := folder{dir: dir}
	if rec != nil {
		if rec.alive() {
			_ = killGroup(rec.PID, syscall.SIGKILL)
			awaitGone(ctx, *rec)
		}
		if filepath.Base(rec.Mark) == rec.ID {
			killMarked(rec.Mark)
		}
		// Only a folder that layOut can have made is removed outside ours.
		if base := filepath.Base(rec.Tmp); filepath.Dir(rec.Tmp) == filepath.Clean(os.TempDir()) && len(base) > 4 && base[:4] == "aml-" {
			f.tmp = rec.Tmp
		}
	}
	return f.remove()
}

// awaitGone waits until a killed process has left, so that its files can be
// removed for good.
func awaitGone(ctx context.Context, rec record) {
	for range 200 {
		if !rec.alive() {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func parseArtifact(text string) (artifact, error) {
	var a artifact
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		return a, fmt.Errorf("process: artifact: %w", err)
	}
	return a, nil
}
