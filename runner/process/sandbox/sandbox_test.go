//go:build linux

package sandbox_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/runner/process/sandbox"
)

// actEnv makes this test binary act as an instance's command.
const actEnv = "SANDBOX_TEST_ACT"

func TestMain(m *testing.M) {
	sandbox.Main()
	if act := os.Getenv(actEnv); act != "" {
		os.Exit(actInside(act))
	}
	os.Exit(m.Run())
}

func needSandbox(t *testing.T) {
	t.Helper()
	if err := sandbox.Probe(t.Context(), "", t.TempDir()); err != nil {
		covers.NotRun(t, "sandbox", err.Error())
	}
}

type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// box is a sandbox that runs this binary.
func box(t *testing.T, act string, change func(*sandbox.Config)) (*sandbox.Process, *output, error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	c := sandbox.Config{
		Argv: []string{self}, Env: []string{"PATH=/usr/bin:/bin", actEnv + "=" + act}, Dir: "/", Folder: folder,
		Binds: []sandbox.Bind{{Source: self, Target: self}}, Abandoned: time.Minute,
	}
	for _, dir := range []string{"home", "tmp"} {
		host := filepath.Join(folder, dir)
		if err := os.Mkdir(host, 0o700); err != nil {
			t.Fatal(err)
		}
		if os.Geteuid() == 0 {
			if err := os.Chown(host, sandbox.SpareUser, sandbox.SpareUser); err != nil {
				t.Fatal(err)
			}
		}
		target := "/tmp"
		if dir == "home" {
			target = sandbox.Home
		}
		c.Writable = append(c.Writable, sandbox.Bind{Source: host, Target: target})
	}
	if change != nil {
		change(&c)
	}
	out := &output{}
	p, err := sandbox.Start(t.Context(), "", c, "MARK=1", out)
	if err != nil {
		return nil, out, err
	}
	t.Cleanup(func() {
		_ = p.Signal(syscall.SIGKILL)
		p.Wait()
		p.Close()
	})
	return p, out, nil
}

