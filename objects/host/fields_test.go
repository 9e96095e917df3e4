package host

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"slices"
	"strings"
	"testing"
)

// parts are what an object is made of. Each alone uses its fields, so that what it promises can be read in one file.
var parts = []string{"mailbox", "outbox", "committer", "payload", "claim", "memory", "sockets", "conflation", "told", "tasks", "waiters", "upkeep", "questions"}

// nothing resolves no import: of what other packages have, nothing has to be known.
type nothing_ struct{}

func (nothing_) Import(path string) (*types.Package, error) { return nil, errors.New("not needed") }

// touched lists where a field of a part is used by anything but methods of parts.
func touched(t *testing.T) (found []string) {
	positions := token.NewFileSet()
	packages, err := parser.ParseDir(positions, ".", func(f fs.FileInfo) bool { return !strings.HasSuffix(f.Name(), "_test.go") }, 0)
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, file := range packages["host"].Files {
		files = append(files, file)
	}
	info := types.Info{Selections: make(map[*ast.SelectorExpr]*types.Selection)}
	config := types.Config{Importer: nothing_{}, Error: func(error) {}}
	config.Check("host", positions, files, &info)
	for _, file := range files {
		for _, decl := range file.Decls {
			f, is := decl.(*ast.FuncDecl)
			if !is || f.Recv != nil && slices.Contains(parts, receiver(f)) {
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if s, is := n.(*ast.SelectorExpr); is {
					if part := owner_(info.Selections[s]); slices.Contains(parts, part) {
						found = append(found, positions.Position(s.Sel.Pos()).String()+": "+part+"."+s.Sel.Name)
					}
				}
				return true
			})
		}
	}
	return found
}

func receiver(f *ast.FuncDecl) string {
	of := f.Recv.List[0].Type
	if star, is := of.(*ast.StarExpr); is {
		of = star.X
	}
	return of.(*ast.Ident).Name
}

// owner_ is the type whose own field is selected; "": it is no field.
func owner_(s *types.Selection) string {
	if s == nil || s.Kind() != types.FieldVal || len(s.Index()) != 1 {
		return ""
	}
	of := s.Recv()
	if pointer, is := of.(*types.Pointer); is {
		of = pointer.Elem()
	}
	if named, is := of.(*types.Named); is {
		return named.Obj().Name()
	}
	return ""
}

func TestOnlyAPartOfAnObjectUsesItsFields(t *testing.T) {
	for _, where := range touched(t) {
		t.Errorf("%s is used from outside", where)
	}
}
