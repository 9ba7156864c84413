package process_test

import (
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/runner/process"
	"github.com/amlocal/amlocal/runner/runnertest"
)

// A descriptor that the emulator was started with, such as an open folder,
// would be a way out for the child.
func TestNoDescriptorIsInherited(t *testing.T) {
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	leaked, err := syscall.Dup(int(dir.Fd())) // without close-on-exec, as a careless parent leaves it
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(leaked) }()
	b := backend(t, process.Config{Images: map[string][]string{"own": {"sh", "-c", "ls -l /proc/self/fd"}}})
	out := &runnertest.Output{}
	artifact, err := b.Build(t.Context(), runner.Environment{Image: "own"}, false, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	i, err := b.Start(t.Context(), runner.InstanceSpec{Spec: runner.Spec{Scoring: runner.Route{Port: 80}}, InstanceID: "i1", Artifact: artifact, Log: out})
	if err != nil {
		t.Fatal(err)
	}
	<-i.Done()
	if i.ExitCode() != 0 || !strings.Contains(out.String(), "/dev/null") || strings.Contains(out.String(), dir.Name()) {
		t.Errorf("exit %d, the child's descriptors:\n%s", i.ExitCode(), out.String())
	}
}
