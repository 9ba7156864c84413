package compose

import (
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/amlocal/amlocal/internal/covers"
)

const goSDK = "azure-sdk-for-go"

// blocks are the shell commands of docs/containers.md.
func blocks(t *testing.T) []string {
	t.Helper()
	raw, err := os.ReadFile(root + "/docs/containers.md")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range regexp.MustCompile("(?s)```bash\n(.*?)```").FindAllStringSubmatch(string(raw), -1) {
		out = append(out, m[1])
	}
	if len(out) != 3 {
		t.Fatalf("docs/containers.md has %d blocks of commands", len(out))
	}
	return out
}

// documented is what the page says, with this project's port and program in the
// place of the usual ones. The image has been made.
func (p *project) documented(text string) string {
	return "set -e\n" + strings.NewReplacer(
		"make image build ", "true ", "4390", strconv.Itoa(p.port), "bin/amlocal", "amlocal",
		"scenario run sai", "scenario run sai --scorer go").Replace(text)
}

// TestDocumented runs the page as it stands.
func TestDocumented(t *testing.T) {
	covers.C(t, goSDK, "R-123", "R-127", "R-128", "R-129", "R-1001")
	p := newProject(t)
	text := blocks(t)
	begin, after, found := strings.Cut(text[1], "docker-compose down -v")
	if !found {
		t.Fatalf("the second block is\n%s", text[1])
	}
	out := p.run("bash", "-c", p.documented(text[0])+p.documented(begin)+
		"env | grep -c '^HTTPS_PROXY="+p.url()+"$'\namlocal why\n")
	if !strings.Contains(out, "\n1\nrefused ") {
		t.Errorf("the shell was not set up, or `why` knows of no refusal:\n%s", out)
	}
	_, story, _ := strings.Cut(out, "runner=docker scorer=go because ")
	story, _, _ = strings.Cut(story, "\n1\nrefused ")
	local, err := exec.Command(program, "scenario", "run", "sai", "--runner", "docker", "--scorer", "go").CombinedOutput()
	if err != nil {
		t.Fatalf("on this machine: %v\n%s", err, local)
	}
	if diff := cmp.Diff(plain(string(local)), plain(story)); diff != "" {
		t.Errorf("the scenario's output (-on this machine +in a container):\n%s", diff)
	}

	p.up() // which is up: this learns its state's name
	if len(p.ours()["containers"]) != 1 {
		t.Errorf("beside the agent there is something: %v", p.ours())
	}
	// The image brings a check of its own that needs nothing but the program.
	id := p.theirs()["containers"][0]
	check := strings.TrimSpace(p.run("docker", "inspect", "--format", "{{json .Config.Healthcheck.Test}}", id))
	if check != `["CMD","amlocal","status"]` {
		t.Errorf("the health check is %s", check)
	}
	p.run("docker", "exec", id, "amlocal", "status")
	if logs := p.run("docker-compose", "logs", "--no-color"); strings.Contains(logs, p.token) || !strings.Contains(logs, "amlocal is up") {
		t.Errorf("the log holds the token, or nothing:\n%s", logs)
	}
	if inside := p.run("docker", "inspect", id); strings.Contains(inside, p.token) {
		t.Error("the engine knows the token")
	}
	p.run("bash", "-c", p.documented("docker-compose down -v"+after))
	p.down() // there is nothing to end, and nothing left
}

var (
	varying = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\d{4}[-/]\d\d[-/]\d\d[T ][\d:.]+Z?| *\d+\.\d+s|\d+ (ms|requests)`)
	ownLine = regexp.MustCompile(`(?m)^(.*because.*|the emulator at .*|--runner docker.*|emulator at .*)\n`)
)

// plain leaves out of a scenario's output what differs from run to run, and
// which emulator it was.
func plain(text string) string {
	return strings.TrimSpace(varying.ReplaceAllString(ownLine.ReplaceAllString(text, ""), "…"))
}

// TestKilled takes a deployment through a kill of the emulator.
func TestKilled(t *testing.T) {
	covers.C(t, goSDK, "R-123")
	p := newProject(t)
	p.up()
	p.deploy("uai")
	before := p.ours()
	if len(before["containers"]) != 2 || len(before["networks"]) != 2 {
		t.Errorf("an agent and an instance with their networks were expected: %v", before)
	}
	p.apart()
	p.run("docker-compose", "kill", "emulator")
	p.up()
	p.serves("my-uai-endpoint/blue")
	p.apart()
	after := p.ours()
	if len(after["containers"]) != 2 || len(after["networks"]) != 2 || reflect.DeepEqual(before["containers"], after["containers"]) {
		t.Errorf("the instance was not replaced: %v, then %v", before, after)
	}
	if out := p.run("amlocal", "scenario", "run", "sai", "--scorer", "go"); !strings.Contains(out, "ok: scenario sai") {
		t.Errorf("after the kill:\n%s", out)
	}
	// Another container goes on with the same volume.
	p.run("docker-compose", "up", "-d", "--force-recreate")
	p.up()
	p.serves("my-uai-endpoint/blue")
	p.run("docker-compose", "kill", "emulator")
	p.up()
	p.down()
}

// TestOrphans removes an emulator by force, with its state. The next one, which
// leaves other emulators alone, removes what was left.
func TestOrphans(t *testing.T) {
	gone, next := newProject(t), newProject(t)
	gone.up()
	gone.deploy("uai")
	stands := gone.ours()
	next.up()
	if now := gone.ours(); !reflect.DeepEqual(stands, now) {
		t.Errorf("a running emulator had %v, and has %v since another one started", stands, now)
	}
	next.down()
	gone.run("docker-compose", "kill", "emulator")
	gone.run("docker-compose", "down", "-v")
	next.token = ""
	next.up()
	if left := gone.ours(); len(left) > 0 {
		t.Errorf("of an emulator that is gone there is %v", left)
	}
	next.down()
}
