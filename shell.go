package amlocal

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
)

// SavedVar carries, in a shell that was set up by `amlocal env`, what the
// variables held before: a base64 JSON object of name to value, null for a
// variable that was not set.
const SavedVar = "AMLOCAL_SAVED"

// Save is the variable that lets Restore undo vars and what is taken away
// (without). In a shell that is already set up it keeps the first shell's
// values.
func Save(vars []Var, lookup func(string) (string, bool), without ...string) Var {
	before, ok, err := Saved(lookup)
	if err != nil { // damaged: as it is, for --unset to say so
		saved, _ := lookup(SavedVar)
		return Var{SavedVar, saved}
	}
	if !ok {
		before = make(map[string]*string, len(vars))
	}
	names := slices.Clone(without)
	for _, v := range vars {
		names = append(names, v.Name)
	}
	for _, name := range names {
		if _, known := before[name]; known {
			continue
		}
		before[name] = nil
		if old, ok := lookup(name); ok {
			before[name] = &old
		}
	}
	raw, _ := json.Marshal(before) // a map of strings always encodes
	return Var{SavedVar, base64.StdEncoding.EncodeToString(raw)}
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Saved reads what Save wrote: nil values were not set. ok is false outside a
// shell that was set up.
func Saved(lookup func(string) (string, bool)) (before map[string]*string, ok bool, err error) {
	saved, ok := lookup(SavedVar)
	if !ok || saved == "" {
		return nil, false, nil
	}
	raw, err := base64.StdEncoding.DecodeString(saved)
	if err == nil {
		err = json.Unmarshal(raw, &before)
	}
	if err != nil {
		return nil, false, fmt.Errorf("%s is damaged: %w", SavedVar, err)
	}
	for name := range before { // they go into a shell's eval unquoted
		if !variableName.MatchString(name) {
			return nil, false, fmt.Errorf("%s is damaged: %q is no name of a variable", SavedVar, name)
		}
	}
	return before, true, nil
}

// LeaveShell gives this process back the environment it would have had outside
// a shell that was set up by `amlocal env`: an emulator must not use another
// one as its way out, nor take its certificates for the system's.
func LeaveShell() error {
	before, ok, err := Saved(os.LookupEnv)
	if err != nil || !ok {
		return err
	}
	for name, old := range before {
		if old == nil {
			err = os.Unsetenv(name)
		} else {
			err = os.Setenv(name, *old)
		}
		if err != nil {
			return err
		}
	}
	return os.Unsetenv(SavedVar)
}

// outside is what a variable would hold outside a shell that was set up.
func outside(name string) string {
	if before, ok, err := Saved(os.LookupEnv); err == nil && ok {
		if old := before[name]; old != nil {
			return *old
		}
		return ""
	}
	return os.Getenv(name)
}
