package images

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/amlocal/amlocal/runner"
)

const (
	// server is the package that serves scoring scripts; azureml-defaults
	// brings it too.
	server = "azureml-inference-server-http"
	// venvDir is below the folder where Azure puts conda environments.
	venvDir = "/azureml-envs/amlocal"
	// stageLabel marks the first stage of one build, to be removed after it.
	stageLabel = "amlocal.stage"
	// usualPath is for bases that set no PATH; an empty entry would mean the
	// working folder.
	usualPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

//go:embed serve.py
var serveScript string

// serve is the image's own program.
var serve = runner.WorkerGuard + serveScript

// recipe is what an environment's image is made of.
type recipe struct {
	Base         *found
	Requirements []string
	Variables    map[string]string
	Script       bool
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// check refuses what cannot be written into a Dockerfile.
func (r recipe) check() error {
	for name, value := range r.Variables {
		if !variableName.MatchString(name) {
			return buildFailed("the conda file's variable %q has no name a container can have", name)
		}
		if strings.ContainsFunc(value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
			return buildFailed("the conda file's variable %s has a control character in its value", name)
		}
	}
	return nil
}

// key names the result. Which interpreter of the base makes the environment is
// not in it: that follows from the base and what is asked of it.
func (r recipe) key() string {
	sum := sha256.New()
	fmt.Fprintf(sum, "1\n%s\n", r.Base.id)
	sum.Write([]byte(r.dockerfile("", interpreter{})))
	sum.Write([]byte(r.requirements()))
	if r.Script {
		sum.Write([]byte(serve))
	}
	return hex.EncodeToString(sum.Sum(nil)[:8])
}

func (r recipe) requirements() string {
	return strings.Join(r.Requirements, "\n") + "\n"
}

// packages are the requirements without the options among them, which may hold
// an index's password.
func (r recipe) packages() []string {
	return slices.DeleteFunc(slices.Clone(r.Requirements), func(line string) bool { return strings.HasPrefix(line, "-") })
}

// dockerfile is in two stages, so that neither the index's settings nor the
// host's trust roots, nor a trace of them in the history, are in the result.
func (r recipe) dockerfile(stage string, python interpreter) string {
	var d strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&d, format+"\n", args...) }
	line("FROM %s AS build", r.Base.name)
	line("LABEL %s=%s", stageLabel, quote(stage))
	line("USER root")
	line("COPY build /build")
	line("ENV PIP_CONFIG_FILE=/build/pip.conf")
	line("RUN %s", argv(python.path, "-m", "venv", venvDir))
	if len(r.Requirements) > 0 {
		line("RUN %s", argv(venvDir+"/bin/python", "-m", "pip", "install", "--no-cache-dir", "--only-binary", ":all:",
			"-r", "/build/requirements.txt"))
	}
	if r.Script {
		line("RUN %s", argv("cp", "/build/serve.py", venvDir+"/serve.py"))
	}
	line("")
	line("FROM %s", r.Base.name)
	line("USER root")
	line("COPY --from=build %s %s", venvDir, venvDir)
	// Without useradd, which a base need not have.
	line("RUN grep -q '^dockeruser:' /etc/passwd || " +
		"{ echo 'dockeruser:x:1001:1001::/home/dockeruser:/bin/sh' >>/etc/passwd && echo 'dockeruser:x:1001:' >>/etc/group; }; " +
		"mkdir -p /home/dockeruser /var/azureml-app/azureml-models && chown dockeruser /home/dockeruser /var/azureml-app")
	// One instruction each: the builder commits an image for every one.
	line("ENV %s", strings.Join(r.environ(), " "))
	line("LABEL %s=%s", pythonLabel, quote(python.minor))
	line("WORKDIR /var/azureml-app")
	line("USER dockeruser")
	if r.Script {
		line("EXPOSE 5001")
		line("ENTRYPOINT []")
		line("CMD %s", argv(venvDir+"/bin/python", venvDir+"/serve.py"))
	}
	return d.String()
}

// environ is what the image sets, quoted: the environment's own, unless the
// conda file sets it, then the conda file's.
func (r recipe) environ() []string {
	path := usualPath
	for _, kv := range r.Base.env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok && v != "" {
			path = v
		}
	}
	env := map[string]string{
		"PATH":                           venvDir + "/bin:" + path,
		"VIRTUAL_ENV":                    venvDir,
		"AZUREML_CONDA_ENVIRONMENT_PATH": venvDir,
		"AZUREML_INFERENCE_PYTHON_PATH":  venvDir + "/bin",
		"PYTHONUNBUFFERED":               "1",
	}
	if r.Script {
		env["AML_APP_ROOT"] = "/var/azureml-app"
		env["AZUREML_INFERENCE_SERVER_HTTP_ENABLED"] = "True"
		env["WORKER_TIMEOUT"] = "300" // the curated images' value
	}
	maps.Copy(env, r.Variables)
	var out []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, name+"="+quote(env[name]))
	}
	return out
}

// argv is a command no shell reads.
func argv(args ...string) string {
	raw, _ := json.Marshal(args) // strings always marshal
	return string(raw)
}

var dockerQuote = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`)

// quote writes a value so that the builder neither splits nor expands it.
func quote(value string) string { return `"` + dockerQuote.Replace(value) + `"` }
