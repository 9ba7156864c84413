package conda_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/runner/conda"
)

func TestParse(t *testing.T) {
	covers.R(t, "R-522")
	env, err := conda.Parse(`
name: model-env
channels:
  - conda-forge
dependencies:
  - python=3.12
  - numpy=1.26
  - pip=24.0
  - setuptools
  - conda-forge::scikit-learn==1.5.2
  - pandas>=2.1,<3
  - pytorch
  - scipy=1.14.1=py312h62794b6_0
  - joblib 1.4.*
  - requests[version='>=2.31']
  - PyYAML
  - gcc_linux-64
  - pip:
      - --extra-index-url https://example.com/simple
      - azure-identity==1.17.1
      - uvicorn[standard]; python_version >= "3.8"
variables:
  MODE: fast
`)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"numpy==1.26.*", "scikit-learn==1.5.2", "pandas>=2.1,<3", "torch", "scipy==1.14.1", "joblib==1.4.*", "requests>=2.31",
		"pyyaml", "--extra-index-url https://example.com/simple", "azure-identity==1.17.1", `uvicorn[standard]; python_version >= "3.8"`}
	if diff := cmp.Diff(want, env.Requirements); diff != "" {
		t.Errorf("requirements (-want +got):\n%s", diff)
	}
	if env.Variables["MODE"] != "fast" || env.Python.Text != "=3.12" {
		t.Errorf("variables %v, python %q", env.Variables, env.Python.Text)
	}
	notes := strings.Join(env.Notes, "\n")
	for _, word := range []string{"channel conda-forge", "pytorch is called torch", "py312h62794b6_0", "setuptools is left out", "gcc_linux-64 is left out"} {
		if !strings.Contains(notes, word) {
			t.Errorf("notes lack %q:\n%s", word, notes)
		}
	}
}

func TestVersions(t *testing.T) {
	for entry, want := range map[string]string{
		"a":              "a",
		"a=*":            "a",
		"a=1":            "a==1.*",
		"a=1.2":          "a==1.2.*",
		"a =1.2.3":       "a==1.2.3.*",
		"a==1.2.3":       "a==1.2.3",
		"a 1.2":          "a==1.2",
		"a=1.2.*":        "a==1.2.*",
		"a==1.2.*":       "a==1.2.*",
		"a=1.0rc1":       "a==1.0rc1",
		"a>=1.2":         "a>=1.2",
		"a >=1.2, !=1.4": "a>=1.2,!=1.4",
		"a~=1.2":         "a~=1.2",
		"a 1.2 py_0":     "a==1.2",
		"a=1.2=*cpu*":    "a==1.2.*",
		"A_b.c":          "a_b.c",
		"a[version=1.2]": "a==1.2",
	} {
		env, err := conda.Parse("dependencies: ['" + entry + "']")
		if err != nil || len(env.Requirements) != 1 || env.Requirements[0] != want {
			t.Errorf("%q: %v %v, want %s", entry, env, err, want)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, entry := range []string{"openjdk=11", "r-base", "cudatoolkit=11.8", "libgcc-ng", "nodejs", "a>1|<0.5", "a=x", "=1", "python=three",
		"a[version", "cuda-nvcc"} {
		_, err := conda.Parse("dependencies: [\"" + entry + "\"]")
		var u *conda.UnsupportedError
		if !errors.As(err, &u) || u.Entry != entry {
			t.Errorf("%s: %v", entry, err)
		}
	}
	for _, line := range []string{"-r other.txt", "-e .", "./local", "git+https://example.com/x.git", "x @ https://example.com/x.tar.gz",
		"--no-binary :all:", "file:///x.whl", ""} {
		_, err := conda.Parse("dependencies:\n- pip:\n  - \"" + line + "\"\n")
		var u *conda.UnsupportedError
		if !errors.As(err, &u) {
			t.Errorf("pip %s: %v", line, err)
		}
	}
	for _, text := range []string{"", "dependencies: [", "dependencies: 3", "dependencies: [3]", "unknown: 1", "dependencies: [{npm: [x]}]",
		"name: a\nname: b"} {
		if _, err := conda.Parse(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
	env, err := conda.Parse("dependencies: [openjdk=11, numpy]", conda.Relax)
	if err != nil || len(env.Requirements) != 1 || len(env.Notes) != 1 {
		t.Errorf("relaxed: %+v %v", env, err)
	}
}

func TestPythonAllows(t *testing.T) {
	for _, c := range []struct {
		spec  string
		allow []int
		deny  []int
	}{
		{"python", []int{8, 14}, nil},
		{"python=3", []int{8, 14}, nil},
		{"python=3.12", []int{12}, []int{11, 13, 1}},
		{"python=3.12.4", []int{12}, []int{11}},
		{"python 3.9.*", []int{9}, []int{10}},
		{"python>=3.10", []int{10, 13}, []int{9}},
		{"python>=3.10,<3.12", []int{10, 11}, []int{12}},
		{"python<3.12.4", []int{12}, []int{13}},
		{"python>3.10", []int{11}, []int{10}},
		{"python!=3.11", []int{10}, []int{11}},
		{"python~=3.10", []int{10, 12}, []int{9}},
		{"python==3.11", []int{11}, []int{12}},
	} {
		env, err := conda.Parse("dependencies: ['" + c.spec + "']")
		if err != nil {
			t.Errorf("%s: %v", c.spec, err)
			continue
		}
		for _, minor := range c.allow {
			if !env.Python.Allows(3, minor) {
				t.Errorf("%s does not allow 3.%d", c.spec, minor)
			}
		}
		for _, minor := range c.deny {
			if env.Python.Allows(3, minor) {
				t.Errorf("%s allows 3.%d", c.spec, minor)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("dependencies: [numpy=1.2, 'c::a[version=\">1\"]', {pip: [x]}]")
	f.Add("name: x\ndependencies:\n- python=3.12\n- a=1=b\n")
	f.Fuzz(func(t *testing.T, text string) {
		env, err := conda.Parse(text)
		if err != nil {
			return
		}
		env.Python.Allows(3, 12)
		for _, r := range env.Requirements {
			if r == "" || strings.ContainsAny(r, "\r\n") {
				t.Errorf("requirement %q from %q", r, text)
			}
		}
	})
}
