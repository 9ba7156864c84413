package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/amlocal/amlocal"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/runner/process"
	"github.com/amlocal/amlocal/runner/process/sandbox"
)

// TestInsideProcesses asks the same clients as TestInsideContainers, as instances
// of the process runner, in the sandbox and as plain children.
func TestInsideProcesses(t *testing.T) {
	t.Parallel()
	// Python's packages are those of its conda file, installed once.
	cache := os.Getenv("AMLOCAL_CACHE")
	if cache == "" {
		cache = filepath.Join(cacheDir(), "amlocal")
	}
	// Without a sandbox a client needs the proxy of its environment. Node's fetch
	// knows none: there the SDK reads.
	plainNode := insideNode
	plainNode.what = "sdk"
	plainNode.distrust = "unable to get local issuer certificate"
	for mode, clients := range map[process.SandboxMode][2]insideClient{
		process.SandboxOn:  {insideNode, insideJava},
		process.SandboxOff: {plainNode, insideJava},
	} {
		t.Run("sandbox "+string(mode), func(t *testing.T) {
			t.Parallel()
			if mode == process.SandboxOn {
				if err := sandbox.Probe(t.Context(), "", t.TempDir()); err != nil {
					covers.NotRun(t, "sandbox", err.Error())
				}
			}
			where := " as a process"
			if mode == process.SandboxOn {
				where = " in a sandbox"
			}
			apps := t.TempDir()
			l := newInsideLab(t, amlocal.Config{Runner: "process", Sandbox: mode, CacheDir: cache}, func(server string) string {
				return "images:\n" +
					"  inside/go:1: [" + server + ", " + server + ", read]\n" +
					"  inside/node:1: [" + server + ", node, " + filepath.Join(apps, "node") + "]\n" +
					"  inside/java:1: [" + server + ", java, -XX:TieredStopAtLevel=1, -cp, \"" + filepath.Join(apps, "classes") + ":" + filepath.Join(cacheDir(), "clients", "java", "lib", "*") + "\", Read]\n"
			})
			t.Run("go", func(t *testing.T) {
				t.Parallel()
				covers.C(t, "azure-sdk-for-go"+where, "R-503", "R-509", "R-510", "R-513", "R-516", "R-1001", "R-1005", "R-1008")
				l.deployProcess(t, "inside-go", "inside/go:1")
				l.ask(t, "inside-go", insideGo)
			})
			t.Run("node", func(t *testing.T) {
				t.Parallel()
				covers.C(t, azureJS+where, "R-503", "R-509", "R-510", "R-513", "R-516", "R-1001", "R-1005", "R-1008")
				makeNodeApp(t, javaScript(t), filepath.Join(apps, "node"))
				l.deployProcess(t, "inside-node", "inside/node:1")
				l.ask(t, "inside-node", clients[0])
			})
			t.Run("java", func(t *testing.T) {
				t.Parallel()
				covers.C(t, azureJava+where, "R-503", "R-509", "R-513", "R-516", "R-1001", "R-1005", "R-1008")
				if out, err := compileRead(java(t), filepath.Join(apps, "classes")).CombinedOutput(); err != nil {
					t.Fatalf("compile: %v: %s", err, out)
				}
				l.deployProcess(t, "inside-java", "inside/java:1")
				client := clients[1]
				if mode == process.SandboxOff { // it has to find the emulator to distrust it
					client.trust = []string{fmt.Sprintf("JAVA_TOOL_OPTIONS=-Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=%d -Dhttp.nonProxyHosts=127.0.0.1", l.emulator.Access().Port)}
				}
				l.ask(t, "inside-java", client)
			})
			t.Run("python", func(t *testing.T) {
				t.Parallel()
				covers.C(t, "azure-sdk-for-python"+where, "R-503", "R-509", "R-510", "R-513", "R-516", "R-1001", "R-1005", "R-1008")
				l.deployScript(t, "inside-python")
				l.ask(t, "inside-python", insidePython)
			})
		})
	}
}

// deployProcess serves an image for which the world names a command.
func (l *insideLab) deployProcess(t *testing.T, name, image string) {
	t.Helper()
	l.apply(t, name, ownServer(image))
}

// ownServer is an environment that brings the test's server.
func ownServer(image string) string {
	return "environment:\n  image: " + image + "\n  inference_config:\n" +
		"    liveness_route: {port: 8080, path: /health}\n    readiness_route: {port: 8080, path: /health}\n    scoring_route: {port: 8080, path: /score}\n"
}

// makeNodeApp fills a folder that node runs as a whole: in a sandbox a server
// sees what its arguments name, and modules are looked for beside the script.
func makeNodeApp(t *testing.T, installed, dir string) {
	t.Helper()
	modules := filepath.Join(installed, "node_modules")
	err := filepath.WalkDir(modules, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || unneeded.MatchString(path) {
			return err
		}
		return copyTo(path, filepath.Join(dir, "node_modules", strings.TrimPrefix(path, modules)))
	})
	if err = firstError(err, copyTo(filepath.Join(clientsDir(), "js", "read.mjs"), filepath.Join(dir, "read.mjs"))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte(`{"main": "read.mjs"}`), 0o644); err != nil {
		t.Fatal(err)
	}
}

func copyTo(from, to string) error {
	raw, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	return firstError(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, raw, 0o644))
}

// compileRead makes the classes of clients/java/Read.java.
func compileRead(installed, classes string) *exec.Cmd {
	return exec.Command("javac", "-nowarn", "-cp", filepath.Join(installed, "lib", "*"), "-d", classes, filepath.Join(clientsDir(), "java", "Read.java"))
}
