//go:build linux

package sandbox_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/amlocal/amlocal/runner/process/sandbox"
)

const testKey = "of this sandbox"

// keptBox is a sandbox whose emulator has died.
func keptBox(t *testing.T, act string, change func(*sandbox.Config)) (folder string, pid int, before *output) {
	t.Helper()
	p, out := mustBox(t, act, func(c *sandbox.Config) {
		c.Key, folder = testKey, c.Folder
		if change != nil {
			change(c)
		}
	})
	if err := p.Keep(); err != nil {
		t.Fatal(err)
	}
	p.Die()
	return folder, p.PID(), out
}

func adopted(t *testing.T, folder string, pid int) (*sandbox.Process, *output) {
	t.Helper()
	out := &output{}
	p, err := sandbox.Adopt(t.Context(), folder, testKey, pid, out)
	if err != nil {
		t.Fatal(err)
	}
	return p, out
}

func TestAdopt(t *testing.T) {
	needSandbox(t)
	folder, pid, before := keptBox(t, "count", nil)
	// Some is printed while nobody is there.
	eventually(t, "a gap of output", func() bool {
		info, err := os.Stat(folder + "/" + sandbox.OutputFile)
		return err == nil && info.Size() > 100
	})
	p, out := adopted(t, folder, pid)
	if p.PID() != pid {
		t.Errorf("pid %d, want %d", p.PID(), pid)
	}
	first := len(strings.Fields(before.String() + out.String()))
	eventually(t, "more output", func() bool { return len(strings.Fields(before.String()+out.String())) > first+20 })
	c, err := p.DialContext(t.Context(), 5001)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// What the instance dials arrives here now.
	arrived := make(chan string, 1)
	go func() {
		in, err := p.Sockets.Metadata.Accept()
		if err != nil {
			arrived <- err.Error()
			return
		}
		raw, _ := io.ReadAll(in)
		arrived <- string(raw)
	}()
	if _, err := io.WriteString(c, "169.254.169.254:80"); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := <-arrived; got != "from inside" {
		t.Errorf("what was dialled inside gives %q", got)
	}
	// Nobody may take the place of an emulator that lives.
	if second, err := sandbox.Adopt(t.Context(), folder, testKey, pid, io.Discard); err == nil {
		second.Close()
		t.Error("a second emulator took over")
	}
	// It can be taken over again and again.
	p.Die()
	p, more := adopted(t, folder, pid)
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := p.Wait(); code != 143 {
		t.Errorf("code %d, want 143", code)
	}
	p.Close()
	if err := p.Signal(syscall.SIGKILL); err == nil {
		t.Error("a signal to one that has ended")
	}
	for i, text := range strings.Fields(before.String() + out.String() + more.String()) {
		if text != fmt.Sprint(i) {
			t.Fatalf("output %d is %q", i, text)
		}
	}
}

func TestAdoptEnds(t *testing.T) {
	needSandbox(t)
	t.Run("by its own code", func(t *testing.T) {
		folder, pid, _ := keptBox(t, "count", nil)
		p, _ := adopted(t, folder, pid)
		defer p.Close()
		var c net.Conn
		eventually(t, "it can be told to end", func() (ok bool) {
			var err error
			c, err = p.DialContext(t.Context(), 5002)
			return err == nil
		})
		defer func() { _ = c.Close() }()
		if _, err := c.Write([]byte{'x'}); err != nil {
			t.Fatal(err)
		}
		if code := p.Wait(); code != 7 {
			t.Errorf("code %d, want 7", code)
		}
	})
	t.Run("killed", func(t *testing.T) {
		folder, pid, _ := keptBox(t, "count", nil)
		p, _ := adopted(t, folder, pid)
		defer p.Close()
		if err := p.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if code := p.Wait(); code != 137 {
			t.Errorf("code %d, want 137", code)
		}
	})
	t.Run("while nobody is there", func(t *testing.T) {
		folder, pid, before := keptBox(t, "words", nil)
		if err := os.WriteFile(folder+"/tmp/gone", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it ended", func() bool { return syscall.Kill(pid, 0) != nil || zombie(pid) })
		raw, err := os.ReadFile(folder + "/" + sandbox.OutputFile)
		if err != nil || !strings.HasSuffix(before.String()+string(raw), "last words\n") {
			t.Errorf("%v: %q", err, raw)
		}
		if _, err := sandbox.Adopt(t.Context(), folder, testKey, pid, io.Discard); err == nil {
			t.Error("one that has ended was taken over")
		}
	})
	t.Run("when nobody comes", func(t *testing.T) {
		folder, pid, _ := keptBox(t, "count", func(c *sandbox.Config) { c.Abandoned = 50 * time.Millisecond })
		eventually(t, "it ended", func() bool { return syscall.Kill(pid, 0) != nil || zombie(pid) })
		if raw, err := os.ReadFile(folder + "/" + sandbox.OutputFile); err != nil || !strings.Contains(string(raw), "no emulator came back within 50ms") {
			t.Errorf("%v: %q", err, raw)
		}
	})
}

func zombie(pid int) bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(raw), ") Z ")
}

func TestAdoptRefuses(t *testing.T) {
	needSandbox(t)
	folder, pid, _ := keptBox(t, "count", nil)
	for name, try := range map[string]struct {
		key string
		pid int
	}{
		"another key": {"of another", pid}, "no key": {"", pid}, "another process": {testKey, os.Getpid()},
	} {
		if p, err := sandbox.Adopt(t.Context(), folder, try.key, try.pid, io.Discard); err == nil {
			p.Close()
			t.Errorf("%s took over", name)
		}
	}
	// An impostor at the socket cannot answer for the agent, nor learns the key.
	fake := t.TempDir()
	ln, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: fake + "/agent.sock", Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	heard := make(chan string, 1)
	go func() {
		c, err := ln.AcceptUnix()
		if err != nil {
			heard <- err.Error()
			return
		}
		defer func() { _ = c.Close() }()
		buf := make([]byte, 4096)
		n, _ := c.Read(buf)
		_, _ = c.Write([]byte(`{"challenge":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","proof":"AAAA"}`))
		m, _ := c.Read(buf[n:])
		heard <- string(buf[:n+m])
	}()
	if _, err := sandbox.Adopt(t.Context(), fake, testKey, os.Getpid(), io.Discard); err == nil || !strings.Contains(err.Error(), "recognise the agent") {
		t.Errorf("an impostor: %v", err)
	}
	if text := <-heard; strings.Contains(text, testKey) {
		t.Errorf("the impostor heard %q", text)
	}
	// None of this harmed it, nor do those who say nothing sensible.
	for _, say := range []string{"x", "{}", strings.Repeat("y", 5000), `{"challenge":"AAAA"}`} {
		c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: folder + "/agent.sock", Net: "unixpacket"})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte(say))
		_ = c.Close()
	}
	p, _ := adopted(t, folder, pid)
	defer p.Close()
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.Wait()
}
