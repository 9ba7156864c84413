package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/amlocal/amlocal/runner"
)

// uvVersion is installed into the cache where there is no uv.
const uvVersion = "0.13.9"

// install makes dir a virtual environment with the packages of list.
func (b *Backend) install(ctx context.Context, py python, dir, list string, requirements []string) error {
	uv, pipConfig, err := b.uv(ctx, py)
	if err != nil {
		b.cfg.Logf("process: uv is not available, pip is used: %v", err)
	}
	env := b.installerEnv(pipConfig)
	var steps [][]string
	if uv != "" {
		steps = [][]string{
			{uv, "venv", "--quiet", "--no-config", "--no-project", "--no-python-downloads", "--python", py.Path, dir},
			// First-index is uv's own rule; pip, which conda calls, takes the
			// best match of all.
			{uv, "pip", "install", "--no-progress", "--compile-bytecode", "--python", filepath.Join(dir, "bin", "python"), "--only-binary", ":all:",
				"--index-strategy", "unsafe-best-match", "-r", list},
		}
		if b.cfg.Offline {
			steps[1] = append(steps[1], "--offline")
		}
	} else {
		if b.cfg.Offline {
			return b.offlineFailure(requirements, nil, "")
		}
		steps = [][]string{
			{py.Path, "-m", "venv", dir},
			{filepath.Join(dir, "bin", "python"), "-m", "pip", "install", "--no-input", "--progress-bar", "off", "--only-binary", ":all:", "-r", list},
		}
	}
	for i, step := range steps {
		out, err := runTool(ctx, env, step)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return ctx.Err()
		case i == 0:
			return &runner.Failure{Kind: runner.BuildFailed, Cause: err, Log: lastLines(out, 30),
				Message: fmt.Sprintf("a virtual environment of %s cannot be made: %s", py, lastLines(out, 3))}
		case b.cfg.Offline:
			return b.offlineFailure(requirements, err, out)
		default:
			return installFailure(py, requirements, err, out)
		}
	}
	return nil
}

// runTool runs a command to its end; its output is returned for messages.
func runTool(ctx context.Context, env, argv []string) (string, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = env
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	return out.String(), err
}

// uv finds uv on PATH or in the cache, where it is put once with pip. With
// ours comes what pip's own configuration files say about indexes, which uv
// does not read.
func (b *Backend) uv(ctx context.Context, py python) (path string, pipConfig map[string]string, err error) {
	if path, err := exec.LookPath("uv"); err == nil {
		return path, nil, nil
	}
	dir := filepath.Join(b.cfg.CacheDir, "uv-"+uvVersion)
	path = filepath.Join(dir, "bin", "uv")
	marker := filepath.Join(dir, ".complete")
	if !exists(marker) {
		unlock, err := lockFile(ctx, dir+".lock")
		if err != nil {
			return "", nil, err
		}
		defer unlock()
	}
	if !exists(marker) {
		if b.cfg.Offline {
			return "", nil, errors.New("it is not in the cache, and --offline is set")
		}
		if err := os.RemoveAll(dir); err != nil {
			return "", nil, err
		}
		env := b.installerEnv(nil)
		if out, err := runTool(ctx, env, []string{py.Path, "-m", "venv", dir}); err != nil {
			return "", nil, fmt.Errorf("%w: %s", err, lastLines(out, 3))
		}
		argv := []string{filepath.Join(dir, "bin", "python"), "-m", "pip", "install", "--quiet", "--no-input", "--only-binary", ":all:", "uv==" + uvVersion}
		if out, err := runTool(ctx, env, argv); err != nil {
			_ = os.RemoveAll(dir)
			return "", nil, fmt.Errorf("%w: %s", err, lastLines(out, 3))
		}
		if err := os.WriteFile(marker, nil, 0o644); err != nil {
			return "", nil, err
		}
	}
	if out, err := runTool(ctx, b.installerEnv(nil), []string{filepath.Join(dir, "bin", "python"), "-m", "pip", "config", "list"}); err == nil {
		pipConfig = parsePipConfig(out)
	}
	return path, pipConfig, nil
}

var pipSetting = regexp.MustCompile(`(?m)^(?:global|install|:env:)\.([a-z-]+)=['"](.*)['"]$`)

func parsePipConfig(out string) map[string]string {
	settings := map[string]string{}
	for _, m := range pipSetting.FindAllStringSubmatch(out, -1) {
		settings[m[1]] = strings.Join(strings.Fields(strings.ReplaceAll(m[2], `\n`, " ")), " ")
	}
	return settings
}

