package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amlocal/amlocal"
	"github.com/amlocal/amlocal/azure"
)

// scorerImage stands, in the world of these tests, for the Go scorer.
const scorerImage = "amlocal/goscorer:1"

// clientTimeout is far above what any client's flow takes.
const clientTimeout = 6 * time.Minute

// lab is the one emulator of this package; every test uses names of its own.
type lab struct {
	emulator *amlocal.Emulator
	dir      string
	polling  *polling
}

var theLab = sync.OnceValues(startLab)

func TestMain(m *testing.M) {
	amlocal.SandboxAgent()
	code := m.Run()
	fail := func(what string, err error) {
		if err != nil {
			_, _ = fmt.Fprintln(os.Stderr, what+":", err)
			code = max(code, 1)
		}
	}
	if running != nil {
		fail("record the polling", running.polling.record())
		fail("close the emulator", running.close())
		fail("record the versions", recordVersions())
	}
	// Only after a whole run: by then all is installed.
	if whole := flag.Lookup("test.run").Value.String() == ""; whole && code == 0 && os.Getenv(offlineEnv) == "" {
		fail("offline", runOffline())
	}
	os.Exit(code)
}

// running is the lab that TestMain has to close.
var running *lab

func labOf(t *testing.T) *lab {
	t.Helper()
	l, err := theLab()
	if err != nil {
		t.Fatalf("start the emulator: %v", err)
	}
	return l
}

func startLab() (*lab, error) {
	dir, err := os.MkdirTemp("", "amlocal-clients-")
	if err != nil {
		return nil, err
	}
	l := &lab{dir: dir}
	running = l
	scorer := filepath.Join(dir, "goscorer")
	if out, err := exec.Command("go", "build", "-o", scorer, "github.com/amlocal/amlocal/scenarios/goscorer").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the Go scorer: %w: %s", err, out)
	}
	world := filepath.Join(dir, "world.yaml")
	text := "identities: [{name: py-signin-identity}, {name: az-signin-identity}, {name: az-outside-identity}, {name: machine-vm}, {name: machine-compute}]\nprincipals:\n  groups: [{name: signers}]\nassignments:\n  - {principal: signers, role: Reader, scope: subscription}\n  - {principal: machine-vm, role: Reader, scope: subscription}\n  - {principal: machine-compute, role: Reader, scope: subscription}\n  - {principal: " + azure.SeedOwnerObjectID + ", role: Key Vault Secrets Officer, scope: vault:" + azure.SeedKeyVault + "}\nimages:\n  " + scorerImage + ": [" + scorer + ", -port, \"8080\"]\nclusters:\n  - name: " + cluster + "\n"
	if err := os.WriteFile(world, []byte(text), 0o600); err != nil {
		return nil, err
	}
	if os.Getenv("AMLOCAL_CACHE") == "" { // as scripts/test sets it
		if err := os.Setenv("AMLOCAL_CACHE", filepath.Join(cacheDir(), "amlocal")); err != nil {
			return nil, err
		}
	}
	l.emulator, err = amlocal.New(context.Background(), amlocal.Config{
		Ephemeral: true, Runner: "process", World: world, CADir: filepath.Join(dir, "ca"), RelaxConda: true,
		Offline: os.Getenv(offlineEnv) != "",
	})
	if err != nil {
		return nil, err
	}
	l.polling = watchPolling(l.emulator)
	return l, l.emulator.Start(context.Background())
}

// identity is a user-assigned identity of the lab's world.
func (l *lab) identity(t *testing.T, name string) (amlocal.PrincipalInfo, error) {
	t.Helper()
	list, err := l.emulator.Principals(t.Context())
	if err != nil {
		return amlocal.PrincipalInfo{}, err
	}
	for _, p := range list {
		if p.Name == name {
			return p, nil
		}
	}
	return amlocal.PrincipalInfo{}, fmt.Errorf("there is no %s", name)
}

func (l *lab) close() (err error) {
	if l.emulator != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		err = l.emulator.Close(ctx)
	}
	return errors.Join(err, os.RemoveAll(l.dir))
}

// environment is a clean one, with the emulator's variables over it and
// nothing else: what a user's shell holds after `amlocal env`.
func (l *lab) environment(t *testing.T) []string {
	t.Helper()
	return environment(t, l.emulator)
}

