package runnertest_test

import (
	"testing"

	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/runner/runnertest"
)

func TestFakeConforms(t *testing.T) {
	runnertest.Run(t, runnertest.Harness{
		New:         func(*testing.T) runner.Backend { return &runnertest.Fake{} },
		Environment: runner.Environment{Image: "any"},
		InProcess:   true,
	})
}
