package images

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHost(t *testing.T) {
	const pem = "-----BEGIN CERTIFICATE-----\n"
	read := func(files map[string]string) func(string) ([]byte, error) {
		return func(path string) ([]byte, error) {
			if text, ok := files[path]; ok {
				return []byte(text), nil
			}
			return nil, fs.ErrNotExist
		}
	}
	for _, tt := range []struct {
		name     string
		env      []string
		files    map[string]string
		settings map[string]string
		roots    string
		proxies  []string
	}{
		{name: "nothing", settings: map[string]string{}},
		{name: "files, the user's over the system's", env: []string{"HOME=/h"},
			files: map[string]string{
				"/etc/pip.conf":            "[global]\nindex-url = https://one.example/simple\ntimeout: 60\n[list]\nretries = 9\n",
				"/h/.config/pip/pip.conf":  "[install]\n# comment\nindex_url=https://two.example/simple\nextra-index-url =\n    https://a.example\n    https://b.example\n",
				"/usr/nowhere/ca-bndl.crt": pem,
			},
			settings: map[string]string{"index-url": "https://two.example/simple", "timeout": "60", "extra-index-url": "https://a.example https://b.example"}},
		{name: "variables over files", env: []string{"HOME=/h", "PIP_INDEX_URL=https://env.example", "PIP_FIND_LINKS=/opt/wheels https://links.example/"},
			files:    map[string]string{"/etc/pip.conf": "[global]\nindex-url = https://one.example/simple\n"},
			settings: map[string]string{"index-url": "https://env.example", "find-links": "https://links.example/"}},
		{name: "files turned off", env: []string{"PIP_CONFIG_FILE=/dev/null"}, files: map[string]string{"/etc/pip.conf": "[global]\nindex-url = https://x\n"},
			settings: map[string]string{}},
		{name: "pip's roots first", env: []string{"PIP_CERT=/a.pem", "SSL_CERT_FILE=/b.pem"}, settings: map[string]string{},
			files: map[string]string{"/a.pem": pem + "a", "/b.pem": pem + "b"}, roots: pem + "a"},
		{name: "roots that are none", env: []string{"PIP_CERT=/a.pem", "SSL_CERT_FILE=/absent"}, settings: map[string]string{},
			files: map[string]string{"/a.pem": "not PEM", "/etc/ssl/certs/ca-certificates.crt": pem + "system"}, roots: pem + "system"},
		{name: "proxies but our own", env: []string{"HTTPS_PROXY=http://127.0.0.1:4390", "https_proxy=http://u:p@127.0.0.1:4390", "HTTP_PROXY=http://corp.example:3128",
			"no_proxy=localhost"}, settings: map[string]string{}, proxies: []string{"HTTP_PROXY=http://corp.example:3128", "no_proxy=localhost"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := readHost(tt.env, "127.0.0.1:4390", read(tt.files))
			if diff := cmp.Diff(tt.settings, h.settings); diff != "" {
				t.Errorf("settings (-want +got):\n%s", diff)
			}
			if string(h.roots) != tt.roots {
				t.Errorf("roots %q", h.roots)
			}
			want := map[string]string{}
			for _, kv := range tt.proxies {
				k, v, _ := strings.Cut(kv, "=")
				want[k] = v
			}
			got := map[string]string{}
			for k, v := range h.proxies {
				got[k] = *v
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("proxies (-want +got):\n%s", diff)
			}
			// What is written is what pip would read.
			back := map[string]string{}
			parsePip(h.pipConf(), back)
			for name, value := range tt.settings {
				if back[name] != value {
					t.Errorf("%s is written as %q", name, back[name])
				}
			}
			if (back["cert"] == "/build/roots.pem") != (tt.roots != "") {
				t.Errorf("cert = %q", back["cert"])
			}
		})
	}
}

func FuzzParsePip(f *testing.F) {
	f.Add("[global]\nindex-url = https://a\n b\n")
	f.Add("[install]\n=x\n[")
	f.Fuzz(func(t *testing.T, text string) {
		settings := map[string]string{}
		parsePip(text, settings)
		// A value must not become lines of its own in what we write.
		conf := host{settings: settings}.pipConf()
		for line := range strings.Lines(conf) {
			if strings.HasPrefix(line, "[") && line != "[global]\n" {
				t.Errorf("a section of its own from %q:\n%s", text, conf)
			}
		}
	})
}
