package machinelearning

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/internal/httpx"
)

func TestTraffic(t *testing.T) {
	covers.R(t, "R-608", "R-1056")
	names := map[string]string{"blue": "Blue", "green": "green"}
	for _, c := range []struct {
		name, body string
		live       map[string]int
		refused    string // part of the reason
	}{
		{"numbers", `{"properties":{"traffic":{"blue":90,"green":10}}}`, map[string]int{"Blue": 90, "green": 10}, ""},
		{"strings, as az sends them", `{"properties":{"traffic":{"blue":"100"}}}`, map[string]int{"Blue": 100}, ""},
		{"any case", `{"properties":{"traffic":{"BLUE":100}}}`, map[string]int{"Blue": 100}, ""},
		{"none", `{"properties":{}}`, map[string]int{}, ""},
		{"zero for a stranger", `{"properties":{"traffic":{"gone":0}}}`, map[string]int{}, ""},
		{"wrong sum", `{"properties":{"traffic":{"blue":60}}}`, nil, "sum to 60"},
		{"stranger", `{"properties":{"traffic":{"gone":100}}}`, nil, "does not exist"},
		{"fraction", `{"properties":{"traffic":{"blue":99.5}}}`, nil, "whole percentage"},
		{"negative", `{"properties":{"traffic":{"blue":-1}}}`, nil, "whole percentage"},
		{"mirror too much", `{"properties":{"traffic":{"blue":100},"mirrorTraffic":{"green":51}}}`, nil, "At most 50"},
		{"mirror of a live one", `{"properties":{"traffic":{"blue":100},"mirrorTraffic":{"blue":10}}}`, nil, "live and mirrored"},
		{"two mirrors", `{"properties":{"mirrorTraffic":{"blue":10,"green":10}}}`, nil, "one deployment only"},
	} {
		t.Run(c.name, func(t *testing.T) {
			doc, err := arm.Decode([]byte(c.body))
			if err != nil {
				t.Fatal(err)
			}
			live, err := readTraffic(doc, "traffic", names)
			var mirror map[string]int
			if err == nil {
				mirror, err = readTraffic(doc, "mirrorTraffic", names)
			}
			if err == nil {
				err = checkTraffic(live, mirror)
			}
			if c.refused != "" {
				if err == nil || !strings.Contains(reasonOf(t, err), c.refused) {
					t.Fatalf("got %v, want a refusal about %q", err, c.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.live, live); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// reasonOf unpacks the recorded envelope: a detail whose message is JSON.
func reasonOf(t *testing.T, err error) string {
	t.Helper()
	e := httpx.AsError(err)
	if e.Status != 400 || e.Code != "BadRequest" || len(e.Details) != 1 || e.Details[0].Code != "InferencingClientCallFailed" {
		t.Fatalf("envelope %+v", e)
	}
	var inner struct {
		Errors map[string][]string
		Title  string
	}
	if err := json.Unmarshal([]byte(e.Details[0].Message), &inner); err != nil {
		t.Fatal(err)
	}
	return strings.Join(inner.Errors[""], "\n")
}

func TestNames(t *testing.T) {
	covers.R(t, "R-614")
	for _, good := range []string{"blue", "my-endpoint", "abc", "A1-b2", strings.Repeat("a", 32)} {
		if err := checkName("endpoint", good); err != nil {
			t.Errorf("%q is refused: %v", good, err)
		}
	}
	for _, bad := range []string{"", "ab", "1abc", "-abc", "abc-", "a--b", "a_b", "a.b", "a b", "äbc", strings.Repeat("a", 33)} {
		if checkName("endpoint", bad) == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}
