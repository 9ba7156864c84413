package process

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// The process runner needs sessions, process groups and passed sockets.
func supported() error {
	return errors.New("process: the process runner works on Linux and macOS; use --runner docker here")
}

func setSession(*exec.Cmd)                               {}
func killGroup(int, syscall.Signal) error                { return errors.ErrUnsupported }
func exitSignal(*os.ProcessState) (syscall.Signal, bool) { return 0, false }
func closeOnExec()                                       {}
func lockFile(context.Context, string) (func(), error)   { return nil, errors.ErrUnsupported }
func startTime(int) (string, error)                      { return "", errors.ErrUnsupported }
func reap(cmd *exec.Cmd, _ string) error                 { return cmd.Wait() }
func killMarked(string)                                  {}
