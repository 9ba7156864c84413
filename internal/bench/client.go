package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/amlocal/amlocal"
)

// clientFlow is how long a real client's flow takes, and how long of it the
// emulator answers. Without says why there is no figure.
type clientFlow struct {
	Took, Emulator time.Duration
	Requests       int
	Without        string
}

// pythonFlow runs clients/python/sai.py, which deploys twice: refused first,
// then with the role. The environments are built by a run before.
func pythonFlow(ctx context.Context) (f clientFlow, err error) {
	python, err := filepath.Abs(".cache/clients/python/venv/bin/python")
	if err != nil {
		return f, err
	}
	if _, err := os.Stat(python); err != nil {
		f.Without = "azure-ai-ml is not installed: make test installs it"
		return f, nil
	}
	samples, err := filepath.Abs("scenarios/content")
	if err != nil {
		return f, err
	}
	e, err := amlocal.New(ctx, amlocal.Config{Ephemeral: true, Runner: "process", RelaxConda: true, CADir: filepath.Join(os.TempDir(), "amlocal-bench-ca")})
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, e.Close(context.WithoutCancel(ctx))) }()
	if err := e.Start(ctx); err != nil {
		return f, err
	}
	for i := range 2 {
		cmd := exec.CommandContext(ctx, python, "clients/python/sai.py", fmt.Sprintf("bench-%d", i), fmt.Sprintf("benchstorage%d", i))
		cmd.Env = append(os.Environ(), "SAMPLES="+samples)
		for _, v := range e.Access().Env(func(string) (string, bool) { return "", false }) {
			cmd.Env = append(cmd.Env, v.Name+"="+v.Value)
		}
		requests, busy := e.Spent()
		begin := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			return f, fmt.Errorf("%s: %w\n%s", cmd, err, out)
		}
		f.Took = time.Since(begin)
		after, spent := e.Spent()
		f.Requests, f.Emulator = after-requests, spent-busy
	}
	return f, nil
}
