package scenarios

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/amlocal/amlocal/internal/covers"
)

func TestScriptsOwn(t *testing.T) {
	t.Parallel()
	covers.R(t, "R-1033")
	const chained = "User container has crashed\n\nTraceback (most recent call last):\n  File \"score.py\", line 2, in init\nHTTPError: 403\n\n" +
		"The above exception was the direct cause of the following exception:\n\nTraceback (most recent call last):\n  File \"server.py\"\nUserScriptException: x"
	for _, tt := range []struct{ name, message, want string }{
		{"a script's traceback without the server's", chained, "Traceback (most recent call last):\n  File \"score.py\", line 2, in init\nHTTPError: 403"},
		{"no traceback", "goscorer: init failed\n", "goscorer: init failed"},
		{"a long one", strings.Repeat("x\n", 30) + "end", strings.Repeat("x\n", 8) + "  ...\n" + strings.Repeat("x\n", 7) + "end"},
	} {
		if got := scriptsOwn(tt.message); got != tt.want {
			t.Errorf("%s: got\n%s\nwant\n%s", tt.name, got, tt.want)
		}
	}
}

func TestSteps(t *testing.T) {
	t.Parallel()
	out := new(lines)
	r := newReport(out)
	must(t, r.step("one", func() error { r.quote("a\nb\n"); return nil }))
	if err := r.step("two", func() error { return errors.New("why") }); err == nil || err.Error() != "two: why" {
		t.Errorf("%v", err)
	}
	text := regexp.MustCompile(` *\d+\.\d\ds`).ReplaceAllString(out.String(), "T")
	if want := "T  one\n          | a\n          | b\nT  two: FAILED\n"; text != want {
		t.Errorf("printed %q, want %q", text, want)
	}
}

func TestWorldWithScorer(t *testing.T) {
	t.Parallel()
	for _, s := range List() {
		raw, err := embedded.ReadFile("worlds/" + s.Name + ".yaml")
		must(t, err)
		got, err := withScorer(raw, "/opt/my scorer")
		must(t, err)
		if s.readsBlob() {
			contains(t, s.Name, string(got), "neighbourstorage")
		}
		contains(t, s.Name, string(got), scorerImage, "/opt/my scorer", "8080")
	}
}
