package images

import (
	"slices"
	"strings"
	"testing"
)

func TestDockerfile(t *testing.T) {
	base := &found{name: "some/base:1", id: "sha256:1", env: []string{"X=1", "PATH=/opt/bin:/bin"}}
	for _, tt := range []struct {
		name   string
		recipe recipe
		has    []string
		hasNot []string
	}{
		{"script", recipe{Base: base, Requirements: []string{"numpy==1.*"}, Script: true}, []string{
			"FROM some/base:1 AS build\nLABEL amlocal.stage=\"S\"\nUSER root\nCOPY build /build\n",
			`RUN ["/opt/py/python3","-m","venv","/azureml-envs/amlocal"]`,
			`"pip","install","--no-cache-dir","--only-binary",":all:","-r","/build/requirements.txt"]`,
			"\nFROM some/base:1\n", "COPY --from=build /azureml-envs/amlocal /azureml-envs/amlocal\n",
			`PATH="/azureml-envs/amlocal/bin:/opt/bin:/bin"`, `WORKER_TIMEOUT="300"`, `AML_APP_ROOT="/var/azureml-app"`,
			"dockeruser:x:1001:1001", "\nUSER dockeruser\n", "EXPOSE 5001", `CMD ["/azureml-envs/amlocal/bin/python","/azureml-envs/amlocal/serve.py"]`,
			`LABEL amlocal.python="3.12"`,
		}, nil},
		{"its own command", recipe{Base: base, Requirements: []string{"numpy==1.*"}}, []string{"USER dockeruser", "VIRTUAL_ENV="},
			[]string{"CMD", "ENTRYPOINT", "EXPOSE", "serve.py", "WORKER_TIMEOUT"}},
		{"nothing to install", recipe{Base: base}, []string{`"-m","venv"`}, []string{`"pip"`}},
		{"no PATH in the base", recipe{Base: &found{name: "b:1"}}, []string{`PATH="/azureml-envs/amlocal/bin:` + usualPath + `"`}, nil},
		{"variables", recipe{Base: base, Script: true, Variables: map[string]string{"MODE": `a "b" $HOME \n c`, "WORKER_TIMEOUT": "5"}},
			[]string{`MODE="a \"b\" \$HOME \\n c"`, `WORKER_TIMEOUT="5"`}, []string{`WORKER_TIMEOUT="300"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.recipe.check(); err != nil {
				t.Fatal(err)
			}
			text := tt.recipe.dockerfile("S", interpreter{"/opt/py/python3", "3.12"})
			for _, want := range tt.has {
				if !strings.Contains(text, want) {
					t.Errorf("no %q in\n%s", want, text)
				}
			}
			_, result, _ := strings.Cut(text, "\nFROM ")
			for _, not := range tt.hasNot {
				if strings.Contains(text, not) {
					t.Errorf("%q in\n%s", not, text)
				}
			}
			// How the index is reached belongs to the first stage only.
			if strings.Contains(result, "/build") || strings.Contains(result, "PIP_") {
				t.Errorf("the result knows about the build:\n%s", result)
			}
		})
	}
}

func TestRefusedVariables(t *testing.T) {
	for name, value := range map[string]string{"A B": "x", "": "x", "1A": "x", "A=B": "x", "OK": "two\nUSER root"} {
		r := recipe{Base: &found{name: "b:1"}, Variables: map[string]string{name: value}}
		if r.check() == nil {
			t.Errorf("%q=%q is accepted", name, value)
		}
	}
}

// TestKey: the same content has the same name in every process, and what
// changes the image changes the name.
func TestKey(t *testing.T) {
	make := func(change func(*recipe)) string {
		r := recipe{Base: &found{name: "b:1", id: "sha256:1"}, Requirements: []string{"a==1", "b"}, Variables: map[string]string{"X": "1", "Y": "2"}, Script: true}
		if change != nil {
			change(&r)
		}
		return r.key()
	}
	same := make(nil)
	if len(same) != 16 {
		t.Errorf("key %q", same)
	}
	for range 20 { // maps are walked in another order each time
		if make(nil) != same {
			t.Fatal("the key changes by itself")
		}
	}
	keys := []string{same}
	for name, change := range map[string]func(*recipe){
		"base content": func(r *recipe) { r.Base.id = "sha256:2" },
		"base name":    func(r *recipe) { r.Base.name = "b:2" },
		"pin":          func(r *recipe) { r.Requirements = []string{"a==2", "b"} },
		"order":        func(r *recipe) { r.Requirements = []string{"b", "a==1"} },
		"variable":     func(r *recipe) { r.Variables = map[string]string{"X": "1", "Y": "3"} },
		"no script":    func(r *recipe) { r.Script = false },
	} {
		key := make(change)
		if slices.Contains(keys, key) {
			t.Errorf("%s does not change the key", name)
		}
		keys = append(keys, key)
	}
}
