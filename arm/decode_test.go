package arm

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestDecodeTakesWhatClientsSend(t *testing.T) {
	for name, tt := range map[string]struct{ in, want string }{
		"plain":               {`{"a":{"b":[1,"x",true,null]}}`, `{"a":{"b":[1,"x",true,null]}}`},
		"empty":               {` {} `, `{}`},
		"byte order mark":     {"\ufeff{\"a\":1}", `{"a":1}`},
		"az deployment":       {"{\"properties\": {\"mode\": \"Incremental\", template: {\n// line\n/* block */ \"x\": 1}}}", `{"properties":{"mode":"Incremental","template":{"x":1}}}`},
		"trailing commas":     {`{"a":[1,2,],}`, `{"a":[1,2]}`},
		"single quotes":       {`{'a':'it\'s "x"'}`, `{"a":"it's \"x\""}`},
		"raw line end":        {"{\"conda\":\"a:\n\tb\r\n\"}", `{"conda":"a:\n\tb\r\n"}`},
		"number spelling":     {`{"a":1.50,"b":1e400,"c":-0,"d":12345678901234567890}`, `{"a":1.50,"b":1e400,"c":-0,"d":12345678901234567890}`},
		"escapes":             {`{"a":"\"\\\/\b\f\n\r\té\ud83d\ude00"}`, `{"a":"\"\\/\b\f\n\r\té😀"}`},
		"lone surrogate":      {`{"a":"\ud83d"}`, `{"a":"�"}`},
		"dollar name":         {`{$schema:"x"}`, `{"$schema":"x"}`},
		"last of twins wins":  {`{"a":1,"a":2}`, `{"a":2}`},
		"slashes in a string": {`{"a":"https://x /* y */"}`, `{"a":"https://x /* y */"}`},
		"comment at the end":  {"{\"a\":1} // done", `{"a":1}`},
		"open block comment":  {"{\"a\":1} /* done", `{"a":1}`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Decode([]byte(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			if want := strict(t, tt.want); !reflect.DeepEqual(map[string]any(got), want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

func TestDecodeSaysWhere(t *testing.T) {
	for _, tt := range []struct {
		in           string
		line, column int
		says         string
	}{
		{"", 1, 1, "empty"},
		{"  \n ", 2, 2, "empty"},
		{"[1]", 1, 1, "expected a JSON object"},
		{`"x"`, 1, 1, "expected a JSON object"},
		{"{\n  \"a\" 1\n}", 2, 7, `expected ':' after the name "a"`},
		{"{\"a\":}", 1, 6, "expected a value, found '}'"},
		{"{\"a\":1", 1, 7, "end of the body"},
		{"{\"a\":[1 2]}", 1, 9, "expected ',' or ']'"},
		{"{\"a\":tru}", 1, 6, "expected a value, found 't'"},
		{"{\"a\":01}", 1, 6, `"01" is not a number`},
		{"{\"a\":\"x", 1, 8, "not closed"},
		{"{\"a\":\"\\x\"}", 1, 7, "escape"},
		{"{\"a\":\"\\u12\"}", 1, 7, "escape"},
		{"{\"a\":1}}", 1, 8, "after the object"},
		{"{,}", 1, 2, "expected a name"},
		{"{\"a\":\n{\"b\":[}}", 2, 7, "expected a value"},
		{`{"a":` + strings.Repeat("[", 1000), 1, 106, "nested deeper"},
	} {
		_, err := Decode([]byte(tt.in))
		var syntax *SyntaxError
		if !errors.As(err, &syntax) {
			t.Errorf("%q: %v", tt.in, err)
			continue
		}
		if syntax.Line != tt.line || syntax.Column != tt.column || !strings.Contains(syntax.Reason, tt.says) {
			t.Errorf("%.40q: line %d, column %d: %s; want %d, %d: %s", tt.in, syntax.Line, syntax.Column, syntax.Reason, tt.line, tt.column, tt.says)
		}
	}
}

func strict(t *testing.T, s string) map[string]any {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(s))
	dec.UseNumber()
	var out map[string]any
	if err := dec.Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

// FuzzDecode: no input breaks the decoder; what it accepts survives a round
// trip; and on strict JSON it agrees with encoding/json.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`{"a":{"b":[1,2.50,-3e4,"x",true,false,null]}}`, "{'a': 1, b: /* c */ 2, // d\n}", "{\"a\":\"line\nend\"}",
		`{"a":"\u00e9\ud83d\ude00\ud83d"}`, `{"a":`, "\ufeff{}", `{"":""}`, "{\"a\":\"\xff\"}", `{"a":1,"a":2}`, `{"a":"\/"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := Decode(body)
		if err != nil {
			var syntax *SyntaxError
			if !errors.As(err, &syntax) || syntax.Line < 1 || syntax.Column < 1 {
				t.Fatalf("error %v", err)
			}
		} else {
			raw, err := json.Marshal(got)
			if err != nil {
				t.Fatalf("what was decoded does not encode: %v", err)
			}
			again, err := Decode(raw)
			if err != nil || !reflect.DeepEqual(got, again) {
				t.Fatalf("round trip: %v\n got %#v\nthen %#v", err, got, again)
			}
		}
		// encoding/json puts one U+FFFD for each bad byte, Decode for each run.
		if !utf8.Valid(body) || !json.Valid(body) || len(bytes.TrimLeft(body, " \t\r\n")) == 0 || bytes.TrimLeft(body, " \t\r\n")[0] != '{' {
			return
		}
		dec := json.NewDecoder(bytes.NewReader(body))
		dec.UseNumber()
		var want map[string]any
		if err := dec.Decode(&want); err != nil {
			return
		}
		if err != nil {
			if strings.Contains(err.Error(), "nested deeper") {
				return
			}
			t.Fatalf("strict JSON is refused: %v", err)
		}
		if !reflect.DeepEqual(map[string]any(got), want) {
			t.Fatalf("encoding/json reads\n%#v, Decode\n%#v", want, got)
		}
	})
}
