package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"holdfast/internal/bucket"
)

// spelled lists the strings of a file that have the name of a bucket, or that make one of a stream or of subjects. Tests may do the
// latter: what they try to reach need not be there.
func spelled(file *ast.File, positions *token.FileSet, test bool) (found []string) {
	names := []string{string(bucket.Records()), string(bucket.Leases())}
	if !test {
		names = append(names, "KV_", "$KV")
	}
	ast.Inspect(file, func(n ast.Node) bool {
		lit, ok := n.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return true
		}
		text, err := strconv.Unquote(lit.Value)
		if err == nil && slices.ContainsFunc(names, func(name string) bool { return strings.Contains(text, name) }) {
			found = append(found, positions.Position(lit.Pos()).String()+": "+lit.Value)
		}
		return true
	})
	return found
}

// replicaReads are the calls of the NATS client whose answer may be a replica's, and those that return what has such calls.
var replicaReads = []string{
	"GetLastMsgForSubject", "GetLastMsg", "GetMsg", "KeyValue", "CreateKeyValue", "UpdateKeyValue", "CreateOrUpdateKeyValue",
}

// readsReplicas lists what a file asks of a stream that any replica may answer.
func readsReplicas(file *ast.File, positions *token.FileSet) (found []string) {
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if called, ok := n.Fun.(*ast.SelectorExpr); ok && slices.Contains(replicaReads, called.Sel.Name) {
				found = append(found, positions.Position(n.Pos()).String()+": "+called.Sel.Name)
			}
		case *ast.BasicLit:
			if n.Kind == token.STRING && (strings.Contains(n.Value, ".STREAM.MSG.GET.") || strings.Contains(n.Value, ".DIRECT.GET.")) {
				found = append(found, positions.Position(n.Pos()).String()+": "+n.Value)
			}
		}
		return true
	})
	return found
}

// mayRead are the files and folders that may ask so, none of them for a record.
var mayRead = []struct{ path, why string }{
	{"internal/bucket/", "it is how the leader is asked"},
	{"objects/host/internal/record/entries.go", "an entry never changes"},
	{"objects/host/internal/lease/bucket.go", "the bucket of leases never allows direct reads, and is watched"},
	{"objects/host/store_test.go", "alarms, and counting what is asked"},
	{"app/permissions.go", "it says who may ask"},
	{"kvfoil/", "it shows what plain KV does"},
	{"examples/demo/runs.go", "the demo's runs are in a bucket of its own"},
	{"embedded/embedded_test.go", "a server is tested with buckets of its own"},
	{"acceptance/world_test.go", "it lists keys"},
}

// eachFile parses all Go files of the module. Paths are relative to its top.
func eachFile(t *testing.T, each func(path string, file *ast.File, positions *token.FileSet)) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		positions := token.NewFileSet()
		file, err := parser.ParseFile(positions, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		below, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		files++
		each(filepath.ToSlash(below), file, positions)
		return nil
	})
	if err != nil || files < 300 {
		t.Errorf("%d files were read: %v", files, err)
	}
}

// Objects in several buckets are then a change to one package.
func TestOnePackageSpellsTheNamesOfBuckets(t *testing.T) {
	eachFile(t, func(path string, file *ast.File, positions *token.FileSet) {
		if strings.HasPrefix(path, "internal/bucket/") || strings.HasPrefix(path, "internal/arch/") || strings.HasPrefix(path, "kvfoil/") {
			return // the names are there; the rule is there; the foil must not borrow the cure
		}
		for _, at := range spelled(file, positions, strings.HasSuffix(path, "_test.go")) {
			t.Errorf("%s: want it made from what package bucket returns", at)
		}
	})
}

// A replica that is behind has a record that was acknowledged as another: an owner would put over it, and a person would read of a state
// that is no more.
func TestRecordsAreReadFromTheLeaderOnly(t *testing.T) {
	used := make(map[string]bool)
	eachFile(t, func(path string, file *ast.File, positions *token.FileSet) {
		if strings.HasPrefix(path, "internal/arch/") {
			return
		}
		for _, at := range readsReplicas(file, positions) {
			i := slices.IndexFunc(mayRead, func(m struct{ path, why string }) bool {
				return path == m.path || strings.HasSuffix(m.path, "/") && strings.HasPrefix(path, m.path)
			})
			if i < 0 {
				t.Errorf("%s: any replica may answer it: records are read by bucket.Name.Last", at)
				continue
			}
			used[mayRead[i].path] = true
		}
	})
	for _, m := range mayRead {
		if !used[m.path] {
			t.Errorf("%s asks nothing that a replica may answer: it needs no exception", m.path)
		}
	}
}

func TestANameThatIsSpelledAndAReadOfAReplicaAreFound(t *testing.T) {
	source := `package p

func f() {
	js.KeyValue(ctx, "` + string(bucket.Records()) + `")
	kv.Get(ctx, "$KV."+name)
	stream.GetLastMsgForSubject(ctx, subject)
	nc.Request("$JS.API.DIRECT.GET."+stream, nil, 0)
	nc.Request("$JS.API.STREAM.MSG.GET.` + bucket.Leases().Stream() + `", nil, 0)
}
`
	positions := token.NewFileSet()
	file, err := parser.ParseFile(positions, "p.go", source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	if found := spelled(file, positions, false); len(found) != 3 {
		t.Errorf("spelled: %q, want three", found)
	}
	if found := spelled(file, positions, true); len(found) != 2 {
		t.Errorf("spelled in a test: %q, want two", found)
	}
	if found := readsReplicas(file, positions); len(found) != 4 {
		t.Errorf("reads of replicas: %q, want four", found)
	}
}
