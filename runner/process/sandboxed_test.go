//go:build linux

package process_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/runner/process"
	"github.com/amlocal/amlocal/runner/process/sandbox"
	"github.com/amlocal/amlocal/runner/runnertest"
)

func TestMain(m *testing.M) {
	sandbox.Main()
	os.Exit(m.Run())
}

// boxed adds a sandbox to a configuration; serve may be nil.
func boxed(t *testing.T, cfg process.Config, serve func(runner.InstanceSpec, sandbox.Sockets) func()) process.Config {
	t.Helper()
	if err := sandbox.Probe(t.Context(), "", t.TempDir()); err != nil {
		covers.NotRun(t, "sandbox", err.Error())
	}
	if serve == nil {
		serve = func(_ runner.InstanceSpec, s sandbox.Sockets) func() { return s.Close }
	}
	cfg.Sandbox, cfg.Agent, cfg.Serve = process.SandboxOn, "/proc/self/exe", serve
	return cfg
}

func TestSandboxConforms(t *testing.T) {
	covers.R(t, "R-503")
	bin := runnertest.BuildServer(t)
	runnertest.Run(t, runnertest.Harness{
		New: func(t *testing.T) runner.Backend {
			return backend(t, boxed(t, process.Config{Images: map[string][]string{"own": {bin, "127.0.0.1:{port}"}}}, nil))
		},
		Environment: runner.Environment{Image: "own"},
	})
}

// What an instance is told, and that it is told no more.
func TestSandboxEnvironment(t *testing.T) {
	for _, name := range []string{"AZURE_TENANT_ID", "AZURE_CLIENT_ID", "MSI_ENDPOINT", "ALL_PROXY", "HTTPS_PROXY", "PYTHONHOME", "AWS_PROFILE"} {
		t.Setenv(name, "of the parent")
	}
	bundle := filepath.Join(t.TempDir(), "bundle.pem")
	if err := os.WriteFile(bundle, []byte("certificates"), 0o600); err != nil {
		t.Fatal(err)
	}
	bin := runnertest.BuildServer(t)
	state := t.TempDir()
	b := backend(t, boxed(t, process.Config{
		StateDir: state, CABundle: bundle, Images: map[string][]string{"own": {bin, "127.0.0.1:{port}"}},
		ProxyURL: func(string, string) string { return "http://proxy:1" },
	}, nil))
	i, _ := startOwn(t, b, func(s *runner.InstanceSpec) {
		s.IdentityURLVars, s.IdentitySecretVars = []string{"MSI_ENDPOINT"}, []string{"MSI_SECRET"}
		s.Env["BUNDLE"] = "/run/amlocal/ca.pem"
	})
	env := envOf(t, i)
	for name, want := range map[string]string{
		"HOME": "/home/dockeruser", "MSI_ENDPOINT": "http://127.0.0.1:8911/msi/token", "MSI_SECRET": "s3cret", "AMLOCAL_PORT_8080": "8080",
		"REQUESTS_CA_BUNDLE": "/run/amlocal/ca.pem", "SSL_CERT_FILE": "/run/amlocal/ca.pem",
	} {
		if env[name] != want {
			t.Errorf("%s = %q, want %q", name, env[name], want)
		}
	}
	allowed := map[string]bool{"PATH": true, "LANG": true, "LC_ALL": true, "TZ": true, "PWD": true, "CURL_CA_BUNDLE": true, "NODE_EXTRA_CA_CERTS": true, "BUNDLE": true,
		"HOME": true, "MSI_ENDPOINT": true, "MSI_SECRET": true, "AMLOCAL_PORT_8080": true, "REQUESTS_CA_BUNDLE": true, "SSL_CERT_FILE": true}
	for name, value := range env {
		if !allowed[name] || strings.Contains(value, "proxy") || strings.Contains(value, state) {
			t.Errorf("the instance has %s=%s", name, value)
		}
	}
	resp, err := http.Get(i.Target().URL + "/file?env=BUNDLE")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if raw, _ := io.ReadAll(resp.Body); string(raw) != "certificates" {
		t.Errorf("bundle %q", raw)
	}
}