// uvTwins are uv's variables for pip's settings; list says that uv separates
// by commas where pip has blanks.
var uvTwins = []struct {
	pip, uv string
	list    bool
}{
	{"index-url", "UV_DEFAULT_INDEX", false},
	{"extra-index-url", "UV_INDEX", false},
	{"find-links", "UV_FIND_LINKS", true},
	{"no-index", "UV_NO_INDEX", false},
	{"trusted-host", "UV_INSECURE_HOST", false},
	{"default-timeout", "UV_HTTP_TIMEOUT", false},
	{"cert", "SSL_CERT_FILE", false},
	{"constraint", "UV_CONSTRAINT", false},
}

// installerEnv is the emulator's own environment, for it says how to reach a
// package index, less what would lead the installer astray: another Python's
// settings, and our own proxy where the emulator was started in a shell that
// `env` had prepared.
func (b *Backend) installerEnv(pipConfig map[string]string) []string {
	ownProxy := ""
	if b.cfg.ProxyURL != nil {
		if u, err := url.Parse(b.cfg.ProxyURL("installer", "none")); err == nil {
			ownProxy = u.Host
		}
	}
	var env []string
	have := map[string]string{}
	for _, kv := range os.Environ() {
		name, value, _ := strings.Cut(kv, "=")
		upper := strings.ToUpper(name)
		switch {
		case strings.HasPrefix(upper, "PYTHON"), strings.HasPrefix(upper, "AZURE_"), strings.HasPrefix(upper, "CONDA"):
			continue
		case upper == "VIRTUAL_ENV", upper == "PIP_TARGET", upper == "PIP_PREFIX", upper == "PIP_USER", upper == "PIP_REQUIRE_VIRTUALENV",
			upper == "PIP_NO_BINARY", upper == "UV_PYTHON", upper == "UV_PROJECT", upper == "UV_PROJECT_ENVIRONMENT":
			continue
		case strings.HasSuffix(upper, "_PROXY") && upper != "NO_PROXY":
			if u, err := url.Parse(value); err == nil && ownProxy != "" && u.Host == ownProxy {
				continue
			}
		}
		have[name] = value
		env = append(env, kv)
	}
	add := func(name, value string) {
		if _, ok := have[name]; !ok && value != "" {
			have[name] = value
			env = append(env, name+"="+value)
		}
	}
	for _, twin := range uvTwins {
		value, ok := have["PIP_"+strings.ToUpper(strings.ReplaceAll(twin.pip, "-", "_"))]
		if !ok {
			value = pipConfig[twin.pip]
		}
		if twin.list {
			value = strings.Join(strings.Fields(value), ",")
		}
		add(twin.uv, value)
	}
	add("UV_SYSTEM_CERTS", "true")
	add("UV_NATIVE_TLS", "true") // its name before
	add("UV_CACHE_DIR", filepath.Join(b.cfg.CacheDir, "uv-cache"))
	add("PIP_DISABLE_PIP_VERSION_CHECK", "1")
	env = append(env, "NO_COLOR=1")
	return env
}

// offlineFailure names what is missing without a network.
func (b *Backend) offlineFailure(requirements []string, cause error, out string) error {
	named := blamed(requirements, out)
	return &runner.Failure{Kind: runner.BuildFailed, Cause: cause, Log: lastLines(out, 40),
		Message: fmt.Sprintf("%s cannot be installed: it is not in the cache and --offline is set", strings.Join(named, ", "))}
}

// installFailure names package, pin and Python.
func installFailure(py python, requirements []string, cause error, out string) error {
	return &runner.Failure{Kind: runner.BuildFailed, Cause: cause, Log: lastLines(out, 40),
		Message: fmt.Sprintf("%s cannot be installed for Python %s from wheels: %s",
			strings.Join(blamed(requirements, out), ", "), py.minor(), reason(out))}
}

// blamed are the requirements whose package the installer's message names, all
// if it names none.
func blamed(requirements []string, out string) []string {
	words := map[string]bool{}
	for _, word := range strings.FieldsFunc(normal(out), func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-')
	}) {
		words[strings.Trim(word, "-")] = true
	}
	var named, all []string
	for _, r := range requirements {
		name := normal(nameOf.FindString(r))
		if name == "" {
			continue
		}
		all = append(all, r)
		if words[name] {
			named = append(named, r)
		}
	}
	if len(named) == 0 {
		return all
	}
	return named
}

// reason is the sentence of the installer that says why.
func reason(out string) string {
	var kept []string
	for _, line := range strings.Split(out, "\n") {
		line = strings.Trim(line, " ×╰─▶│├\t")
		switch {
		case line == "", strings.HasPrefix(line, "Using Python"), strings.HasPrefix(line, "Downloading"), strings.HasPrefix(line, "Collecting"),
			strings.HasPrefix(line, "Looking in"), strings.HasPrefix(line, "Resolved"), strings.HasPrefix(line, "Requirement already"):
		default:
			kept = append(kept, line)
		}
	}
	text := strings.Join(kept, " ")
	if len(text) > 600 {
		text = text[:600] + "..."
	}
	return strings.ToValidUTF8(text, "")
}

func lastLines(out string, n int) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
