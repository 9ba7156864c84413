//go:build !linux

package amlocal

import "errors"

// ptrace is only tried where there are sandboxes.
func ptrace(int) error { return errors.ErrUnsupported }
