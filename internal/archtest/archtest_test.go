package archtest

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

// root is the module's folder as seen from this one.
const root = "../.."

var rules = []struct {
	name  string
	check func([]file) []string
}{
	{"levels", checkLevels},
	{"clock", checkClock},
	{"init", checkInit},
	{"length", checkLength},
	{"comments", checkComments},
}

func TestRepository(t *testing.T) {
	files, err := load(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 10 {
		t.Fatalf("only %d Go files found: the rules would hold for anything", len(files))
	}
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			for _, wrong := range rule.check(files) {
				t.Error(wrong)
			}
		})
	}
}

// TestRulesSeeViolations plants one of each and expects each to be found.
func TestRulesSeeViolations(t *testing.T) {
	src := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	imports := func(pkg string, list ...string) *fstest.MapFile {
		text := "// Package " + pkg + " is documented.\npackage " + pkg + "\n"
		for _, p := range list {
			text += "import _ \"" + Module + "/" + p + "\"\n"
		}
		return src(text)
	}
	tests := []struct {
		name string
		tree fstest.MapFS
		want map[string]string // rule, part of its one message
	}{
		{"a clean tree", fstest.MapFS{
			"azure/a.go":             imports("azure"),
			"store/s.go":             imports("store", "azure"),
			"entra/e.go":             imports("entra", "store", "entra/graph"),
			"entra/graph/g.go":       imports("graph", "azure"),
			"runner/runnertest/r.go": imports("runnertest", "runner"),
			"azure/a_test.go":        imports("azure", "internal/covers", "store"),
			"testdata/x/broken.go":   src("not Go"),
			".cache/y.go":            src("not Go"),
		}, nil},
		{"upwards", fstest.MapFS{"store/s.go": imports("store", "arm")}, map[string]string{"levels": "higher level"}},
		{"sideways", fstest.MapFS{"msi/m.go": imports("msi", "entra")}, map[string]string{"levels": "one level"}},
		{"child to parent on one level", fstest.MapFS{"entra/graph/g.go": imports("graph", "entra")}, map[string]string{"levels": "one level"}},
		{"parent to a higher child", fstest.MapFS{"runner/r.go": imports("runner", "runner/process")}, map[string]string{"levels": "higher level"}},
		{"the root from below", fstest.MapFS{"gateway/g.go": src("// Package gateway.\npackage gateway\nimport _ \"" + Module + "\"\n")}, map[string]string{"levels": "higher level"}},
		{"test help in what ships", fstest.MapFS{"store/s.go": imports("store", "internal/covers")}, map[string]string{"levels": "only tests"}},
		{"a stranger", fstest.MapFS{"util/u.go": imports("util")}, map[string]string{"levels": "has no level"}},
		{"time", fstest.MapFS{"store/s.go": src("// Package store.\npackage store\nimport clk \"time\"\nvar now = clk.Now\n")}, map[string]string{"clock": "store/s.go:4"}},
		{"init", fstest.MapFS{"store/s.go": src("// Package store.\npackage store\nfunc init() {}\n")}, map[string]string{"init": "store/s.go:3"}},
		{"length", fstest.MapFS{"store/s.go": src("// Package store.\npackage store\n" + strings.Repeat("\n", 500))}, map[string]string{"length": "502 lines"}},
		{"no comment", fstest.MapFS{"store/s.go": src("package store\n")}, map[string]string{"comments": "store has no package comment"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files, err := load(tt.tree)
			if err != nil {
				t.Fatal(err)
			}
			for _, rule := range rules {
				got, want := rule.check(files), tt.want[rule.name]
				switch {
				case want == "" && len(got) > 0:
					t.Errorf("%s: unexpected %q", rule.name, got)
				case want != "" && (len(got) != 1 || !strings.Contains(got[0], want)):
					t.Errorf("%s: got %q, want one with %q", rule.name, got, want)
				}
			}
		})
	}
}
