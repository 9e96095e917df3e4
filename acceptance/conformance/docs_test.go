package conformance

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every identifier of the author's packages in docs/from-cloudflare.md exists.
func TestTheGuideFromCloudflareNamesWhatThereIs(t *testing.T) {
	names := make(map[string]bool)
	for _, dir := range []string{"objects", "objects/objectstest", "gateway", "gateway/gatewaytest"} {
		files, err := filepath.Glob(filepath.Join("../..", dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatal(dir, err)
		}
		for _, file := range files {
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(parsed, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.FuncDecl:
					names[n.Name.Name] = true
				case *ast.TypeSpec:
					names[n.Name.Name] = true
				case *ast.ValueSpec:
					for _, name := range n.Names {
						names[name.Name] = true
					}
				case *ast.Field:
					for _, name := range n.Names {
						names[name.Name] = true
					}
				}
				return true
			})
		}
	}
	guide, err := os.ReadFile("../../docs/from-cloudflare.md")
	if err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile("`[^`]+`")
	called := regexp.MustCompile(`\b(?:tx|objects|env|class|Ref|Call|Map|Socket|World|Message|Code|objectstest|gatewaytest)\.([A-Z]\w*)`)
	checked := 0
	for line := range strings.Lines(string(guide)) {
		cells := strings.Split(line, "|")
		if len(cells) != 4 { // of a table; the third cell is ours
			continue
		}
		for _, snippet := range code.FindAllString(cells[2], -1) {
			for _, name := range called.FindAllStringSubmatch(snippet, -1) {
				if checked++; !names[name[1]] {
					t.Errorf("%s: there is no %s", snippet, name[1])
				}
			}
		}
	}
	if checked < 40 {
		t.Errorf("%d names were found", checked)
	}
}
