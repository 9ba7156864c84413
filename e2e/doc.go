// Package e2e tests the built program as real processes: killed in the middle
// of writes, started again, one inside the shell of another. Clients are the
// Azure SDK for Go through the emulator's proxy.
package e2e
