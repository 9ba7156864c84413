// Command report turns the records of a test run (package covers) and the list
// of requirements into docs/coverage.md. Same records, same bytes: nothing in
// the document depends on when, where or in which order the tests ran.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
)

func main() {
	in := flag.String("in", "", "the `folder` the tests recorded into")
	requirements := flag.String("requirements", "docs/requirements.tsv", "the `file` listing requirements, id TAB text")
	out := flag.String("out", "docs/coverage.md", "the `file` to write")
	clients := flag.String("clients", "docs/clients.md", "the `file` whose table of clients is taken")
	clientsOut := flag.String("clients-out", "", "the `file` that document is written to with a new table; none: it is not")
	flag.Parse()
	err := run(*in, *requirements, *out)
	if err == nil && *clientsOut != "" {
		err = writeClients(*in, *clients, *clientsOut)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "report: %v\n", err)
		os.Exit(1)
	}
}

func run(in, requirements, out string) error {
	if in == "" {
		return fmt.Errorf("-in is required")
	}
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	list, err := readRequirements(requirements)
	if err != nil {
		return err
	}
	records, err := readRecords(in, root)
	if err != nil {
		return err
	}
	var doc bytes.Buffer
	summary := render(&doc, list, records)
	if err := os.WriteFile(out, doc.Bytes(), 0o644); err != nil {
		return err
	}
	fmt.Println(summary)
	return nil
}

func writeClients(in, from, out string) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	records, err := readRecords(in, root)
	if err != nil {
		return err
	}
	facts, err := readFacts(in)
	if err != nil {
		return err
	}
	doc, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if doc, err = putClients(doc, renderClients(records, facts)); err != nil {
		return err
	}
	return os.WriteFile(out, doc, 0o644)
}