// The emulator serves what the instance dials, knowing which instance it is.
func TestSandboxIsServed(t *testing.T) {
	bin := runnertest.BuildServer(t)
	asked := make(chan string, 4)
	b := backend(t, boxed(t, process.Config{Images: map[string][]string{
		"own": {bin, "127.0.0.1:{port}"},
		"ask": {"bash", "-c", "cat < /dev/tcp/169.254.169.254/80"},
	}}, func(spec runner.InstanceSpec, s sandbox.Sockets) func() {
		go func() {
			for {
				c, err := s.Metadata.Accept()
				if err != nil {
					return
				}
				asked <- spec.InstanceID
				_, _ = io.WriteString(c, "from the emulator\n")
				_ = c.Close()
			}
		}()
		return s.Close
	}))
	out := &runnertest.Output{}
	artifact, err := b.Build(t.Context(), runner.Environment{Image: "ask"}, false, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	i, err := b.Start(t.Context(), runner.InstanceSpec{Spec: runner.Spec{Scoring: runner.Route{Port: 80}}, InstanceID: "i7", Artifact: artifact, Log: out})
	if err != nil {
		t.Fatal(err)
	}
	<-i.Done()
	if len(asked) == 0 || <-asked != "i7" || !strings.Contains(out.String(), "from the emulator") {
		t.Errorf("%d: %s", i.ExitCode(), out)
	}
	own, _ := startOwn(t, b, nil)
	client := &http.Client{Transport: &http.Transport{DialContext: b.DialContext}}
	defer client.CloseIdleConnections()
	resp, err := client.Get(own.Target().URL + "/env")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("by DialContext: %s", resp.Status)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := own.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", strings.TrimPrefix(own.Target().URL, "http://")); err == nil {
		_ = c.Close()
		t.Error("the address of a stopped instance answers")
	}
}

func TestSandboxModes(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  process.Config
		text string
	}{
		"off":      {process.Config{}, "plain child processes with proxy and CA variables: not a security boundary"},
		"no agent": {process.Config{Sandbox: process.SandboxAuto}, "no sandbox: the program that runs the emulator offers no agent"},
		"an agent that fails": {process.Config{Sandbox: process.SandboxAuto, Agent: "/bin/true", Serve: func(runner.InstanceSpec, sandbox.Sockets) func() { return nil }},
			"; no sandbox: "},
	} {
		if got := backend(t, c.cfg).Isolation(); !strings.Contains(got, c.text) {
			t.Errorf("%s: %q", name, got)
		}
	}
	dirs := process.Config{StateDir: t.TempDir(), CacheDir: t.TempDir(), Sandbox: process.SandboxOn}
	if _, err := process.New(dirs); err == nil || !strings.Contains(err.Error(), "no sandbox can be made") {
		t.Errorf("on, where there is none: %v", err)
	}
	dirs.Sandbox = "maybe"
	if _, err := process.New(dirs); err == nil || !strings.Contains(err.Error(), "auto, on and off") {
		t.Errorf("a mode that is none: %v", err)
	}
}

