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

// unpacks are the methods of Fiber and fasthttp that decode a body by what its headers
// claim, to any size. Body of Fiber's Ctx is one of them; fasthttp's own Body is not.
var unpacks = map[string]bool{
	"Body": true, "BodyParser": true, "BodyUncompressed": true, "BodyGunzip": true, "BodyInflate": true, "BodyUnbrotli": true, "BodyUnzstd": true,
}

// unpacking lists where a file that knows Fiber or fasthttp has a body decoded.
func unpacking(file *ast.File, positions *token.FileSet) (found []string) {
	web, worker := false, false
	for _, spec := range file.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		web = web || err == nil && matches(path, webStack)
		worker = worker || err == nil && strings.HasPrefix(path, "github.com/gofiber/fiber/")
	}
	if !web {
		return nil
	}
	ast.Inspect(file, func(n ast.Node) bool {
		selected, ok := n.(*ast.SelectorExpr)
		if !ok || !unpacks[selected.Sel.Name] {
			return true
		}
		if of, ok := selected.X.(*ast.CallExpr); ok && selected.Sel.Name == "Body" {
			if from, ok := of.Fun.(*ast.SelectorExpr); ok && (from.Sel.Name == "Request" || from.Sel.Name == "Response") {
				return true
			}
		}
		if selected.Sel.Name == "Body" && (!worker || !called(file, selected)) {
			return true // fasthttp's, or a field of net/http's
		}
		found = append(found, positions.Position(selected.Pos()).String()+": "+selected.Sel.Name)
		return true
	})
	return found
}

// called reports whether a method is called, or is taken as a function of a Ctx.
func called(file *ast.File, method *ast.SelectorExpr) (yes bool) {
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		yes = yes || ok && call.Fun == method
		return !yes
	})
	return yes
}

// One request of 269 bytes once took 3.9 GB: Fiber's Body decodes Content-Encoding.
func TestNobodyHasABodyDecoded(t *testing.T) {
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && d.Name() != ".." || d.Name() == "node_modules") && path != root {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		positions := token.NewFileSet()
		file, err := parser.ParseFile(positions, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, where := range unpacking(file, positions) {
			t.Errorf("%s decodes a body without a bound: use BodyRaw", where)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestADecodedBodyIsFound(t *testing.T) {
	for source, want := range map[string]int{
		`import "github.com/gofiber/fiber/v2"; func f(c *fiber.Ctx) { use(c.Body()) }`:                          1,
		`import "github.com/gofiber/fiber/v2"; func f(c *fiber.Ctx) { c.BodyParser(&x) }`:                       1,
		`import "github.com/gofiber/fiber/v2"; func f(d *demo) { use(d.ctx.Body(), d.ctx.Request().Body()) }`:   1,
		`import "github.com/valyala/fasthttp"; func f(r *fasthttp.RequestCtx) { r.Request.BodyGunzip() }`:       1,
		`import "github.com/gofiber/fiber/v2"; func f(c *fiber.Ctx) { use(c.BodyRaw(), c.Request().Body()) }`:   0,
		`import "github.com/gofiber/fiber/v2"; func f(r *http.Response) { defer r.Body.Close(); read(r.Body) }`: 0,
		`import "net/http"; func f(r mine) { r.Body() }`:                                                        0,
	} {
		positions := token.NewFileSet()
		file, err := parser.ParseFile(positions, "x.go", "package x\n"+source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if got := unpacking(file, positions); len(got) != want {
			t.Errorf("%s: found %v, want %d", source, got, want)
		}
	}
}
