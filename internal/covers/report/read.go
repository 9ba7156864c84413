package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/amlocal/amlocal/internal/covers"
)

// requirement is one line of the list.
type requirement struct{ id, text string }

// moduleRoot is the nearest folder upwards that holds go.mod.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod here or above")
		}
		dir = parent
	}
}

func readRequirements(path string) ([]requirement, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []requirement
	seen := map[string]bool{}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		id, text, ok := strings.Cut(line, "\t")
		if !ok || id == "" || text == "" {
			return nil, fmt.Errorf("%s:%d: want id TAB text", path, n)
		}
		if seen[id] {
			return nil, fmt.Errorf("%s:%d: %s is listed twice", path, n, id)
		}
		seen[id] = true
		list = append(list, requirement{id, text})
	}
	return list, lines.Err()
}

// readRecords reads every *.jsonl below dir. Packages come as the folder the
// test ran in; they leave as import paths relative to the module's root.
func readRecords(dir, root string) ([]covers.Record, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil {
		return nil, err
	}
	var records []covers.Record
	for _, path := range files {
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		for n, line := range strings.Split(string(raw), "\n") {
			if line == "" {
				continue
			}
			var rec covers.Record
			if err := json.Unmarshal([]byte(line), &rec); err != nil {
				return nil, fmt.Errorf("%s:%d: %w", path, n+1, err)
			}
			if rel, err := filepath.Rel(root, rec.Package); err == nil && filepath.IsAbs(rec.Package) {
				rec.Package = filepath.ToSlash(rel)
			}
			records = append(records, rec)
		}
	}
	return records, nil
}
