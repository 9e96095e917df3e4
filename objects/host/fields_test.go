package host

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// parts are the parts of an object. Only the methods of a part use its fields, so that these methods show everything that
// happens to the fields.
var parts = []string{"mailbox", "outbox", "committer", "claim", "memory", "sockets", "told", "tasks", "waiters", "upkeep", "questions"}

// noImports finds no package: the types of other packages are not needed.
type noImports struct{}

func (noImports) Import(string) (*types.Package, error) { return nil, errors.New("not needed") }

func TestOnlyAPartOfAnObjectUsesItsFields(t *testing.T) {
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	positions := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(positions, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	info := types.Info{Selections: make(map[*ast.SelectorExpr]*types.Selection)}
	config := types.Config{Importer: noImports{}, Error: func(error) {}}
	_, _ = config.Check("host", positions, files, &info) // it fails for want of the imports
	own := make(map[string]int)
	for _, file := range files {
		for _, decl := range file.Decls {
			method := receiver(decl)
			ast.Inspect(decl, func(n ast.Node) bool {
				s, is := n.(*ast.SelectorExpr)
				if !is {
					return true
				}
				switch part := fieldOf(info.Selections[s]); {
				case part == method:
					own[part]++
				case slices.Contains(parts, part):
					t.Errorf("%s: %s of %s is used from outside", positions.Position(s.Sel.Pos()), s.Sel.Name, part)
				}
				return true
			})
		}
	}
	for _, part := range parts {
		if own[part] == 0 {
			t.Errorf("%s uses no field of its own: is it a part?", part)
		}
	}
}

// receiver returns the type of which decl is a method; "": of none.
func receiver(decl ast.Decl) string {
	f, is := decl.(*ast.FuncDecl)
	if !is || f.Recv == nil {
		return ""
	}
	of := f.Recv.List[0].Type
	if star, is := of.(*ast.StarExpr); is {
		of = star.X
	}
	return of.(*ast.Ident).Name
}

// fieldOf returns the type of which s selects a field of its own; "none" if it does not.
func fieldOf(s *types.Selection) string {
	if s == nil || s.Kind() != types.FieldVal || len(s.Index()) != 1 {
		return "none"
	}
	of := s.Recv()
	if pointer, is := of.(*types.Pointer); is {
		of = pointer.Elem()
	}
	if named, is := of.(*types.Named); is {
		return named.Obj().Name()
	}
	return "none"
}