func environment(t *testing.T, emulator *amlocal.Emulator) []string {
	t.Helper()
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TMPDIR=" + t.TempDir(), "LANG=C.UTF-8",
		"SAMPLES=" + rooted("scenarios/content"), "SCORER_IMAGE=" + scorerImage,
	}
	for _, v := range emulator.Access().Env(func(string) (string, bool) { return "", false }) {
		env = append(env, v.Name+"="+v.Value)
	}
	return env
}

// command is a client's script, ready to run.
func (l *lab) command(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), clientTimeout)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = l.environment(t)
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// outcome is what a script reports in the last line it prints.
type outcome map[string]any

// run runs a script to its end and reads its report.
func run(t *testing.T, cmd *exec.Cmd) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s\n%s", cmd, err, tail(&stdout), tail(&stderr))
	}
	lines := strings.Split(strings.TrimSpace(stdout.String()), "\n")
	var out outcome
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &out); err != nil {
		t.Fatalf("the script's report: %v\n%s\n%s", err, tail(&stdout), tail(&stderr))
	}
	return out
}

func tail(r io.Reader) string {
	raw, _ := io.ReadAll(r)
	return string(raw[max(0, len(raw)-6000):])
}

// text is a reported text, empty if it is none.
func (o outcome) text(key string) string {
	s, _ := o[key].(string)
	return s
}

// texts is a reported list of texts.
func (o outcome) texts(key string) (out []string) {
	list, _ := o[key].([]any)
	for _, v := range list {
		s, _ := v.(string)
		out = append(out, s)
	}
	return out
}

// want compares reported values, as JSON.
func (o outcome) want(t *testing.T, want map[string]any) {
	t.Helper()
	for key, w := range want {
		got, _ := json.Marshal(o[key])
		wanted, _ := json.Marshal(w)
		if !bytes.Equal(got, wanted) {
			t.Errorf("%s is %s, want %s", key, got, wanted)
		}
	}
}

// wantObject wants a reported object to have these values, among others.
func (o outcome) wantObject(t *testing.T, key string, want map[string]any) {
	t.Helper()
	object, ok := o[key].(map[string]any)
	if !ok {
		t.Errorf("%s is %v, want an object", key, o[key])
		return
	}
	outcome(object).want(t, want)
}

// wantText wants a reported text to hold all the parts.
func (o outcome) wantText(t *testing.T, key string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(o.text(key), part) {
			t.Errorf("%s lacks %q:\n%s", key, part, o.text(key))
		}
	}
}

// wantServed wants what every flow ends with: the blob's content in the log of
// the deployment and the model's own predictions.
func (o outcome) wantServed(t *testing.T) {
	t.Helper()
	o.wantText(t, "log", "Blob contains: "+helloText(t))
	var scores []float64
	raw := o.text("score")
	if o["score"] != nil && raw == "" {
		encoded, _ := json.Marshal(o["score"])
		raw = string(encoded)
	}
	if err := json.Unmarshal([]byte(raw), &scores); err != nil {
		t.Fatalf("the score %q: %v", raw, err)
	}
	want := predictions(t)
	if len(scores) != len(want) {
		t.Fatalf("scores are %v, want %v", scores, want)
	}
	for i := range want {
		if math.Abs(scores[i]-want[i]) > 1e-6 {
			t.Errorf("score %d is %v, want %v", i, scores[i], want[i])
		}
	}
}

func helloText(t *testing.T) string {
	t.Helper()
	return strings.TrimSpace(string(sample(t, "managed/managed-identities/hello.txt")))
}

// predictions computes from the model's published coefficients what the sample
// request has to be answered with.
func predictions(t *testing.T) []float64 {
	t.Helper()
	var model struct {
		Intercept    float64
		Coefficients []float64
	}
	var request struct{ Data [][]float64 }
	for path, into := range map[string]any{"model-1/model/coefficients.json": &model, "model-1/sample-request.json": &request} {
		if err := json.Unmarshal(sample(t, path), into); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	var out []float64
	for _, row := range request.Data {
		y := model.Intercept
		for i, c := range model.Coefficients {
			y += c * row[i]
		}
		out = append(out, y)
	}
	return out
}

// sample is a file of the samples.
func sample(t *testing.T, path string) []byte {
	t.Helper()
	raw, err := os.ReadFile(rooted("scenarios/content/endpoints/online/" + path))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
