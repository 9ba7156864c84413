package amlocal

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/uuid"

	"github.com/amlocal/amlocal/internal/seal"
)

// The files of a state folder, beside the store's own.
const (
	identityFile = "state.json"   // what this folder is
	secretsFile  = "secrets.json" // 0600: owner secret and admin token
	runFile      = "run.json"     // who is running on it, while someone is
	logFile      = "emulator.log" // output of `up -d`
	storeDir     = "store"
)

// state is the identity of a state folder.
type state struct {
	// UUID labels everything this folder's emulator starts.
	UUID string `json:"uuid"`
	// SealMark is that of the key which opens what is sealed in this folder.
	SealMark string `json:"sealMark,omitempty"`
}

// secrets are random per state folder and never in a log.
type secrets struct {
	AdminToken  string `json:"adminToken"`
	OwnerSecret string `json:"ownerSecret"`
}

// prepareStateDir makes the folder.
func prepareStateDir(dir string) error {
	if err := CheckStateDir(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	return nil
}

// CheckStateDir refuses a folder that holds something else: files would mix
// with the user's, and our .gitignore would hide them all.
func CheckStateDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	foreign := ""
	for _, e := range entries {
		switch e.Name() {
		case storeDir, identityFile:
			return nil
		case ".gitignore", secretsFile, runFile, logFile:
		default:
			foreign = e.Name()
		}
	}
	if foreign != "" {
		return fmt.Errorf("%s is no state folder of amlocal and not empty (it holds %s): name another with --state", dir, foreign)
	}
	return nil
}

// openStateDir gives the folder identity and secrets.
func openStateDir(dir string) (st state, sec secrets, err error) {
	// Files a killed process was writing.
	left, _ := filepath.Glob(filepath.Join(dir, ".tmp-*")) // the pattern is good
	for _, path := range left {
		_ = os.Remove(path)
	}
	ignore := filepath.Join(dir, ".gitignore")
	if _, err := os.Stat(ignore); errors.Is(err, fs.ErrNotExist) {
		if err := writeFile(ignore, []byte("*\n")); err != nil {
			return st, sec, err
		}
	}
	err = loadOrMake(filepath.Join(dir, identityFile), &st, func() error {
		st.UUID = uuid.NewString()
		return nil
	})
	if err != nil {
		return st, sec, err
	}
	err = loadOrMake(filepath.Join(dir, secretsFile), &sec, func() error {
		// The owner secret has the shape of a client secret; its letters
		// are safe in every shell.
		sec = secrets{AdminToken: rand.Text(), OwnerSecret: rand.Text() + rand.Text()}
		return nil
	})
	return st, sec, err
}

// openSeal opens the key of what may not lie in clear. A key that was lost, or
// another, is not put in its place: what was sealed would be lost without a
// word.
func openSeal(dir string, st *state) (*seal.Key, error) {
	path := filepath.Join(dir, "keys", "seal.key")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && st.SealMark != "" {
		return nil, fmt.Errorf("%s is missing, and only it opens the secrets of this state folder: put it back, or begin with another folder", path)
	}
	key, err := seal.Open(path)
	if err != nil {
		return nil, err
	}
	switch st.SealMark {
	case key.Mark():
		return key, nil
	case "":
		st.SealMark = key.Mark()
		return key, writeJSON(filepath.Join(dir, identityFile), st)
	default:
		return nil, fmt.Errorf("%s is not the key that opens the secrets of this state folder: put that one back, or begin with another folder", path)
	}
}

func loadOrMake(path string, into any, fill func() error) error {
	err := readJSON(path, into)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := fill(); err != nil {
		return err
	}
	return writeJSON(path, into)
}

func readJSON(path string, into any) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func writeJSON(path string, v any) error {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(path, append(raw, '\n'))
}

// writeFile replaces a private file as a whole, or not at all.
func writeFile(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".tmp-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Sync()
	}
	if closeErr := tmp.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
	}
	return err
}
