package main

import (
	"strings"
	"testing"

	"github.com/amlocal/amlocal/internal/covers"
)

func TestClientsTable(t *testing.T) {
	t.Setenv(covers.OutputEnv, t.TempDir())
	for _, version := range []string{"tool 1.0", "tool 1.0"} {
		if err := covers.About("tool", "version", version); err != nil {
			t.Fatal(err)
		}
	}
	facts, err := readFacts(t.TempDir())
	if err != nil || len(facts) != 0 {
		t.Errorf("an empty folder: %v, %v", facts, err)
	}
	table := renderClients([]covers.Record{
		{Requirement: "R-1", Package: "p", Test: "TestOne/sub", Client: "tool", Result: "pass"},
		{Requirement: "R-2", Package: "p", Test: "TestOne", Client: "tool", Result: "pass"},
		{Requirement: "R-2", Package: "p", Test: "TestTwo", Client: "tool", Result: "fail"},
		{Requirement: "R-3", Package: "p", Test: "TestThree", Client: "tool", Result: "skip"},
		{Requirement: "R-3", Package: "p", Test: "TestFour", Result: "pass"},
	}, map[string]map[string]string{"tool": {"version": "tool 1.0", "polling": "2 questions"}})
	if want := "| tool | tool 1.0 | 2, FAILING: TestTwo | 2 questions | `p` TestOne<br>`p` TestTwo |"; !strings.Contains(table, want) {
		t.Errorf("the table is\n%swant\n%s", table, want)
	}
	doc, err := putClients([]byte("before\n"+beginMark+"\nold\n"+endMark+"\nafter\n"), table)
	if err != nil || !strings.HasPrefix(string(doc), "before\n") || !strings.HasSuffix(string(doc), "after\n") || strings.Contains(string(doc), "old") {
		t.Errorf("%v\n%s", err, doc)
	}
	if _, err := putClients([]byte("no place"), table); err == nil {
		t.Error("a document without a place was taken")
	}
}
