package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
	"github.com/google/uuid"

	"github.com/amlocal/amlocal/internal/covers"
)

// needSandbox skips where the emulator that runs gives instances none.
func (s *site) needSandbox(t *testing.T) {
	t.Helper()
	out, err := s.run("status")
	if err != nil {
		t.Fatalf("status: %v\n%s", err, out)
	}
	if !strings.Contains(out, "sandboxed child processes") {
		covers.NotRun(t, "sandbox", out)
	}
}

// variable is one of an instance's.
func (f findings) variable(name string) string {
	for _, kv := range f.Environment {
		if k, v, ok := strings.Cut(kv, "="); ok && k == name {
			return v
		}
	}
	return ""
}

// look is what the instance sees now.
func (s *site) look(t *testing.T, endpoint, key string) findings {
	t.Helper()
	var f findings
	if body := s.scoreSoon(endpoint, key); json.Unmarshal([]byte(body), &f) != nil {
		t.Fatalf("%s answers %s", endpoint, body)
	}
	return f
}

// TestTakeOver kills the emulator under sandboxed instances: the next one goes
// on with those of deployments that are as they were, and with no other.
func TestTakeOver(t *testing.T) {
	covers.C(t, sdk, "R-503", "R-1001", "issue-4-readoption")
	s := newSite(t)
	emulator := s.start("--world", s.world())
	s.needSandbox(t)
	o := s.owner()
	environment := o.image(t, "instance")
	variables := map[string]*string{instanceEnv: to.Ptr("1"), tickEnv: to.Ptr("1")}
	for _, name := range []string{"stays", "goes"} {
		made, err := o.endpoint(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if err := o.grant(t.Context(), uuid.NewString(), *made.Identity.PrincipalID, blobReader, boxScope); err != nil {
			t.Fatal(err)
		}
		if err := o.deploy(t.Context(), name, environment, "", variables); err != nil {
			t.Fatal(err)
		}
	}
	key := o.key(t, "stays")
	before := s.look(t, "stays", key)
	if before.Text != helloText || before.variable("MSI_SECRET") == "" {
		t.Fatalf("%+v", before)
	}
	// What they were made of need not be there any more.
	if _, err := o.envs.Delete(t.Context(), group, workspace, "instance", "1", nil); err != nil {
		t.Fatal(err)
	}
	mine, other := s.agent(t, "stays"), s.agent(t, "goes")

	for round := range 3 {
		emulator.kill()
		begun := lastTick(t, o.kept(s, t))
		emulator = s.begin() // not ready, and killed again: nothing may be lost of this
		if round == 1 {
			emulator.kill()
			emulator = s.begin()
		}
		s.settle(emulator)
		got := s.look(t, "stays", key)
		if got.Text != helloText || got.Error != "" {
			t.Errorf("a read with the identity: %+v", got)
		}
		if got.variable("MSI_SECRET") != before.variable("MSI_SECRET") {
			t.Error("the instance has another secret")
		}
		if now := s.agent(t, "stays"); now != mine || !alive(mine) {
			t.Errorf("the instance was process %d, is %d", mine, now)
		}
		log := o.logsOnce(t, "stays", func(log string) bool { // what it prints comes behind its answers
			return lastTick(t, log) > begun && strings.Contains(log, "goes on: the emulator is back")
		})
		if last := lastTick(t, log); last <= begun {
			t.Errorf("the log stands still at tick %d", last)
		}
		wantTicks(t, o.kept(s, t))
		if all := o.kept(s, t); strings.Count(all, "the instance begins") != 1 || !strings.Contains(log, "goes on: the emulator is back") {
			t.Errorf("the instance was begun %d times", strings.Count(all, "the instance begins"))
		}
	}

	// One whose deployment is not there any more is ended.
	emulator.kill()
	if !alive(other) {
		t.Fatal("the other instance ended with the emulator")
	}
	s.forget(t, "goes")
	emulator = s.begin()
	s.settle(emulator)
	s.scoreSoon("stays", key)
	if !goneSoon(other) {
		t.Error("an instance whose record was changed goes on")
	}
	if now := s.agent(t, "stays"); now != mine {
		t.Errorf("the instance was process %d, is %d", mine, now)
	}

	// So are those that would not be the same now.
	emulator.kill()
	emulator = s.begin("--sandbox", "off")
	s.settle(emulator)
	s.scoreSoon("stays", key)
	if !goneSoon(mine) {
		t.Error("a sandboxed instance goes on where there are none")
	}
	emulator.stop()
}

// TestTakeOverHalfDone kills the emulator while a deployment is on its way: the
// revision that served goes on, the other is begun anew.
func TestTakeOverHalfDone(t *testing.T) {
	covers.C(t, sdk, "R-503", "issue-4-readoption")
	s := newSite(t)
	emulator := s.start("--world", s.world())
	s.needSandbox(t)
	o := s.owner()
	environment := o.image(t, "instance")
	if _, err := o.endpoint(t.Context(), "half"); err != nil {
		t.Fatal(err)
	}
	variables := map[string]*string{instanceEnv: to.Ptr("1")}
	if err := o.deploy(t.Context(), "half", environment, "", variables); err != nil {
		t.Fatal(err)
	}
	key, mine := o.key(t, "half"), s.agent(t, "half")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	updating := make(chan error, 1)
	go func() {
		updating <- o.deploy(ctx, "half", environment, "", map[string]*string{instanceEnv: to.Ptr("1"), slowEnv: to.Ptr("5s")})
	}()
	deadline := time.Now().Add(time.Minute)
	for len(s.records(t, "half")) < 2 {
		if time.Now().After(deadline) {
			t.Fatal("the update does not begin")
		}
		time.Sleep(10 * time.Millisecond)
	}
	emulator.kill()
	cancel()
	if err := <-updating; err == nil {
		t.Fatal("the update came to an end without an emulator")
	}
	var half []int
	for _, r := range s.records(t, "half") {
		if r.PID != mine && r.PID != 0 {
			half = append(half, r.PID)
		}
	}
	emulator = s.begin()
	s.settle(emulator)
	if got := s.look(t, "half", key); got.variable("MSI_SECRET") == "" {
		t.Errorf("%+v", got)
	}
	if !alive(mine) {
		t.Error("the instance that served is gone")
	}
	for _, pid := range half {
		if !goneSoon(pid) {
			t.Errorf("after the next up process %d is still there", pid)
		}
	}
	deadline = time.Now().Add(time.Minute)
	for {
		d, err := o.deployments.Get(t.Context(), group, workspace, "half", "blue", nil)
		if err != nil {
			t.Fatal(err)
		}
		state := *d.Properties.GetOnlineDeploymentProperties().ProvisioningState
		if state == armmachinelearning.DeploymentProvisioningStateSucceeded {
			break
		}
		if state == armmachinelearning.DeploymentProvisioningStateFailed || time.Now().After(deadline) {
			t.Fatalf("the update ended %s:\n%s", state, o.logs(t, "half"))
		}
		time.Sleep(20 * time.Millisecond)
	}
	if got := s.look(t, "half", key); got.variable(slowEnv) == "" {
		t.Error("the new revision does not serve")
	}
	emulator.stop()
	if left := s.records(t, "half"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// settle waits until an emulator serves, and has clients follow it.
func (s *site) settle(r *running) {
	s.t.Helper()
	if !<-r.up {
		s.t.Fatalf("the emulator did not start: %v\n%s", <-r.ended, r.log)
	}
	s.follow()
}

// record is what the emulator noted down of an instance.
type record struct {
	ID         string `json:"id"`
	PID        int    `json:"pid"`
	Deployment string `json:"deployment"`
}

func (s *site) records(t *testing.T, endpoint string) (out []record) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.state, "runner", "instances", "*", "process.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		var r record
		raw, err := os.ReadFile(file)
		if err == nil && json.Unmarshal(raw, &r) == nil && strings.Contains(r.Deployment, "/"+endpoint+"/") {
			out = append(out, r)
		}
	}
	return out
}

// agent is the process of an endpoint's only instance.
func (s *site) agent(t *testing.T, endpoint string) int {
	t.Helper()
	records := s.records(t, endpoint)
	if len(records) != 1 || records[0].PID == 0 {
		t.Fatalf("the instances of %s are %v", endpoint, records)
	}
	return records[0].PID
}

// forget makes the record of an instance one of another revision.
func (s *site) forget(t *testing.T, endpoint string) {
	t.Helper()
	file := filepath.Join(s.state, "runner", "instances", s.records(t, endpoint)[0].ID, "process.json")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	all["revision"] = "another"
	if raw, err = json.Marshal(all); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

// kept is the whole log as it lies on disk.
func (o *owner) kept(s *site, t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.state, "runner", "logs", "*", "name"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name, err := os.ReadFile(file); err == nil && strings.HasPrefix(string(name), "stays/") {
			raw, err := os.ReadFile(filepath.Join(filepath.Dir(file), "inference-server.log"))
			if err != nil {
				t.Fatal(err)
			}
			return string(raw)
		}
	}
	t.Fatal("there is no log")
	return ""
}

// ticks are the numbered lines of a log.
func ticks(log string) (out []int) {
	for line := range strings.Lines(log) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "tick "); ok {
			if n, err := strconv.Atoi(text); err == nil {
				out = append(out, n)
			}
		}
	}
	return out
}

func lastTick(t *testing.T, log string) int {
	t.Helper()
	all := ticks(log)
	if len(all) == 0 {
		t.Fatalf("no tick in the log:\n%s", log)
	}
	return slices.Max(all)
}

// wantTicks wants every line there once, in order.
func wantTicks(t *testing.T, log string) {
	t.Helper()
	var wrong []string
	for i, n := range ticks(log) {
		if i != n {
			wrong = append(wrong, fmt.Sprintf("line %d is tick %d", i, n))
			break
		}
	}
	if len(wrong) > 0 {
		t.Error(wrong)
	}
}
