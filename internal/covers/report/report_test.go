package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/amlocal/amlocal/internal/covers"
)

func TestReport(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	in := t.TempDir()
	// Two files in which the same facts stand in different orders.
	lines := []string{
		`{"requirement":"R-1","package":"` + root + `/rbac","test":"TestB","result":"pass"}`,
		`{"requirement":"R-1","package":"` + root + `/rbac","test":"TestA|x","client":"azure-sdk-for-go","result":"pass"}`,
		`{"requirement":"R-2","package":"` + root + `/msi","test":"TestC","result":"skip"}`,
		`{"requirement":"R-3","package":"` + root + `/msi","test":"TestD","result":"pass"}`,
		`{"requirement":"R-3","package":"` + root + `/msi","test":"TestD","result":"fail"}`,
		`{"requirement":"R-10","package":"` + root + `","test":"TestE","result":"pass"}`,
	}
	list := []requirement{{"R-1", "one"}, {"R-2", "two"}, {"R-3", "three"}, {"R-4", "four"}}
	renderOf := func(order []string) (string, string) {
		for i, line := range order {
			if err := os.WriteFile(filepath.Join(in, string(rune('a'+i))+".jsonl"), []byte(line+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		records, err := readRecords(in, root)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		return render(&out, list, records), out.String()
	}

	summary, doc := renderOf(lines)
	if want := "4 requirements: 1 proven, 1 failing, 1 not run, 1 without a test"; summary != want {
		t.Errorf("summary = %q, want %q", summary, want)
	}
	for _, want := range []string{
		"| R-1 | one | proven | `rbac` TestA\\|x (azure-sdk-for-go)<br>`rbac` TestB |",
		"| R-2 | two | not run | `msi` TestC: skip |",
		"| R-3 | three | FAILING | `msi` TestD: fail |",
		"| R-4 | four | no test |  |",
		"## Without a test\n\n- R-4 four\n",
		"| R-10 | proven | `.` TestE |",
	} {
		if !strings.Contains(doc, want) {
			t.Errorf("document lacks %q:\n%s", want, doc)
		}
	}
	if strings.Contains(doc, root) {
		t.Error("the document names this machine's folder")
	}

	backwards := make([]string, 0, len(lines))
	for i := len(lines) - 1; i >= 0; i-- {
		backwards = append(backwards, lines[i])
	}
	if _, again := renderOf(backwards); again != doc {
		t.Error("the document depends on the order of the records")
	}
}

func TestRequirementsListIsWellFormed(t *testing.T) {
	list, err := readRequirements("../../../docs/requirements.tsv")
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i < len(list); i++ {
		if compareIDs(list[i-1].id, list[i].id) >= 0 {
			t.Errorf("%s stands before %s", list[i-1].id, list[i].id)
		}
	}
}

func TestBrokenListsAreRefused(t *testing.T) {
	for _, text := range []string{"R-1 no tab\n", "R-1\tx\nR-1\ty\n", "R-1\t\n"} {
		path := filepath.Join(t.TempDir(), "list.tsv")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readRequirements(path); err == nil {
			t.Errorf("%q accepted", text)
		}
	}
}

func TestRecordsOfTheRealRecorder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "records")
	t.Setenv(covers.OutputEnv, dir)
	t.Run("inner", func(t *testing.T) { covers.C(t, "some-client", "R-1", "R-2") })
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	records, err := readRecords(dir, root)
	if err != nil {
		t.Fatal(err)
	}
	if len(records) != 2 || records[0].Package != "internal/covers/report" || records[0].Client != "some-client" || records[0].Result != "pass" {
		t.Errorf("records = %+v", records)
	}
}
