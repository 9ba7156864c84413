package amlocal

import "github.com/amlocal/amlocal/internal/audit"

// Requests are the newest requests the emulator answered, newest first, at most
// n of them. The log keeps the last two thousand.
func (e *Emulator) Requests(n int) []audit.Entry { return e.audit.Recent(n, false) }