func mustBox(t *testing.T, act string, change func(*sandbox.Config)) (*sandbox.Process, *output) {
	t.Helper()
	p, out, err := box(t, act, change)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return p, out
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for range 3000 {
		if cond() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("never happened: %s", what)
}

// outcome is what one attempt from inside gave.
type outcome struct{ Text, Error string }

// look runs the attempts of actLook inside.
func look(t *testing.T, change func(*sandbox.Config), args ...string) map[string]outcome {
	t.Helper()
	p, out := mustBox(t, "look", func(c *sandbox.Config) {
		c.Argv = append(c.Argv, args...)
		if change != nil {
			change(c)
		}
	})
	if code := p.Wait(); code != 0 {
		t.Fatalf("code %d\n%s", code, out)
	}
	got := map[string]outcome{}
	if err := json.Unmarshal([]byte(out.String()), &got); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	return got
}

func errOf(_ any, err error) error { return err }

func TestIsolation(t *testing.T) {
	needSandbox(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("of the user"), 0o644); err != nil {
		t.Fatal(err)
	}
	model := t.TempDir()
	if err := os.WriteFile(filepath.Join(model, "weights"), []byte("1 2 3"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(model, 0o755); err != nil {
		t.Fatal(err)
	}
	host, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = host.Close() }()
	other, _ := mustBox(t, "serve", nil)
	eventually(t, "the other instance serves", func() bool {
		c, err := other.DialContext(t.Context(), 5001)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	home, err := os.UserHomeDir()
	if err != nil {
		home = "/root"
	}
	got := look(t, func(c *sandbox.Config) {
		c.Binds = append(c.Binds, sandbox.Bind{Source: model, Target: "/var/azureml-app/azureml-models/m/1"})
	}, "dial="+host.Addr().String(), "dial=127.0.0.1:5001", "read="+secret, "read="+home, "read=/run", "read=/sys",
		"read=/var/azureml-app/azureml-models/m/1/weights", "write=/var/azureml-app/azureml-models/m/1/x")
	for name, want := range map[string]string{
		"environ of 1": "permission denied", "maps of 1": "permission denied", "root of 1": "permission denied", "fd of 1": "permission denied",
		"shadow": "no such file or directory", "read=" + secret: "no such file or directory",
		"write /": "read-only file system", "write /usr": "read-only file system", "write /etc": "read-only file system",
		"write /var": "read-only file system", "write /etc/resolv.conf": "read-only file system", "write /dev": "read-only file system",
		"write=/var/azureml-app/azureml-models/m/1/x": "read-only file system",
		"write /tmp": "", "write home": "", "write /dev/shm": "",
		"mount": "operation not permitted", "unshare": "no space left on device",
		"bind :80": "permission denied", "bind :5003": "",
		"dial=" + host.Addr().String(): "connection refused", "dial=127.0.0.1:5001": "connection refused",
		"outside": "network is unreachable", "outside by IPv6": "network is unreachable",
		"read=/var/azureml-app/azureml-models/m/1/weights": "",
	} {
		if got[name].Error != want && !(want == "read-only file system" && got[name].Error == "permission denied" && os.Geteuid() == 0) {
			t.Errorf("%s: %q, want %q", name, got[name].Error, want)
		}
	}
	if got["setuid 0"].Error == "" { // kill 1 is refused or has no effect: we are here
		t.Error("setuid 0 succeeded")
	}
	for _, folder := range []string{home, "/sys"} {
		if e := got["read="+folder].Error; e != "no such file or directory" && folder != "/sys" || e == "" {
			t.Errorf("%s: %q", folder, e)
		}
	}
	if got := strings.Fields(got["pids"].Text); len(got) != 2 || got[0] != "1" {
		t.Errorf("pids seen: %v", got)
	}
	for _, line := range []string{"CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "CapBnd:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1", "Uid:\t1000\t"} {
		if !strings.Contains(got["status"].Text, line) {
			t.Errorf("status lacks %q:\n%s", line, got["status"].Text)
		}
	}
	if got["passwd"].Text == "" || !strings.Contains(got["passwd"].Text, "dockeruser:x:1000:") {
		t.Errorf("passwd %q", got["passwd"].Text)
	}
	for _, folder := range []string{"sys", "root", "home/" + filepath.Base(home), "boot", "mnt", "opt", "srv"} {
		if slices.Contains(strings.Fields(got["folders"].Text), folder) {
			t.Errorf("/%s is there", folder)
		}
	}
	for _, fd := range strings.Fields(got["fds"].Text) {
		number, to, _ := strings.Cut(fd, "=")
		if strings.HasPrefix(to, "/") && to != "/dev/null" && !strings.HasPrefix(to, "/proc/") {
			t.Errorf("descriptor %s is %s", number, to)
		}
	}
	if got["hostname"].Text != "instance" {
		t.Errorf("host name %q", got["hostname"].Text)
	}
}

func TestConnectionsBothWays(t *testing.T) {
	needSandbox(t)
	p, _ := mustBox(t, "serve", nil)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return p.DialContext(ctx, 5001)
	}}}
	eventually(t, "an answer from inside", func() bool {
		resp, err := client.Get("http://inside/")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		raw, _ := io.ReadAll(resp.Body)
		return string(raw) == "inside inside"
	})
	if _, err := p.DialContext(t.Context(), 4444); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("a port nobody listens on: %v", err)
	}
	// What the instance dials arrives at the sockets held here.
	go func() {
		for {
			c, err := p.Sockets.Identity.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "of the emulator")
			_ = c.Close()
		}
	}()
	got := look(t, nil, "dial="+sandbox.IdentityAddress, "dial=169.254.169.254:80", "dial=127.0.0.1:443", "dial=127.77.1.2:443", "dial=127.0.0.1:53")
	for name, o := range got {
		if strings.HasPrefix(name, "dial=") && o.Error != "" {
			t.Errorf("%s: %s", name, o.Error)
		}
	}
}

