package archtest

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// file is one parsed source file.
type file struct {
	path  string // slash-separated, from the module's root
	pkg   string // the package's path in the module, "." for the root
	test  bool
	lines int
	ast   *ast.File
	fset  *token.FileSet
}

// imports are the module's own packages the file imports, as paths in the
// module.
func (f file) imports() []string {
	var list []string
	for _, spec := range f.ast.Imports {
		p, _ := strconv.Unquote(spec.Path.Value)
		switch {
		case p == Module:
			list = append(list, ".")
		case strings.HasPrefix(p, Module+"/"):
			list = append(list, strings.TrimPrefix(p, Module+"/"))
		}
	}
	return list
}

// position is where in the file a node stands, for a message.
func (f file) position(n ast.Node) string {
	return f.path + ":" + strconv.Itoa(f.fset.Position(n.Pos()).Line)
}

// load parses every Go file of the module: all build tags, tests included,
// hidden folders, testdata and nested modules left out.
func load(root fs.FS) ([]file, error) {
	var files []file
	err := fs.WalkDir(root, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if p == "." {
				return nil
			}
			if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" || name == "bin" {
				return fs.SkipDir
			}
			if _, err := fs.Stat(root, path.Join(p, "go.mod")); err == nil {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		src, err := fs.ReadFile(root, p)
		if err != nil {
			return err
		}
		fset := token.NewFileSet()
		parsed, err := parser.ParseFile(fset, p, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		files = append(files, file{
			path: p, pkg: path.Dir(p), test: strings.HasSuffix(name, "_test.go"),
			lines: bytes.Count(src, []byte("\n")), ast: parsed, fset: fset,
		})
		return nil
	})
	return files, err
}
