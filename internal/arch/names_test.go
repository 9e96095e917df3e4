package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// unnameable lists the fields of a file's exported structs whose types users of the package cannot name: they are
// an internal package's.
func unnameable(file *ast.File, positions *token.FileSet) (found []string) {
	internals := make(map[string]bool)
	for _, spec := range file.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil || !strings.Contains(path+"/", "/internal/") {
			continue
		}
		name := path[strings.LastIndexByte(path, '/')+1:]
		if spec.Name != nil {
			name = spec.Name.Name
		}
		internals[name] = true
	}
	for _, declared := range file.Decls {
		types, ok := declared.(*ast.GenDecl)
		if !ok || types.Tok != token.TYPE {
			continue
		}
		for _, spec := range types.Specs {
			named := spec.(*ast.TypeSpec)
			fields, ok := named.Type.(*ast.StructType)
			if !ok || !named.Name.IsExported() {
				continue
			}
			for _, field := range fields.Fields.List {
				exported := len(field.Names) == 0 // embedded
				for _, name := range field.Names {
					exported = exported || name.IsExported()
				}
				ast.Inspect(field.Type, func(n ast.Node) bool {
					selected, ok := n.(*ast.SelectorExpr)
					if !ok || !exported {
						return true
					}
					if of, ok := selected.X.(*ast.Ident); ok && internals[of.Name] {
						found = append(found, positions.Position(selected.Pos()).String()+": "+named.Name.Name+" has a "+of.Name+"."+selected.Sel.Name)
					}
					return true
				})
			}
		}
	}
	return found
}

// isPublic reports whether programs of others may import the package in this folder.
func isPublic(folder string) bool {
	for part := range strings.SplitSeq(filepath.ToSlash(folder), "/") {
		switch part {
		case "internal", "examples", "cmd", "acceptance", "bench", "chaos", "testdata", "node_modules":
			return false
		}
	}
	return true
}

// A program that set a timing could not write a function that returns one.
func TestAUserCanNameTheTypeOfEveryPublicField(t *testing.T) {
	files := 0
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		if below, err := filepath.Rel(root, filepath.Dir(path)); err != nil || !isPublic(below) {
			return err
		}
		positions := token.NewFileSet()
		file, err := parser.ParseFile(positions, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		files++
		for _, at := range unnameable(file, positions) {
			t.Error(at)
		}
		return nil
	})
	if err != nil || files < 50 {
		t.Errorf("%d files were read: %v", files, err)
	}
}

func TestAFieldThatNobodyCanNameIsFound(t *testing.T) {
	const source = `package p

import (
	"time"

	"holdfast/internal/wire"
	r "holdfast/objects/host/internal/record"
)

type Timing = wire.Timing

type Config struct {
	A wire.Timing
	B *wire.Nearby
	C map[string][]r.Room
	D func(*wire.Request)
	wire.Beat

	e wire.Timing
	F Timing
	G time.Duration
}

type hidden struct{ A wire.Timing }
`
	positions := token.NewFileSet()
	file, err := parser.ParseFile(positions, "p.go", source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	if found := unnameable(file, positions); len(found) != 5 {
		t.Errorf("found %q, want A, B, C, D and the embedded one", found)
	}
}
