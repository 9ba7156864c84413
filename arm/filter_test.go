package arm

import (
	"strings"
	"testing"
)

var filterNames = []string{"atScope()", "assignedTo()", "principalId", "roleName", "resourceType"}

func TestParseFilter(t *testing.T) {
	for _, tt := range []struct{ in, equals, call, value string }{
		{"", "", "", ""},
		{"atScope()", "", "atScope", ""},
		{"ATSCOPE ( )", "", "atScope", ""},
		{"assignedTo('abc')", "", "assignedTo", "abc"},
		{"atScope() and assignedTo('abc')", "", "assignedTo", "abc"},
		{"atScope()+and+x", "", "!", ""},
		{"principalId eq 'abc'", "principalId", "", "abc"},
		{"principalId eq abc", "principalId", "", "abc"},
		{"PRINCIPALID EQ 'abc' AND atScope()", "principalId", "", "abc"},
		{"roleName eq 'Bob''s role and more'", "roleName", "", "Bob's role and more"},
		{"resourceType eq 'A.B/c' and roleName eq ''", "resourceType", "", "A.B/c"},
		{"roleName ne 'x'", "", "!", ""}, {"roleName eq", "", "!", ""}, {"roleName eq 'x", "", "!", ""},
		{"roleName eq 'x' or atScope()", "", "!", ""}, {"atScope() and", "", "!", ""}, {"atScope(", "", "!", ""},
		{"atScope() atScope()", "", "!", ""}, {"atScope() and atScope()", "", "!", ""}, {"other eq 'x'", "", "!", ""}, {"principalId()", "", "!", ""},
	} {
		f, err := ParseFilter(tt.in, filterNames...)
		if (err != nil) != (tt.call == "!") {
			t.Errorf("%q: %v", tt.in, err)
			continue
		}
		if err != nil {
			continue
		}
		if tt.equals != "" {
			if v, ok := f.Equals(tt.equals); !ok || v != tt.value {
				t.Errorf("%q: %q", tt.in, v)
			}
		}
		if tt.call != "" {
			if v, ok := f.Call(tt.call); !ok || v != tt.value {
				t.Errorf("%q: %q", tt.in, v)
			}
		}
	}
}

// FuzzParseFilter: a value survives quoting, and nothing breaks the parser.
func FuzzParseFilter(f *testing.F) {
	for _, s := range []string{"atScope() and principalId eq 'x'", "roleName eq 'a''b'", "(", "eq eq eq", "roleName eq ')'"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		_, _ = ParseFilter(s, filterNames...)
		got, err := ParseFilter("roleName eq '"+strings.ReplaceAll(s, "'", "''")+"' and atScope()", filterNames...)
		if err != nil {
			t.Fatal(err)
		}
		if v, _ := got.Equals("roleName"); v != s {
			t.Fatalf("%q became %q", s, v)
		}
	})
}
