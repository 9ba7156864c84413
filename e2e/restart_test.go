package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/google/uuid"

	"github.com/amlocal/amlocal/internal/covers"
)

// TestRestart takes a deployment through kill, up, kill, down, up, down and up.
// Its model and environment were deleted in the workspace meanwhile.
func TestRestart(t *testing.T) {
	if runtime.GOOS != "linux" {
		covers.NotRun(t, "restarts with deployments", "processes are looked up in /proc")
	}
	covers.C(t, sdk, "issue-3-restart")
	s := newSite(t)
	emulator := s.start("--world", s.world())
	o := s.owner()
	made, err := o.endpoint(t.Context(), "restart")
	if err != nil {
		t.Fatal(err)
	}
	if err := o.grant(t.Context(), uuid.NewString(), *made.Identity.PrincipalID, blobReader, boxScope); err != nil {
		t.Fatal(err)
	}
	err = o.deploy(t.Context(), "restart", o.image(t, "goscorer"), o.model(t),
		map[string]*string{"STORAGE_ACCOUNT_NAME": to.Ptr(boxAccount), "STORAGE_CONTAINER_NAME": to.Ptr("box"), "FILE_NAME": to.Ptr("hello.txt")})
	if err != nil {
		t.Fatal(err)
	}
	o.dropAssets(t, "goscorer")
	key := o.key(t, "restart")
	want := s.scoreSoon("restart", key)
	log := o.logsOnce(t, "restart", func(log string) bool { return strings.Contains(log, "Request processed") })
	if !strings.Contains(log, "Blob contains: "+helloText) || !strings.Contains(log, "Request processed") {
		t.Fatalf("the log is\n%s", log)
	}
	stranger := startStranger(t)

	// The next start ends plain children that the killed one left, and begins
	// anew. TestTakeOver is about sandboxed ones.
	orphans := s.instances(t, emulator)
	emulator.kill()
	emulator = s.start("--sandbox", "off")
	wantGone(t, orphans, "after the next up")
	s.wantServes(t, o, key, want, log)
	orphans = s.instances(t, emulator)
	emulator.kill()
	emulator = s.start()
	wantGone(t, orphans, "after the next up")
	s.wantServes(t, o, key, want, log)

	// down does so too, where no emulator runs.
	orphans = s.instances(t, emulator)
	emulator.kill()
	out, err := s.run("down")
	if err != nil || !strings.Contains(out, "had been killed") {
		t.Errorf("down: %v: %s", err, out)
	}
	wantGone(t, orphans, "after down")

	// down ends everything; the state stays.
	emulator = s.start()
	s.wantServes(t, o, key, want, log)
	children := s.instances(t, emulator)
	if out, err := s.run("down"); err != nil || out != "Stopped.\n" {
		t.Errorf("down: %v: %s", err, out)
	}
	if err := <-emulator.ended; err != nil {
		t.Errorf("the emulator ended with %v\n%s", err, emulator.log)
	}
	wantGone(t, children, "after down")
	if _, err := os.Stat(filepath.Join(s.state, "run.json")); err == nil {
		t.Error("the record of the running emulator is left")
	}

	emulator = s.start()
	s.wantServes(t, o, key, want, log)
	status, err := s.run("status")
	if err != nil || !strings.Contains(status, "restart/blue") || !strings.Contains(status, "running, 1 of 1 instance(s) ready") {
		t.Errorf("status: %v\n%s", err, status)
	}
	if text, err := s.run("logs", "restart/blue"); err != nil || !strings.Contains(text, "Blob contains: "+helloText) {
		t.Errorf("logs: %v\n%s", err, text)
	}
	emulator.stop()
	if !alive(stranger.Process.Pid) {
		t.Error("a process of somebody else's was ended")
	}
}

// startStranger runs the scorer's twin: a process that looks like an instance
// of another state folder.
func startStranger(t *testing.T) *exec.Cmd {
	t.Helper()
	stranger := exec.Command("sleep", "600")
	stranger.Env = []string{"AMLOCAL_INSTANCE=" + filepath.Join(t.TempDir(), "runner", "instances", uuid.NewString())}
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stranger.Process.Kill()
		_ = stranger.Wait()
	})
	return stranger
}

// instances are the processes that the emulator started; there must be some.
func (s *site) instances(t *testing.T, emulator *running) (pids []int) {
	t.Helper()
	for _, pid := range s.processes() {
		if pid != emulator.Process.Pid {
			pids = append(pids, pid)
		}
	}
	if len(pids) == 0 {
		t.Fatal("the deployment has no process")
	}
	return pids
}

func wantGone(t *testing.T, pids []int, when string) {
	t.Helper()
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("%s process %d is still there", when, pid)
		}
	}
}

// wantServes: the deployment answers as before, under the same key, and its log
// goes on where it was.
func (s *site) wantServes(t *testing.T, o *owner, key, want, log string) {
	t.Helper()
	if got := s.scoreSoon("restart", key); got != want {
		t.Errorf("the score is %s, was %s", got, want)
	}
	if got := o.key(t, "restart"); got != key {
		t.Error("the endpoint's key has changed")
	}
	now := o.logsOnce(t, "restart", func(now string) bool {
		return strings.Count(now, "Init complete") > strings.Count(log, "Init complete")
	})
	if !strings.Contains(now, strings.TrimSpace(log)) {
		t.Errorf("the old log is lost; now\n%s\nbefore\n%s", now, log)
	}
	if strings.Count(now, "Init complete") <= strings.Count(log, "Init complete") {
		t.Errorf("the new instance does not log\n%s", now)
	}
}
