package process

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestInstallerEnvironment(t *testing.T) {
	for name, value := range map[string]string{
		"HTTPS_PROXY": "http://user:pass@127.0.0.1:4390", "http_proxy": "http://corporate:3128", "NO_PROXY": "internal",
		"PIP_INDEX_URL": "https://index.example/simple", "PIP_FIND_LINKS": "/a /b", "PIP_TARGET": "/elsewhere",
		"PYTHONPATH": "/mine", "VIRTUAL_ENV": "/venv", "AZURE_CLIENT_SECRET": "s", "UV_HTTP_TIMEOUT": "7", "PIP_DEFAULT_TIMEOUT": "180",
	} {
		t.Setenv(name, value)
	}
	b := &Backend{cfg: Config{CacheDir: "/cache", ProxyURL: func(id, s string) string { return "http://" + id + ":" + s + "@127.0.0.1:4390" }}}
	env := b.installerEnv(map[string]string{"extra-index-url": "https://more.example/simple", "index-url": "https://from-file.example"})
	for _, want := range []string{"http_proxy=http://corporate:3128", "NO_PROXY=internal", "UV_DEFAULT_INDEX=https://index.example/simple",
		"UV_FIND_LINKS=/a,/b", "UV_INDEX=https://more.example/simple", "UV_HTTP_TIMEOUT=7"} {
		if !slices.Contains(env, want) {
			t.Errorf("lacks %s", want)
		}
	}
	for _, kv := range env {
		for _, bad := range []string{"HTTPS_PROXY=", "PIP_TARGET=", "PYTHONPATH=", "VIRTUAL_ENV=", "AZURE_", "UV_HTTP_TIMEOUT=180"} {
			if strings.HasPrefix(kv, bad) {
				t.Errorf("has %s", kv)
			}
		}
	}
}

func TestParsePipConfig(t *testing.T) {
	got := parsePipConfig(":env:.cert='/ca.pem'\nglobal.index-url='https://a.example/simple'\ninstall.find-links='\\n/a\\n/b'\nlist.format='columns'\nnoise\n")
	want := map[string]string{"cert": "/ca.pem", "index-url": "https://a.example/simple", "find-links": "/a /b"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestBlameNamesTheRequirement(t *testing.T) {
	requirements := []string{"numpy==1.0", "scikit_learn==9.9", "azure-identity==1.1", "--pre"}
	for out, want := range map[string][]string{
		"Because there is no version of scikit-learn==9.9 and you require it": {"scikit_learn==9.9"},
		"Could not find a version that satisfies the requirement numpy.":      {"numpy==1.0"},
		"numpyro is not it": {"numpy==1.0", "scikit_learn==9.9", "azure-identity==1.1"},
	} {
		if diff := cmp.Diff(want, blamed(requirements, out)); diff != "" {
			t.Errorf("%q: %s", out, diff)
		}
	}
}

// Both installers' own words, as they came.
func TestReason(t *testing.T) {
	uv := "Using Python 3.12.1 environment at: x\n  × No solution found when resolving dependencies:\n  ╰─▶ Because there is no version of requests==99.1\n      and you require requests==99.1, we can conclude that\n      your requirements are unsatisfiable.\n"
	if got := reason(uv); !strings.HasPrefix(got, "No solution found when resolving dependencies: Because there is no version of requests==99.1 and") {
		t.Error(got)
	}
	pip := "Looking in links: x\nERROR: Could not find a version that satisfies the requirement requests==99.1 (from versions: 1.0)\nERROR: No matching distribution found for requests==99.1\n"
	if got := reason(pip); !strings.HasPrefix(got, "ERROR: Could not find a version") {
		t.Error(got)
	}
	if got := reason(strings.Repeat("é", 2000)); len(got) > 610 {
		t.Errorf("%d bytes", len(got))
	}
}
