//go:build unix

package process_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/runner/process"
	"github.com/amlocal/amlocal/runner/runnertest"
)

func TestConforms(t *testing.T) {
	covers.R(t, "R-503")
	bin := runnertest.BuildServer(t)
	runnertest.Run(t, runnertest.Harness{
		New: func(t *testing.T) runner.Backend {
			return backend(t, process.Config{Images: map[string][]string{"own": {bin, "127.0.0.1:{port}"}}})
		},
		Environment: runner.Environment{Image: "own"},
	})
}

func backend(t *testing.T, cfg process.Config) *process.Backend {
	t.Helper()
	if cfg.StateDir == "" {
		cfg.StateDir = t.TempDir()
	}
	if cfg.CacheDir == "" {
		cfg.CacheDir = t.TempDir()
	}
	cfg.IdentityURL = "http://127.0.0.1:4390/msi/token"
	cfg.Logf = t.Logf
	b, err := process.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// startOwn runs the test server on a back end.
func startOwn(t *testing.T, b *process.Backend, change func(*runner.InstanceSpec)) (runner.Instance, *runnertest.Output) {
	t.Helper()
	out := &runnertest.Output{}
	spec := runner.InstanceSpec{
		Spec:       runner.Spec{Environment: runner.Environment{Image: "own"}, Scoring: runner.Route{Port: 8080, Path: "/score"}, Env: map[string]string{}},
		InstanceID: "i1", Secret: "s3cret", Log: out,
	}
	var err error
	if spec.Artifact, err = b.Build(t.Context(), spec.Environment, false, io.Discard); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&spec)
	}
	i, err := b.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	runnertest.Eventually(t, "readiness", func() bool {
		status, err := i.Probe(t.Context(), runner.Route{Port: 8080, Path: "/readyz"})
		return err == nil && status == 200
	})
	return i, out
}

func envOf(t *testing.T, i runner.Instance) map[string]string {
	t.Helper()
	resp, err := http.Get(i.Target().URL + "/env")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var env map[string]string
	if err := json.NewDecoder(resp.Body).Decode(&env); err != nil {
		t.Fatal(err)
	}
	return env
}

func TestDataPathVariables(t *testing.T) {
	bin := runnertest.BuildServer(t)
	b := backend(t, process.Config{
		Images:   map[string][]string{"own": {bin, "127.0.0.1:{port}"}},
		CABundle: "/bundle.pem",
		ProxyURL: func(id, secret string) string { return "http://" + id + ":" + secret + "@127.0.0.1:4390" },
	})
	i, out := startOwn(t, b, func(s *runner.InstanceSpec) {
		s.Env["REQUESTS_CA_BUNDLE"] = "/own.pem"
		s.Env["https_proxy"] = "http://own:1"
	})
	env := envOf(t, i)
	const proxy = "http://i1:s3cret@127.0.0.1:4390"
	for name, want := range map[string]string{
		"HTTP_PROXY": proxy, "http_proxy": proxy, "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost",
		"https_proxy": "http://own:1", "HTTPS_PROXY": "", "REQUESTS_CA_BUNDLE": "/own.pem",
		"SSL_CERT_FILE": "/bundle.pem", "CURL_CA_BUNDLE": "/bundle.pem", "NODE_EXTRA_CA_CERTS": "/bundle.pem",
		"AMLOCAL_PORT_8080": i.Target().URL[strings.LastIndex(i.Target().URL, ":")+1:],
	} {
		if env[name] != want {
			t.Errorf("%s = %q, want %q", name, env[name], want)
		}
	}
	for _, name := range []string{"HOME", "TMPDIR"} {
		if env[name] == os.Getenv(name) || env[name] == "" {
			t.Errorf("%s = %q is not the instance's own", name, env[name])
		}
	}
	for _, name := range []string{"REQUESTS_CA_BUNDLE", "https_proxy"} {
		if !strings.Contains(out.String(), "warning: the deployment sets "+name) {
			t.Errorf("no warning about %s in %q", name, out.String())
		}
	}
}

