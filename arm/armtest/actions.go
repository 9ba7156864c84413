package armtest

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/amlocal/amlocal/arm"
)

// operationsFile is Azure's list of operations, as seen from a package below
// arm.
const operationsFile = "../../rbac/testdata/operations.json"

// CheckActions fails for every row whose action Azure does not list, and for
// names that two rows share.
func CheckActions(t *testing.T, types []arm.Type) {
	t.Helper()
	raw, err := os.ReadFile(operationsFile)
	if err != nil {
		t.Fatal(err)
	}
	var providers map[string]struct {
		Actions     []string `json:"actions"`
		DataActions []string `json:"dataActions"`
	}
	if err := json.Unmarshal(raw, &providers); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, p := range providers {
		for _, a := range p.Actions {
			known[strings.ToLower(a)] = true
		}
	}
	names := map[string]bool{}
	for _, typ := range types {
		for _, row := range typ.Rows {
			for _, action := range append([]string{row.Action}, row.Or...) {
				if action != "" && !known[strings.ToLower(action)] {
					t.Errorf("%s asks for %q, which Azure does not know", row.Name, action)
				}
			}
			if names[row.Name] {
				t.Errorf("two rows are named %s", row.Name)
			}
			names[row.Name] = true
		}
	}
}
