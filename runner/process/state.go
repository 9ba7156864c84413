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
		var rec record
		if err == nil && json.Unmarshal(raw, &rec) == nil && rec.ID == e.Name() {
			if rec.PID > 1 && rec.Start != "" {
				if now, err := startTime(rec.PID); err == nil && now == rec.Start {
					_ = killGroup(rec.PID, syscall.SIGKILL)
					awaitGone(ctx, rec)
				}
			}
			if filepath.Base(rec.Mark) == rec.ID {
				killMarked(rec.Mark)
			}
		}
		f := folder{dir: dir}
		// Only a folder that layOut can have made is removed outside ours.
		if filepath.Dir(rec.Tmp) == filepath.Clean(os.TempDir()) && len(filepath.Base(rec.Tmp)) > 4 && filepath.Base(rec.Tmp)[:4] == "aml-" {
			f.tmp = rec.Tmp
		}
		if err := f.remove(); err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// awaitGone waits until a killed process has left, so that its files can be
// removed for good.
func awaitGone(ctx context.Context, rec record) {
	for range 200 {
		if now, err := startTime(rec.PID); err != nil || now != rec.Start {
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