// Azure's paths, the working folder, and a missing program.
func TestSandboxPaths(t *testing.T) {
	code := t.TempDir()
	if err := os.MkdirAll(filepath.Join(code, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"score.py": "pass", "sub/deep.txt": "deep"} {
		if err := os.WriteFile(filepath.Join(code, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := backend(t, boxed(t, process.Config{Images: map[string][]string{
		"own":  {"sh", "-c", `pwd; cat /var/azureml-app/code/sub/deep.txt; echo; echo no > /var/azureml-app/code/x; id -un; ls /home /var/azureml-app`},
		"gone": {"sh", "-c", "exec /no/such/program"},
	}}, nil))
	out := &runnertest.Output{}
	artifact, err := b.Build(t.Context(), runner.Environment{Image: "own"}, false, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	i, err := b.Start(t.Context(), runner.InstanceSpec{Spec: runner.Spec{
		Scoring: runner.Route{Port: 80}, Mounts: []runner.Mount{{Source: code, Target: "/var/azureml-app/code"}},
		PathEnv: map[string]string{"AML_APP_ROOT": "/var/azureml-app/code/sub"},
	}, InstanceID: "i1", Artifact: artifact, Log: out})
	if err != nil {
		t.Fatal(err)
	}
	<-i.Done()
	for _, text := range []string{"/var/azureml-app/code/sub\n", "deep\n", "ead-only file system", "\ndockeruser\n"} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("output lacks %q:\n%s", text, out)
		}
	}
	if _, err := os.Stat(filepath.Join(code, "x")); err == nil {
		t.Error("the code folder was written to")
	}
}

// What a command names is seen inside, also in a class path; what is private is not.
func TestSandboxShowsWhatTheCommandNames(t *testing.T) {
	dir, state := t.TempDir(), t.TempDir()
	for _, name := range []string{"jars", "classes"} {
		if err := firstError(os.Mkdir(filepath.Join(dir, name), 0o755), os.WriteFile(filepath.Join(dir, name, "a"), []byte("in "+name+"\n"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	secret, link := filepath.Join(state, "secret"), filepath.Join(dir, "link")
	if err := firstError(os.WriteFile(secret, []byte("the state's secret\n"), 0o644), os.Symlink(secret, link)); err != nil {
		t.Fatal(err)
	}
	b := backend(t, boxed(t, process.Config{StateDir: state, Images: map[string][]string{"own": {
		"sh", "-c", `for d in $(echo "$1" | tr ':*' ' .'); do cat $d/a; done; cat "$2" "$3"; ls -A "$4" | sed 's/^/state: /'`, "sh",
		filepath.Join(dir, "jars", "*") + ":" + filepath.Join(dir, "classes"), secret, link, state,
	}}}, nil))
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
	if got := out.String(); !strings.Contains(got, "in jars\n") || !strings.Contains(got, "in classes\n") || strings.Contains(got, "the state's secret") || strings.Contains(got, "state: secret") {
		t.Error(got)
	}
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestSandboxedScoringScript(t *testing.T) {
	covers.C(t, "azureml-inference-server-http", "R-503", "R-518", "R-519", "R-520", "R-521", "R-1036")
	m := pythonManager(t, pythonBackend(t, boxed(t, process.Config{}, nil)))
	s := scriptSpec(t, goodScript)
	s.Env["SEPERATE_HEALTH_ENDPOINT"] = "true" //nolint:misspell // the inference server's own spelling
	s.Liveness.Route.Port = 5000
	if err := m.Deploy(t.Context(), s); err != nil {
		t.Fatalf("%v\n%s", err, m.Logs("blue", runner.InferenceServer, 0))
	}
	status, body := score(t, m, `{"data": [[1,2],[3,4]]}`)
	var got map[string]any
	if err := json.Unmarshal([]byte(body), &got); err != nil || status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	if got["weights"] != "weights" || got["url"] != "http://"+sandbox.IdentityAddress+"/msi/token" || got["cwd"] != "onlinescoring" {
		t.Errorf("%v", got)
	}
	for _, line := range []string{"Model dir /var/azureml-app/azureml-models/m/3\n", "Listening at: ", "Init complete\n"} {
		runnertest.Eventually(t, "in the log: "+line, func() bool {
			return strings.Contains(m.Logs("blue", runner.InferenceServer, 0), line)
		})
	}
	if log := m.Logs("blue", runner.StorageInitializer, 0); !strings.Contains(log, "Runner: sandboxed child processes") {
		t.Errorf("storage-initializer log %q", log)
	}
}
