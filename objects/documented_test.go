package objects_test

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"
)

// What an author does not write needs no example.
var withoutExample = map[string]string{
	"Call":                               "NewCall makes it",
	"Call.Class":                         "for gateways",
	"Call.Name":                          "for gateways",
	"Caller":                             "gateways and worlds are callers",
	"Caller.Object":                      "a method of callers",
	"Caller.ObjectByID":                  "a method of callers",
	"Transport":                          "for gateways",
	"Transport.Call":                     "for gateways",
	"Transport.Fetch":                    "for gateways",
	"NewCaller":                          "for gateways",
	"Ref.Hint":                           "for gateways",
	"Implementation":                     "Implement makes it",
	"Implementation.Engine":              "for hosts",
	"Handler":                            "On makes it",
	"AcceptOption":                       "Tags makes one",
	"AbortOption":                        "CloseSockets is one",
	"Map":                                "NewMap makes one",
	"Blob":                               "NewBlob makes one",
	"Range":                              "every Map is one",
	"Reader":                             "every Tx is one",
	"Codec.Encode":                       "an author implements it, as points does",
	"Codec.Decode":                       "an author implements it, as points does",
	"Owner":                              "Tx.Owner gives it",
	"Code":                               "the constants are codes",
	"Error.Error":                        "of every error",
	"Error.Unwrap":                       "errors.Is and errors.As use it",
	"ID.UnmarshalText":                   "package json uses it",
	"Tx.DeleteAlarm":                     "as SetAlarm",
	"WebSocketMessager":                  "a class implements it, as Chat does",
	"WebSocketCloser":                    "a class implements it, as Chat does",
	"Alarmer":                            "a class implements it, as Reminder does",
	"Undeliverer":                        "a class implements it, as Jobs does",
	"Undeliverer.Undelivered":            "a class implements it, as Jobs does",
	"ToldOf":                             "for hosts",
	"TellOption":                         "After, At and Keyed are options",
	"Sleeper":                            "a class implements it, as Cached does",
	"Sleeper.Sleep":                      "a class implements it, as Cached does",
	"WebSocketMessager.WebSocketMessage": "a class implements it, as Chat does",
	"WebSocketCloser.WebSocketClose":     "a class implements it, as Chat does",
	"Alarmer.Alarm":                      "a class implements it, as Reminder does",
}

// All that is exported has a comment, and what an author writes is used in an example.
func TestTheManualIsWhole(t *testing.T) {
	fset := token.NewFileSet()
	parse := func(test bool) (files []*ast.File) {
		entries, err := os.ReadDir(".")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") != test || test && e.Name() != "example_test.go" {
				continue
			}
			f, err := parser.ParseFile(fset, e.Name(), nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, f)
		}
		return files
	}
	used := make(map[string]bool)
	for _, f := range parse(true) {
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				used[s.Sel.Name] = true
			}
			return true
		})
	}
	p, err := doc.NewFromFiles(fset, parse(false), "holdfast/objects")
	if err != nil {
		t.Fatal(err)
	}
	look := func(name, comment string) {
		if strings.TrimSpace(comment) == "" {
			t.Errorf("%s has no comment", name)
		}
		last := name[strings.LastIndexByte(name, '.')+1:]
		if _, needless := withoutExample[name]; !needless && !used[last] {
			t.Errorf("no example uses %s", name)
		}
	}
	for _, f := range p.Funcs {
		look(f.Name, f.Doc)
	}
	for _, typ := range p.Types {
		look(typ.Name, typ.Doc)
		for _, f := range typ.Funcs {
			look(f.Name, f.Doc)
		}
		for _, m := range typ.Methods {
			look(typ.Name+"."+m.Name, m.Doc)
		}
	}
	for _, v := range append(p.Consts, p.Vars...) {
		if strings.TrimSpace(v.Doc) == "" {
			t.Errorf("%v have no comment", v.Names)
		}
	}
}
