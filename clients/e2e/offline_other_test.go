//go:build !linux

package e2e

import "github.com/amlocal/amlocal/internal/covers"

const offlineEnv = "AMLOCAL_CLIENTS_OFFLINE"

func runOffline() error {
	return covers.NoteNotRun("clients offline", "network namespaces are Linux's")
}