// The parent's variables stay out even where the parent has many: the list of
// what a child may have is closed.
func TestEnvironmentIsClosed(t *testing.T) {
	for _, name := range []string{"AZURE_TENANT_ID", "AZURE_CLIENT_ID", "MSI_ENDPOINT", "ALL_PROXY", "PYTHONHOME", "AWS_PROFILE", "GOOGLE_APPLICATION_CREDENTIALS", "SECRET_OF_CI"} {
		t.Setenv(name, "of the parent")
	}
	bin := runnertest.BuildServer(t)
	b := backend(t, process.Config{Images: map[string][]string{"own": {bin, "127.0.0.1:{port}"}}})
	i, _ := startOwn(t, b, nil)
	allowed := map[string]bool{"PATH": true, "LANG": true, "LC_ALL": true, "TZ": true, "HOME": true, "TMPDIR": true, "PWD": true, "AMLOCAL_INSTANCE": true, "AMLOCAL_PORT_8080": true}
	for name := range envOf(t, i) {
		if !allowed[name] {
			t.Errorf("the child has %s", name)
		}
	}
}

func TestPlaceholdersForSeveralPorts(t *testing.T) {
	bin := runnertest.BuildServer(t)
	b := backend(t, process.Config{Images: map[string][]string{"own": {bin, "127.0.0.1:{port}", "{port:9090}", "x{port:8080}"}}})
	i, _ := startOwn(t, b, func(s *runner.InstanceSpec) { s.Readiness.Route.Port = 9090 })
	env := envOf(t, i)
	if env["AMLOCAL_PORT_9090"] == "" || env["AMLOCAL_PORT_9090"] == env["AMLOCAL_PORT_8080"] {
		t.Errorf("ports %q and %q", env["AMLOCAL_PORT_8080"], env["AMLOCAL_PORT_9090"])
	}
	if _, err := i.Probe(t.Context(), runner.Route{Port: 1234}); err == nil {
		t.Error("an unknown port was probed")
	}
}

