package compose

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/amlocal/amlocal"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/runner/docker"
)

var makeImage = sync.OnceValue(func() error {
	cmd := exec.Command(root + "/scripts/image")
	cmd.Env = append(os.Environ(), "IMAGE="+image)
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.New(string(out))
	}
	return nil
})

// project is one Compose project, with a home of its own on this machine.
type project struct {
	t     *testing.T
	name  string
	port  int
	env   []string
	token string
	state string // its UUID
}

// freePort is one that stays free though the project is taken down and up again:
// below those that the machine gives to outgoing connections.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(10000)))
		if err != nil {
			continue
		}
		_ = ln.Close()
		return ln.Addr().(*net.TCPAddr).Port
	}
	t.Fatal("no free port")
	return 0
}

// newProject needs what the suite needs; the project ends with the test.
func newProject(t *testing.T) *project {
	t.Helper()
	if err := docker.Available(t.Context(), ""); err != nil {
		covers.NotRun(t, "docker-compose", "no engine answers")
	}
	if _, err := exec.LookPath("docker-compose"); err != nil {
		covers.NotRun(t, "docker-compose", "it is not installed; apt-get install docker-compose")
	}
	if !docker.HasImages(t.Context(), "", "amlocal/goscorer") {
		covers.NotRun(t, "docker-compose", "the engine has no image amlocal/goscorer; make sample-image")
	}
	if err := makeImage(); err != nil {
		t.Fatalf("make the image: %v", err)
	}
	p := &project{t: t, name: "amlocale2e" + strings.ReplaceAll(uuid.NewString(), "-", "")[:12], port: freePort(t)}
	file, err := filepath.Abs(root + "/docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	for _, kv := range os.Environ() {
		switch name, _, _ := strings.Cut(kv, "="); {
		case strings.HasPrefix(name, "AMLOCAL_") && name != "AMLOCAL_CACHE", strings.HasPrefix(name, "COMPOSE_"), name == "PATH", name == "XDG_DATA_HOME":
		default:
			p.env = append(p.env, kv)
		}
	}
	p.env = append(p.env, "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"), "XDG_DATA_HOME="+home,
		"COMPOSE_PROJECT_NAME="+p.name, "COMPOSE_FILE="+file, "AMLOCAL_IMAGE="+image, "AMLOCAL_PORT="+strconv.Itoa(p.port))
	t.Cleanup(func() {
		if out, err := p.try("docker-compose", "down", "-v"); err != nil {
			t.Errorf("down: %v\n%s", err, out)
		}
	})
	return p
}

func (p *project) command(words ...string) *exec.Cmd {
	if words[0] == "amlocal" { // looked for in this process's PATH
		words[0] = program
	}
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Env = p.env
	if p.token != "" {
		cmd.Env = append(p.env[:len(p.env):len(p.env)], "AMLOCAL_URL="+p.url(), "AMLOCAL_ADMIN_TOKEN="+p.token)
	}
	return cmd
}

func (p *project) try(words ...string) (string, error) {
	out, err := p.command(words...).CombinedOutput()
	return string(out), err
}

func (p *project) run(words ...string) string {
	p.t.Helper()
	out, err := p.try(words...)
	if err != nil {
		p.t.Fatalf("%s: %v\n%s", strings.Join(words, " "), err, out)
	}
	return out
}

func (p *project) url() string { return fmt.Sprintf("http://127.0.0.1:%d", p.port) }

// up starts the project, or starts it again, and finds its way in.
func (p *project) up() {
	p.t.Helper()
	p.run("docker-compose", "up", "-d")
	p.token = strings.TrimSpace(p.run("docker-compose", "exec", "-T", "emulator", "amlocal", "admin-token"))
	if p.state = p.status().StateUUID; p.state == "" {
		p.t.Fatal("the state has no name")
	}
}

func (p *project) status() (s amlocal.Status) {
	p.t.Helper()
	if err := json.Unmarshal([]byte(p.run("amlocal", "status", "-o", "json")), &s); err != nil {
		p.t.Fatal(err)
	}
	return s
}

// deploy leaves a scenario in the middle, so that a deployment stands.
func (p *project) deploy(scenario string) {
	p.t.Helper()
	cmd := p.command("amlocal", "scenario", "run", scenario, "--scorer", "go")
	out, err := cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	var complaint strings.Builder
	cmd.Stderr = &complaint
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	text := ""
	for lines := bufio.NewScanner(out); lines.Scan(); {
		text += lines.Text() + "\n"
		if strings.Contains(lines.Text(), "send all traffic to blue") {
			if err := cmd.Process.Kill(); err != nil {
				p.t.Fatal(err)
			}
			_ = cmd.Wait() // it was killed
			return
		}
	}
	err = cmd.Wait()
	p.t.Fatalf("no deployment: %v\n%s%s", err, text, &complaint)
}

// serves waits until a deployment serves.
func (p *project) serves(name string) {
	p.t.Helper()
	for range 1200 {
		for _, d := range p.status().Deployments {
			if d.Name == name && len(d.Instances) == 1 && d.Instances[0].Ready {
				return
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	p.t.Fatalf("%s does not serve: %+v\n%s", name, p.status().Deployments, p.run("docker-compose", "logs"))
}

// listed are the things of the engine with a label.
func listed(t *testing.T, label string) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for kind, words := range map[string][]string{
		"containers": {"ps", "-aq", "--no-trunc"}, "networks": {"network", "ls", "-q", "--no-trunc"}, "volumes": {"volume", "ls", "-q"},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		raw, err := exec.CommandContext(ctx, "docker", append(words, "--filter", "label="+label)...).Output()
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		if ids := strings.Fields(string(raw)); len(ids) > 0 {
			out[kind] = ids
		}
	}
	return out
}

// ours is everything the emulator made, theirs everything Compose made.
func (p *project) ours() map[string][]string { return listed(p.t, "io.amlocal.state="+p.state) }
func (p *project) theirs() map[string][]string {
	return listed(p.t, "com.docker.compose.project="+p.name)
}

// down ends the project; nothing is left.
func (p *project) down() {
	p.t.Helper()
	p.run("docker-compose", "down", "-v")
	if left := p.ours(); len(left) > 0 {
		p.t.Errorf("the emulator left %v", left)
	}
	if left := p.theirs(); len(left) > 0 {
		p.t.Errorf("docker-compose left %v", left)
	}
}
