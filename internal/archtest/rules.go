package archtest

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
)

// maxLines is how long a file may be before it has to be split.
const maxLines = 500

// longFiles are those that may be longer, each with its reason.
var longFiles = map[string]string{}

// clockReaders are the packages, with their subfolders, that may read the
// machine's time of day, each with its reason.
var clockReaders = map[string]string{
	"cmd":            "progress output",
	"internal/bench": "it measures",
	"internal/clock": "this is where it is read",
	"intercept":      "TLS: other programs check our certificates against the machine's clock",
	"scenarios":      "progress output: each step is printed with its time",
}

// checkLevels finds imports that the level table refuses.
func checkLevels(files []file) []string {
	var wrong []string
	for _, f := range files {
		if f.test {
			continue
		}
		if _, ok := levelOf(f.pkg); !ok {
			wrong = append(wrong, fmt.Sprintf("%s: package %s has no level: give it one in internal/archtest/levels.go", f.path, f.pkg))
			continue
		}
		for _, to := range f.imports() {
			if ok, why := mayImport(f.pkg, to); !ok {
				wrong = append(wrong, fmt.Sprintf("%s imports %s: %s", f.path, to, why))
			}
		}
	}
	return wrong
}

// checkClock finds readings of the time of day outside clockReaders.
func checkClock(files []file) []string {
	var wrong []string
	for _, f := range files {
		if f.test || within(f.pkg, clockReaders) || testSupport(f.pkg) {
			continue
		}
		name := importName(f.ast, "time")
		if name == "" {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok || sel.Sel.Name != "Now" {
				return true
			}
			if id, ok := sel.X.(*ast.Ident); ok && id.Name == name {
				wrong = append(wrong, f.position(n)+": time.Now: take a clock.Clock")
			}
			return true
		})
	}
	return wrong
}

// checkInit finds functions that run by being imported.
func checkInit(files []file) []string {
	var wrong []string
	for _, f := range files {
		for _, decl := range f.ast.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				wrong = append(wrong, f.position(fn)+": func init: let whoever needs it call it")
			}
		}
	}
	return wrong
}

// checkLength finds files over maxLines, and reasons that are no longer needed.
func checkLength(files []file) []string {
	var wrong []string
	long := map[string]bool{}
	for _, f := range files {
		if f.lines <= maxLines || f.test {
			continue
		}
		long[f.path] = true
		if longFiles[f.path] == "" {
			wrong = append(wrong, fmt.Sprintf("%s has %d lines: split it, or give a reason in longFiles", f.path, f.lines))
		}
	}
	for path := range longFiles {
		if !long[path] {
			wrong = append(wrong, path+" is no longer long: take it out of longFiles")
		}
	}
	slices.Sort(wrong)
	return wrong
}

// checkComments finds packages that do not say what they are.
func checkComments(files []file) []string {
	said := map[string]bool{}
	for _, f := range files {
		if !f.test {
			said[f.pkg] = said[f.pkg] || f.ast.Doc != nil
		}
	}
	var wrong []string
	for pkg, ok := range said {
		if !ok {
			wrong = append(wrong, pkg+" has no package comment: write its doc.go")
		}
	}
	slices.Sort(wrong)
	return wrong
}

// importName is what the file calls a package of the standard library, empty
// where it does not import it.
func importName(f *ast.File, path string) string {
	for _, spec := range f.Imports {
		if spec.Path.Value == `"`+path+`"` {
			if spec.Name != nil {
				return spec.Name.Name
			}
			return path
		}
	}
	return ""
}

// within says whether pkg or a folder above it is listed.
func within(pkg string, list map[string]string) bool {
	for listed := range list {
		if pkg == listed || strings.HasPrefix(pkg, listed+"/") {
			return true
		}
	}
	return false
}

func testSupport(pkg string) bool {
	level, ok := levelOf(pkg)
	return ok && level == testOnly
}