func TestEnds(t *testing.T) {
	needSandbox(t)
	t.Run("its own code", func(t *testing.T) {
		p, _ := mustBox(t, "exit 7", nil)
		if code := p.Wait(); code != 7 {
			t.Errorf("code %d", code)
		}
	})
	t.Run("SIGTERM reaches the command", func(t *testing.T) {
		p, out := mustBox(t, "sleep", nil)
		eventually(t, "it sleeps", func() bool { return strings.Contains(out.String(), "sleeping") })
		if err := p.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if code := p.Wait(); code != 143 {
			t.Errorf("code %d, want 143", code)
		}
	})
	t.Run("daemons go too", func(t *testing.T) {
		p, out := mustBox(t, "", func(c *sandbox.Config) {
			c.Argv, c.Binds = []string{"/bin/sh", "-c", "setsid sleep 300 & echo here; wait"}, nil
		})
		eventually(t, "it runs", func() bool { return strings.Contains(out.String(), "here") })
		if err := p.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		// The daemon held the output open: Wait ends because it is gone.
		if code := p.Wait(); code != 137 {
			t.Errorf("code %d, want 137", code)
		}
	})
	t.Run("abandoned", func(t *testing.T) {
		p, _ := mustBox(t, "sleep", func(c *sandbox.Config) { c.Abandoned = 10 * time.Millisecond })
		p.Close()
		if code := p.Wait(); code != 137 {
			t.Errorf("code %d, want 137", code)
		}
	})
}

func TestRefusals(t *testing.T) {
	needSandbox(t)
	_, _, err := box(t, "", func(c *sandbox.Config) { c.Argv = []string{"/no/such/program"} })
	if !errors.Is(err, sandbox.ErrExec) || !strings.Contains(err.Error(), "/no/such/program") {
		t.Errorf("a missing program: %v", err)
	}
	_, _, err = box(t, "", func(c *sandbox.Config) {
		c.Binds = append(c.Binds, sandbox.Bind{Source: "/no/such/folder", Target: "/x"})
	})
	var failed *sandbox.Error
	if !errors.As(err, &failed) || failed.Step != "look at /no/such/folder" || !errors.Is(err, syscall.ENOENT) {
		t.Errorf("a missing folder: %v", err)
	}
	t.Setenv("AMLOCAL_SANDBOX_AGENT", "1")
	if err := sandbox.Probe(t.Context(), "", t.TempDir()); !errors.As(err, &failed) || !strings.Contains(err.Error(), "did not call sandbox.Main") {
		t.Errorf("an agent within an agent: %v", err)
	}
	t.Setenv("AMLOCAL_SANDBOX_AGENT", "")
	err = sandbox.Probe(t.Context(), "/bin/true", t.TempDir())
	if !errors.As(err, &failed) || failed.Step == "" {
		t.Errorf("an agent that is none: %v", err)
	}
}

func TestMemory(t *testing.T) {
	needSandbox(t)
	p, out := mustBox(t, "hoard", func(c *sandbox.Config) { c.MemoryMiB = 512 })
	if code := p.Wait(); strings.Contains(out.String(), "got it") || code == 0 {
		t.Errorf("1 GiB was given: %d %s", code, out)
	}
}

// Deep state folders are longer than the address of a Unix socket may be.
func TestDeepFolder(t *testing.T) {
	needSandbox(t)
	p, _ := mustBox(t, "serve", func(c *sandbox.Config) {
		c.Folder = filepath.Join(c.Folder, strings.Repeat("d", 120))
		if err := os.Mkdir(c.Folder, 0o700); err != nil {
			t.Fatal(err)
		}
	})
	eventually(t, "it serves", func() bool {
		c, err := p.DialContext(t.Context(), 5001)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}