// TestSweepAfterKill runs an emulator stand-in in a process of its own, kills
// it, and finds its instance and a daemon of that instance ended, and a
// bystander alive.
func TestSweepAfterKill(t *testing.T) {
	if dir := os.Getenv("PROCESS_TEST_STATE"); dir != "" {
		orphan(t, dir)
		return
	}
	state := t.TempDir()
	bystander := exec.Command("sleep", "300")
	if err := bystander.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = bystander.Process.Kill(); _ = bystander.Wait() }()
	emulator := exec.Command(os.Args[0], "-test.run=^TestSweepAfterKill$")
	emulator.Env = append(os.Environ(), "PROCESS_TEST_STATE="+state)
	out, err := emulator.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := emulator.Start(); err != nil {
		t.Fatal(err)
	}
	port := readPort(t, out)
	_ = emulator.Process.Kill()
	_ = emulator.Wait()
	dial := func() error {
		c, err := net.DialTimeout("tcp", "127.0.0.1:"+port, time.Second)
		if err == nil {
			_ = c.Close()
		}
		return err
	}
	if err := dial(); err != nil {
		t.Fatalf("the orphan does not answer: %v", err)
	}
	// A record whose pid belongs to another process by now.
	reused := filepath.Join(state, "instances", "reused")
	if err := os.MkdirAll(reused, 0o700); err != nil {
		t.Fatal(err)
	}
	raw, _ := json.Marshal(map[string]any{"id": "reused", "mark": reused, "pid": bystander.Process.Pid, "start": "another boot/1"})
	if err := os.WriteFile(filepath.Join(reused, "process.json"), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := process.SweepState(t.Context(), state); err != nil {
		t.Fatal(err)
	}
	runnertest.Eventually(t, "the orphan is gone", func() bool { return dial() != nil })
	if err := bystander.Process.Signal(syscallZero); err != nil {
		t.Errorf("the bystander was ended: %v", err)
	}
	left, err := os.ReadDir(filepath.Join(state, "instances"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	if err := process.SweepState(t.Context(), t.TempDir()); err != nil {
		t.Errorf("a folder without instances: %v", err)
	}
}

// orphan starts an instance, prints its port and waits to be killed.
func orphan(t *testing.T, state string) {
	bin := runnertest.BuildServer(t)
	b := backend(t, process.Config{StateDir: state, Images: map[string][]string{"own": {bin, "127.0.0.1:{port}"}}})
	i, _ := startOwn(t, b, nil)
	_, _ = os.Stdout.WriteString("PORT " + i.Target().URL[strings.LastIndex(i.Target().URL, ":")+1:] + "\n")
	time.Sleep(5 * time.Minute)
}

func readPort(t *testing.T, r io.Reader) string {
	t.Helper()
	var got strings.Builder
	buf := make([]byte, 1024)
	for {
		n, err := r.Read(buf)
		got.Write(buf[:n])
		if _, after, ok := strings.Cut(got.String(), "PORT "); ok {
			if port, _, ok := strings.Cut(after, "\n"); ok {
				if _, err := strconv.Atoi(port); err != nil {
					t.Fatal(err)
				}
				return port
			}
		}
		if err != nil {
			t.Fatalf("no port in %q: %v", got.String(), err)
		}
	}
}

func TestDescendantsGoToo(t *testing.T) {
	b := backend(t, process.Config{Images: map[string][]string{"own": {"sh", "-c", "sleep 300 & echo child $!; wait"}}})
	out := &runnertest.Output{}
	artifact, err := b.Build(t.Context(), runner.Environment{Image: "own"}, false, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	i, err := b.Start(t.Context(), runner.InstanceSpec{Spec: runner.Spec{Scoring: runner.Route{Port: 80}}, InstanceID: "i1", Artifact: artifact, Log: out})
	if err != nil {
		t.Fatal(err)
	}
	runnertest.Eventually(t, "the grandchild", func() bool { return strings.Contains(out.String(), "\n") })
	pid, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(out.String(), "child ")))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := i.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	runnertest.Eventually(t, "the grandchild has ended", func() bool { return gone(pid) })
	if i.ExitCode() != 143 {
		t.Errorf("exit code %d, want 143", i.ExitCode())
	}
}

func TestBadMounts(t *testing.T) {
	b := backend(t, process.Config{Images: map[string][]string{"own": {"true"}}})
	artifact, err := b.Build(t.Context(), runner.Environment{Image: "own"}, false, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, mounts := range map[string][]runner.Mount{
		"relative": {{Source: dir, Target: "x"}},
		"root":     {{Source: dir, Target: "/"}},
		"nested":   {{Source: dir, Target: "/a"}, {Source: dir, Target: "/a/b"}},
		"missing":  {{Source: filepath.Join(dir, "none"), Target: "/a"}},
	} {
		_, err := b.Start(t.Context(), runner.InstanceSpec{Spec: runner.Spec{Mounts: mounts, Scoring: runner.Route{Port: 80}}, InstanceID: "i-" + name, Artifact: artifact, Log: io.Discard})
		if err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if _, err := b.Start(t.Context(), runner.InstanceSpec{InstanceID: "../x", Artifact: artifact, Log: io.Discard}); err == nil {
		t.Error("an id with a path was accepted")
	}
}

func TestBuildRefusals(t *testing.T) {
	covers.R(t, "R-1034")
	for name, c := range map[string]struct {
		env    runner.Environment
		script bool
		kind   runner.FailureKind
		text   string
	}{
		"unmapped image":   {runner.Environment{Image: "acr/x:1"}, false, runner.ImageFailed, `"images:" in the world file`},
		"missing program":  {runner.Environment{Image: "gone"}, false, runner.ImageFailed, "no-such-program"},
		"broken conda":     {runner.Environment{CondaFile: "dependencies: ["}, true, runner.BuildFailed, "not valid"},
		"not Python":       {runner.Environment{CondaFile: "dependencies: [openjdk=11]"}, true, runner.BuildFailed, `"openjdk=11"`},
		"impossible minor": {runner.Environment{CondaFile: "dependencies: [python=3.99]"}, true, runner.BuildFailed, "Python =3.99 is asked for"},
	} {
		t.Run(name, func(t *testing.T) {
			b := backend(t, process.Config{Images: map[string][]string{"gone": {"/no-such-program"}}})
			_, err := b.Build(t.Context(), c.env, c.script, io.Discard)
			var f *runner.Failure
			if !errors.As(err, &f) || f.Kind != c.kind || !strings.Contains(f.Message, c.text) {
				t.Fatalf("error %v, want %s with %q", err, c.kind, c.text)
			}
		})
	}
}
