package images

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadDockerfile(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		images     []string
		final      stage
		err        string
	}{
		{name: "one stage", text: "# a comment\nFROM python:3.11\nRUN pip install x\n", images: []string{"python:3.11"}, final: stage{image: "python:3.11", runs: true}},
		{name: "stages", text: "FROM golang:1 AS build\nRUN go build\nFROM scratch\nCOPY --from=build /x /x\nCOPY --from=0 /y /y\n",
			images: []string{"golang:1"}},
		{name: "a stage on a stage", text: "from a as Base\nFROM base\nRUN x", images: []string{"a"}, final: stage{runs: true}},
		{name: "a copy from an image", text: "FROM scratch\nCOPY --chown=1 --from=tools:2 /a /b", images: []string{"tools:2"}},
		{name: "variables", text: "ARG TAG=\"3\"\nARG OTHER\nFROM --platform=linux/amd64 img:${TAG} AS one\nARG TAG=9\nFROM $OTHER${NONE:-scratch}",
			images: []string{"img:3"}},
		{name: "continued", text: "FROM a\nRUN echo \\\n# FROM no\n\n  FROM nor this\nCMD x", images: []string{"a"}, final: stage{image: "a", runs: true}},
		{name: "another escape", text: "# escape=`\nFROM a\nRUN dir C:\\\nFROM b", images: []string{"a", "b"}, final: stage{image: "b"}},
		{name: "line ends of Windows", text: "FROM a\r\nRUN x\r\n", images: []string{"a"}, final: stage{image: "a", runs: true}},
		{name: "nothing", text: "# only words", err: "no FROM"},
		{name: "no image", text: "\nFROM\n", err: "line 2: FROM names no image"},
		{name: "no value", text: "ARG BASE\nFROM $BASE\n", err: "its variable has no value"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, err := readDockerfile(tt.text)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.images, d.images()); diff != "" {
				t.Errorf("images: %s", diff)
			}
			if f := d.final(); f.image != tt.final.image || f.runs != tt.final.runs {
				t.Errorf("the final stage is %+v", f)
			}
		})
	}
}

func TestRewriteDockerfile(t *testing.T) {
	d, err := readDockerfile("# syntax\nARG V=1\nFROM --platform=x \\\n  img:$V AS one\nRUN a\nFROM one\nCOPY --from=tools \\\n /a /b\nRUN b\n")
	if err != nil {
		t.Fatal(err)
	}
	got := d.text(map[string]string{"img:1": "ours:1", "tools": "ours:2"}, func(s *stage) []string {
		if s.base == nil {
			return []string{"ARG X=1"}
		}
		return nil
	})
	want := "# syntax\nARG V=1\nFROM --platform=x ours:1 AS one\nARG X=1\n\nRUN a\nFROM one\nCOPY --from=ours:2 \\\n /a /b\nRUN b\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// FuzzReadDockerfile: whatever is sent, the stages found begin where a FROM
// stands, and rewriting with nothing to change keeps all other lines.
func FuzzReadDockerfile(f *testing.F) {
	f.Add("FROM a AS b\nRUN x \\\n y\nFROM b\nCOPY --from=c / /\n")
	f.Add("ARG A=b\n# escape=`\nFROM ${A:-c}\n")
	f.Add("FROM \\\n\\\nfrom as as as")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := readDockerfile(text)
		if err != nil {
			return
		}
		same := map[string]string{}
		for _, name := range d.images() {
			same[name] = name
		}
		out := strings.Split(d.text(same, func(*stage) []string { return nil }), "\n")
		if len(out) != len(d.lines) {
			t.Fatalf("%d lines of %d", len(out), len(d.lines))
		}
		for n, line := range d.lines {
			inFrom := slices.ContainsFunc(d.stages, func(s *stage) bool { return s.first <= n && n <= s.last })
			inCopy := slices.ContainsFunc(d.copies, func(c copyFrom) bool { return c.first <= n && n <= c.last })
			if !inFrom && !inCopy && out[n] != line {
				t.Errorf("line %d was %q, is %q", n, line, out[n])
			}
		}
	})
}
