package amlocal

import "time"

// remembered is how many requests the audit log keeps.
const remembered = 2000

// Spent is how long the emulator itself was busy answering its most recent
// requests. Left out are those that wait for something else: status polls are
// held until there is news, and a scoring request's time is the script's.
func (e *Emulator) Spent() (requests int, busy time.Duration) {
	for _, entry := range e.audit.Recent(remembered, false) {
		switch {
		case entry.Operation == "arm.GetOperationStatus", entry.Operation == "arm.GetOperationResult", entry.Plane == "scoring":
		default:
			requests++
			busy += entry.Duration
		}
	}
	return requests, busy
}
