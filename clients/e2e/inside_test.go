package e2e

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/amlocal/amlocal"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/runner/docker"
)

// The management clients stay out: they are most of it.
var unneeded = regexp.MustCompile(`/@azure/arm-|/@azure-rest/|\.(map|d\.[mc]?ts)$`)

// TestInsideContainers asks the clients of four languages from inside containers:
// each flavour of managed identity they know gets a token, the blob store is
// reached by its public name with its certificate verified, and without the role
// each shows Azure's refusal.
func TestInsideContainers(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := docker.Available(ctx, ""); err != nil {
		covers.NotRun(t, "docker", "no engine answers")
	}
	l := newInsideLab(t, amlocal.Config{Runner: "docker"}, nil)
	t.Run("go", func(t *testing.T) {
		t.Parallel()
		covers.C(t, "azure-sdk-for-go in a container", "R-503", "R-509", "R-510", "R-513", "R-516", "R-1001", "R-1005", "R-1008")
		l.deployImage(t, "inside-go", `["/inside", "/inside", "read"]`, func(rootfs) error { return nil })
		l.ask(t, "inside-go", insideGo)
	})
	t.Run("node", func(t *testing.T) {
		t.Parallel()
		covers.C(t, azureJS+" in a container", "R-503", "R-509", "R-510", "R-513", "R-516", "R-1001", "R-1005", "R-1008")
		installed := javaScript(t)
		node, err := exec.LookPath("node")
		if err != nil {
			t.Fatal(err)
		}
		l.deployImage(t, "inside-node", `["/inside", "/usr/bin/node", "/app/read.mjs"]`, func(r rootfs) error {
			return firstError(
				r.file(node, "/usr/bin/node"), r.libraries(node),
				r.tree(filepath.Join(installed, "node_modules"), "/app/node_modules", unneeded),
				r.file(filepath.Join(clientsDir(), "js", "read.mjs"), "/app/read.mjs"))
		})
		l.ask(t, "inside-node", insideNode)
	})
	t.Run("java", func(t *testing.T) {
		t.Parallel()
		covers.C(t, azureJava+" in a container", "R-503", "R-509", "R-513", "R-516", "R-1001", "R-1005", "R-1008")
		installed := java(t)
		if lacks := lacksProgram("jlink"); lacks != "" {
			covers.NotRun(t, "java in a container", lacks)
		}
		dir := t.TempDir()
		home, classes := filepath.Join(dir, "java"), filepath.Join(dir, "classes")
		for _, cmd := range []*exec.Cmd{
			exec.Command("jlink", "--add-modules", "java.se,jdk.crypto.ec,jdk.unsupported", "--strip-debug", "--no-man-pages", "--no-header-files", "--output", home),
			compileRead(installed, classes),
		} {
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", cmd, err, out)
			}
		}
		otherMachines := regexp.MustCompile(`(macos|osx|windows|aarch_64)[^/]*\.jar$`)
		l.deployImage(t, "inside-java", `["/inside", "/java/bin/java", "-XX:TieredStopAtLevel=1", "-cp", "/app/classes:/app/lib/*", "Read"]`, func(r rootfs) error {
			return firstError(
				r.tree(home, "/java", nil), r.libraries(filepath.Join(home, "bin", "java"), filepath.Join(home, "lib", "libnet.so"), filepath.Join(home, "lib", "server", "libjvm.so")),
				r.tree(filepath.Join(installed, "lib"), "/app/lib", otherMachines), r.tree(classes, "/app/classes", nil))
		})
		l.ask(t, "inside-java", insideJava)
	})
	t.Run("python", func(t *testing.T) {
		t.Parallel()
		covers.C(t, "azure-sdk-for-python in a container", "R-503", "R-509", "R-510", "R-513", "R-516", "R-1001", "R-1005", "R-1008")
		if !docker.HasImages(t.Context(), "", "amlocal/python") {
			covers.NotRun(t, "python in a container", "the engine has no Python base image; make base-image")
		}
		l.deployScript(t, "inside-python")
		l.ask(t, "inside-python", insidePython)
	})
}

// TestContainersApart looks out of one of two deployments' containers, under
// --offline: the other's identity and port, and the internet, are out of reach.
func TestContainersApart(t *testing.T) {
	t.Parallel()
	covers.C(t, "go net/http in a container", "R-503", "R-516")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := docker.Available(ctx, ""); err != nil {
		covers.NotRun(t, "docker", "no engine answers")
	}
	l := newInsideLab(t, amlocal.Config{Runner: "docker", Offline: true}, nil)
	for _, name := range []string{"apart-one", "apart-two"} {
		l.deployImage(t, name, `["/inside", "/inside"]`, func(rootfs) error { return nil })
	}
	one, two := l.asker(t, "apart-one"), l.asker(t, "apart-two")
	mine, other := one(nil, "env"), two(nil, "env")
	if mine["MSI_SECRET"] == other["MSI_SECRET"] || len(other["MSI_SECRET"]) < 20 || other["address"] == "" {
		t.Fatalf("the instances' environments: %v, %v", mine, other)
	}
	const query = "?resource=https://storage.azure.com/"
	if got := one(nil, "get", mine["MSI_ENDPOINT"]+query, mine["MSI_SECRET"]); got["status"] != "200 OK" {
		t.Errorf("its own secret: %v", got)
	}
	if got := one(nil, "get", mine["MSI_ENDPOINT"]+query, other["MSI_SECRET"]); !strings.HasPrefix(got["status"], "4") {
		t.Errorf("the other's secret at its own endpoint: %v", got)
	}
	otherAgent, err := url.Parse(other["MSI_ENDPOINT"])
	if err != nil {
		t.Fatal(err)
	}
	for what, to := range map[string]string{
		"the other's server": other["address"] + ":8080", "the other's identity endpoint": otherAgent.Host, "the internet": "1.1.1.1:443", "the emulator": fmt.Sprintf("172.17.0.1:%d", l.emulator.Access().Port),
	} {
		if got := one(nil, "dial", to); got["error"] == "" {
			t.Errorf("%s at %s: %v", what, to, got)
		}
	}
	for name, known := range map[string]bool{insideAccount + ".blob.core.windows.net": true, "example.com": false, "pypi.org": false} {
		if got := one(nil, "resolve", name); known != (got["error"] == "") {
			t.Errorf("%s: %v", name, got)
		}
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

// deployImage serves an image of a client and the test's server.
func (l *insideLab) deployImage(t *testing.T, name, command string, fill func(rootfs) error) {
	t.Helper()
	ref := fmt.Sprintf("amlocal-test/%s:%d", name, os.Getpid())
	makeImage(t, ref, command, func(r rootfs) error { return firstError(r.file(l.server, "/inside"), fill(r)) })
	l.apply(t, name, ownServer(ref))
}

// deployScript serves a scoring script that does the same as the server.
func (l *insideLab) deployScript(t *testing.T, name string) {
	t.Helper()
	code := t.TempDir()
	for file, from := range map[string]string{"score.py": filepath.Join("testdata", "inside", "score.py"), "read.py": script("python", "read.py")} {
		raw, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(code, file), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l.apply(t, name, "code_configuration:\n  code: "+code+"\n  scoring_script: score.py\n"+
		"environment:\n  image: mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04:latest\n"+
		"  conda_file: "+rooted("scenarios/content/endpoints/online/model-1/environment/conda-managedidentity.yml")+"\n")
}
