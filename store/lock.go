package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// LockedError says that another process has the state folder open.
type LockedError struct {
	Dir string
	// PID is the holder's process id, 0 when it is not known.
	PID int
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("store: the state folder %s is in use by another process", e.Dir)
	}
	return fmt.Sprintf("store: the state folder %s is in use by process %d", e.Dir, e.PID)
}

// errLocked is tryLock's answer when somebody else holds the lock.
var errLocked = errors.New("locked")

// lockFile is a file locked by the kernel, so that the lock ends with its
// holder however that dies. The process id in it is for people only.
type lockFile struct{ f *os.File }

func acquireLock(dir string) (*lockFile, error) {
	path := filepath.Join(dir, LockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := tryLock(f); err != nil {
		_ = f.Close()
		if errors.Is(err, errLocked) {
			return nil, &LockedError{Dir: dir, PID: holder(path)}
		}
		return nil, fmt.Errorf("store: lock %s: %w", dir, err)
	}
	l := &lockFile{f}
	if err := l.write(strconv.Itoa(os.Getpid()) + "\n"); err != nil {
		return nil, errors.Join(fmt.Errorf("store: lock %s: %w", dir, err), f.Close())
	}
	return l, nil
}

// Hold locks the state folder dir without opening what is in it, for who must
// know that nobody works on it. dir must exist; a *LockedError names the holder.
func Hold(dir string) (release func() error, err error) {
	l, err := acquireLock(dir)
	if err != nil {
		return nil, err
	}
	return l.release, nil
}

func (l *lockFile) write(s string) error {
	if err := l.f.Truncate(0); err != nil {
		return err
	}
	_, err := l.f.WriteAt([]byte(s), 0)
	return err
}

// release leaves the file in place: removing it would let two processes lock
// two files of one name.
func (l *lockFile) release() error {
	return errors.Join(l.write(""), l.f.Close())
}

func holder(path string) int {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid < 0 {
		return 0
	}
	return pid
}
