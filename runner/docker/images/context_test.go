package images_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/docker/client"

	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/runner/docker/images"
)

// folder is a build context of these files.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// built builds a context and removes the image after the test.
func built(t *testing.T, cli *client.Client, b *images.Builder, env runner.Environment) (ref, log string) {
	t.Helper()
	var out bytes.Buffer
	ref, err := b.Ensure(t.Context(), env, false, &out)
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	removeLater(t, cli, ref)
	return ref, out.String()
}

// TestContextInstalls: a Dockerfile that installs a package from the host's
// index, on what stands for Azure's image.
func TestContextInstalls(t *testing.T) {
	cli := withBase(t)
	env := runner.Environment{Dockerfile: "docker/Dockerfile", Context: folder(t, map[string]string{
		"docker/Dockerfile": "FROM mcr.microsoft.com/azureml/minimal-inference:latest\n" +
			"RUN python3 -m venv /venv && /venv/bin/pip install --no-cache-dir idna==3.7\n" +
			"COPY . /app\nENV MODE=\"a b\"\nLABEL kept=\"yes \\\"x\\\"\"\nWORKDIR /app\nUSER 65534\nEXPOSE 8080\nENTRYPOINT [\"/venv/bin/python\"]\nCMD [\"main.py\"]\n",
		"main.py": "import idna\n", "data/notes.txt": "some notes\n",
	})}
	b := builder(t, images.Config{Engine: cli})
	ref, log := built(t, cli, b, env)
	for _, want := range []string{"stands for mcr.microsoft.com/azureml/minimal-inference:latest", "Step 2", "Successfully installed idna-3.7", ref + " is ready"} {
		if !strings.Contains(log, want) {
			t.Errorf("no %q in the log:\n%s", want, log)
		}
	}
	out := inside(t, ref, "sh", "-c", "/venv/bin/python -c 'import idna, os; print(idna.__version__, os.environ[\"MODE\"], os.getuid())'; pwd; ls -A /app; cat data/notes.txt; ls -d /.amlocal* 2>/dev/null; env | grep -iE 'pip_|cert|_proxy|bundle'; true")
	if out != "3.7 a b 65534\n/app\ndata\ndocker\nmain.py\nsome notes\n" {
		t.Errorf("inside: %q", out)
	}
	got, err := cli.ImageInspect(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	if c := got.Config; strings.Join(c.Entrypoint, " ") != "/venv/bin/python" || strings.Join(c.Cmd, " ") != "main.py" || c.Labels["kept"] != `yes "x"` || len(c.ExposedPorts) != 1 {
		t.Errorf("settings: %+v", c)
	}
	history, err := cli.ImageHistory(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range history {
		if strings.Contains(h.CreatedBy, ".amlocal") || strings.Contains(strings.ToLower(h.CreatedBy), "_proxy") {
			t.Errorf("history: %s", h.CreatedBy)
		}
	}
	noStages(t, cli, log)

	// The same content again, from another folder, needs nothing from outside.
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(env.Context)); err != nil {
		t.Fatal(err)
	}
	var again bytes.Buffer
	env.Context = copied
	same, err := builder(t, images.Config{Engine: cli, Offline: true}).Ensure(t.Context(), env, false, &again)
	if err != nil || same != ref || !strings.Contains(again.String(), "is in the engine") {
		t.Errorf("again: %s %v\n%s", same, err, again.String())
	}
	// Another content is another image: here one that cannot be, offline.
	if err := os.WriteFile(filepath.Join(copied, "docker", "Dockerfile"), []byte("FROM "+images.DefaultBase+"\nRUN python3 -c \"import urllib.request as u; u.urlopen('http://192.0.2.1', timeout=5)\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = builder(t, images.Config{Engine: cli, Offline: true}).Ensure(t.Context(), env, false, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "with --offline builds have no network") {
		t.Errorf("offline: %v", err)
	}
}

// TestContextStages: what a stage of commands makes, copied into nothing.
func TestContextStages(t *testing.T) {
	cli := withBase(t)
	env := runner.Environment{Context: folder(t, map[string]string{
		"Dockerfile":    "ARG BASE=" + images.DefaultBase + "\nFROM $BASE AS build\nRUN cp /bin/true /made\nFROM scratch\nCOPY --from=build /made /server\nCOPY . /all/\nUSER 1001\nCMD [\"/server\"]\n",
		".dockerignore": "*.txt\n", "kept.txt": "x",
	})}
	ref, log := built(t, cli, builder(t, images.Config{Engine: cli}), env)
	if !strings.Contains(log, ".dockerignore is not applied") {
		t.Errorf("log: %s", log)
	}
	got, err := cli.ImageInspect(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	if got.Config.User != "1001" || len(got.RootFS.Layers) != 2 {
		t.Errorf("%+v %+v", got.Config, got.RootFS)
	}
	noStages(t, cli, log)
}

func TestBadContexts(t *testing.T) {
	covers.R(t, "R-522")
	cli := withBase(t)
	from := "FROM " + images.DefaultBase + "\n"
	var log bytes.Buffer
	for _, tt := range []struct {
		name, dockerfile string
		files            map[string]string
		want             []string
	}{
		{"a command that fails", "", map[string]string{"Dockerfile": from + "RUN echo the reason >&2; exit 3\n"}, []string{"RUN echo the reason", "returned a non-zero code: 3"}},
		{"an unknown instruction", "", map[string]string{"Dockerfile": from + "RUNN x\n"}, []string{"unknown instruction: RUNN"}},
		{"a file that is not there", "", map[string]string{"Dockerfile": from + "COPY absent /\n"}, []string{"COPY absent /", "absent"}},
		{"an image that is not there", "", map[string]string{"Dockerfile": "FROM amlocal-test/absent:1\n"}, []string{"needs the image amlocal-test/absent:1", "not in the container engine"}},
		{"no Dockerfile", "", map[string]string{"dockerfile.txt": from}, []string{`"Dockerfile" is not in the build context`}},
		{"another Dockerfile", "../Dockerfile", map[string]string{"Dockerfile": from}, []string{`"../Dockerfile" is not in the build context`}},
		{"no FROM", "", map[string]string{"Dockerfile": "RUN x\n"}, []string{"no FROM"}},
		{"BuildKit's syntax", "", map[string]string{"Dockerfile": from + "RUN --mount=type=cache,target=/x true\n"}, []string{"requires BuildKit"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env := runner.Environment{Context: folder(t, tt.files), Dockerfile: tt.dockerfile}
			_, err := builder(t, images.Config{Engine: cli}).Ensure(t.Context(), env, false, &log)
			var f *runner.Failure
			if !errors.As(err, &f) || f.Kind != runner.BuildFailed {
				t.Fatalf("%v", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(f.Message, want) {
					t.Errorf("no %q in %q", want, f.Message)
				}
			}
		})
	}
	noStages(t, cli, log.String())
}
