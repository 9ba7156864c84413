package images

import (
	"bufio"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// host is how this machine reaches package indexes, as far as a build can use
// it.
type host struct {
	// settings are pip's, by their names in its configuration file.
	settings map[string]string
	// roots are the trusted certificates, PEM; nil leaves pip its own.
	roots []byte
	// chosen says that roots were named, and not found where systems keep them.
	chosen bool
	// proxies are build arguments; the builder keeps these out of an image's
	// history.
	proxies map[string]*string
}

// taken are the settings of pip that concern the way to an index and mean the
// same inside. Paths do not.
var taken = []string{"index-url", "extra-index-url", "trusted-host", "no-index", "find-links", "default-timeout", "timeout", "retries", "pre"}

// usualRoots are where systems keep their trusted certificates in one file.
var usualRoots = []string{
	"/etc/ssl/certs/ca-certificates.crt",
	"/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/ca-bundle.pem",
	"/etc/ssl/cert.pem",
}

// readHost looks at the environment, pip's configuration files and the system's
// certificates, through read, which is os.ReadFile but in tests.
func readHost(environ []string, ownProxy string, read func(string) ([]byte, error)) host {
	env := map[string]string{}
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		env[name] = value
	}
	h := host{settings: map[string]string{}, proxies: map[string]*string{}}

	all := map[string]string{}
	for _, path := range pipFiles(env) {
		if raw, err := read(path); err == nil {
			parsePip(string(raw), all)
		}
	}
	for _, name := range append(slices.Clone(taken), "cert") {
		if v := env["PIP_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))]; v != "" {
			all[name] = v
		}
	}
	for _, name := range taken {
		value := all[name]
		if name == "find-links" {
			value = onlyURLs(value)
		}
		if value != "" {
			h.settings[name] = value
		}
	}

	named := []string{all["cert"], env["SSL_CERT_FILE"], env["REQUESTS_CA_BUNDLE"], env["CURL_CA_BUNDLE"]}
	for i, path := range append(named, usualRoots...) {
		if path == "" {
			continue
		}
		if raw, err := read(path); err == nil && strings.Contains(string(raw), "-----BEGIN") {
			h.roots, h.chosen = raw, i < len(named)
			break
		}
	}

	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"} {
		for _, name := range []string{name, strings.ToLower(name)} {
			value := env[name]
			if value == "" {
				continue
			}
			if u, err := url.Parse(value); err == nil && ownProxy != "" && u.Host == ownProxy {
				continue // the emulator's own: indexes are not its business
			}
			h.proxies[name] = &value
		}
	}
	return h
}

// special says that an index cannot be reached without knowing what the host
// knows.
func (h host) special() bool { return h.chosen || len(h.settings) > 0 }

// pipFiles are where pip reads its configuration, later ones winning.
func pipFiles(env map[string]string) []string {
	if env["PIP_CONFIG_FILE"] == os.DevNull {
		return nil
	}
	files := []string{"/etc/pip.conf", "/etc/xdg/pip/pip.conf", "/Library/Application Support/pip/pip.conf"}
	if home := env["HOME"]; home != "" {
		config := env["XDG_CONFIG_HOME"]
		if config == "" {
			config = filepath.Join(home, ".config")
		}
		files = append(files, filepath.Join(home, ".pip", "pip.conf"), filepath.Join(config, "pip", "pip.conf"),
			filepath.Join(home, "Library", "Application Support", "pip", "pip.conf"))
	}
	if venv := env["VIRTUAL_ENV"]; venv != "" {
		files = append(files, filepath.Join(venv, "pip.conf"))
	}
	if own := env["PIP_CONFIG_FILE"]; own != "" {
		files = append(files, own)
	}
	return files
}

// parsePip adds the settings of [global] and [install] to into. Lists may go on
// in indented lines.
func parsePip(text string, into map[string]string) {
	section, last := "", ""
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		line := lines.Text()
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "" || trimmed[0] == '#' || trimmed[0] == ';':
			continue
		case trimmed[0] == '[':
			section, last = strings.Trim(trimmed, "[] "), ""
			continue
		case section != "global" && section != "install":
			continue
		case line[0] == ' ' || line[0] == '\t':
			if last != "" {
				into[last] = strings.TrimSpace(into[last] + " " + trimmed)
			}
			continue
		}
		i := strings.IndexAny(trimmed, "=:")
		if i < 0 {
			continue
		}
		last = strings.ReplaceAll(strings.ToLower(strings.TrimSpace(trimmed[:i])), "_", "-")
		into[last] = strings.TrimSpace(trimmed[i+1:])
	}
}

// onlyURLs leaves out folders of this machine.
func onlyURLs(value string) string {
	var kept []string
	for _, word := range strings.Fields(value) {
		if strings.HasPrefix(word, "https://") || strings.HasPrefix(word, "http://") {
			kept = append(kept, word)
		}
	}
	return strings.Join(kept, " ")
}

// pipConf is the configuration file of the build.
func (h host) pipConf() string { return h.pipConfIn("/build") }

// pipConfIn is the same with the roots in another folder.
func (h host) pipConfIn(dir string) string {
	var out strings.Builder
	out.WriteString("[global]\nno-input = true\nprogress-bar = off\nno-color = true\ndisable-pip-version-check = true\nroot-user-action = ignore\n")
	if h.roots != nil {
		out.WriteString("cert = " + dir + "/roots.pem\n")
	}
	for _, name := range taken {
		if value := h.settings[name]; value != "" {
			out.WriteString(name + " = " + strings.Join(strings.Fields(value), "\n    ") + "\n")
		}
	}
	return out.String()
}
