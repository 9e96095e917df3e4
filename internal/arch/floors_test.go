package arch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "holdfast"

// root is the top of the module as seen from this package's folder, where go test runs.
const root = "../.."

// floors says where each package stands. Names are relative to the module; "x/..." is x and all below it.
var floors = []struct {
	number   int
	packages []string
}{
	{1, []string{"internal/bucket", "internal/scope", "internal/resume", "objects", "objects/internal/engine", "objects/internal/tells", "objects/objectstest", "objects/sqlite", "examples/echo", "examples/limit", "examples/room", "examples/ticket", "internal/arch", "internal/planted", "internal/heap", "internal/loopback", "internal/underrace", "clients/js", "docs"}},
	{2, []string{"internal/wire", "internal/ask", "internal/stream", "internal/flow", "internal/sockets", "internal/metrics", "internal/link", "internal/load", "internal/ops", "objects/host/internal/...", "kvfoil", "embedded"}},
	{3, []string{"gateway", "client", "objects/host", "inspector"}},
	{4, []string{"app", "gateway/gatewaytest"}},
	{5, append([]string{"cmd/holdfast", "acceptance/...", "bench/...", "chaos/..."}, applications...)},
}

// neighbours may import along their own floor, in this direction only.
var neighbours = []struct{ from, to, why string }{
	{"objects", "internal/scope", "an idempotency key is set by authors' callers and read by gateways"},
	{"objects/host/internal/record", "objects/host/internal/state", "a record names the parts of a large object"},
	{"objects/objectstest", "internal/scope", "it reads idempotency keys, as a gateway does"},
	{"objects/objectstest", "internal/resume", "its sockets come back, as a host's do"},
	{"internal/wire", "internal/flow", "what carries bodies is decided there"},
	{"internal/ask", "internal/wire", "what is asked is a request on the wire"},
	{"internal/sockets", "internal/wire", "what sockets are told, and tell, is on the wire"},
	{"internal/sockets", "internal/stream", "it does what the gateway's half of a stream decides"},
	{"internal/sockets", "internal/metrics", "it counts sockets"},
	{"objects", "objects/internal/engine", "an author's types stand on what runs them"},
	{"objects/objectstest", "objects/internal/engine", "it runs objects, as a host does"},
	{"objects/internal/tells", "objects/internal/engine", "it speaks of the keys under which an event keeps what it tells"},
	{"objects/objectstest", "objects/internal/tells", "it delivers what objects tell, as a host does"},
	{"objects/sqlite", "objects", "what it is given is an author's event"},
	{"objects/sqlite", "objects/internal/engine", "its pages are entries of the object, and it commits with the event"},
	{"objects/objectstest", "objects", "it is the world in which objects are tested"},
	{"examples/echo", "objects", "an example stands where its author stands"},
	{"examples/limit", "objects", "an example stands where its author stands"},
	{"examples/room", "objects", "an example stands where its author stands"},
	{"examples/ticket", "objects", "an example stands where its author stands"},
	{"examples/all", "examples/...", "it runs all of them"},
	{"examples/auth/elsewhere", "examples/auth", "it serves the page that stands on another origin"},
	{"examples/ledger", "examples/ledger/books", "its queries are generated"},
	{"examples/demo", "examples/...", "its page plays with other examples; race, crew, crowd and page are its parts"},
	{"examples/demo/crew", "examples/demo/race", "gateways fire a race together"},
	{"cmd/holdfast", "examples/demo", "the command carries the demo as its worker"},
	{"acceptance/...", "examples/demo/...", "end to end includes the demo"},
	{"bench", "examples/demo", "what is measured has the demo's routes, and one more"},
	{"bench", "bench/raw", "the raw limits are measured beside the rest"},
	{"chaos", "examples/demo", "what is broken has the demo's routes, and one more"},
	{"chaos", "chaos/...", "the proxy and the checkers are parts of the fault suite"},
	{"acceptance/...", "chaos/proxy", "a line that is dead and looks open is made by the same means"},
	{"acceptance/...", "chaos/seats", "who comes back is counted by the same means"},
	{"acceptance/...", "acceptance/...", "the end-to-end tests share their helpers"},
}

const (
	nats       = "github.com/nats-io/..."
	natsServer = "github.com/nats-io/nats-server/..."
	jetstream  = "github.com/nats-io/nats.go/jetstream"
)

// webStack is Fiber and what it stands on. The standard library's net/http is not part of it.
var webStack = []string{"github.com/gofiber/...", "github.com/valyala/fasthttp/...", "github.com/fasthttp/..."}

// A rule forbids some packages of ours (who, without except) some imports (not, without but).
type rule struct {
	who, except []string
	not, but    []string
	reach       bool // also through the packages that it imports
	tests       bool // also in its tests
	why         string
}

var everything = []string{"..."}

// applications are examples that come with their worker.
var applications = []string{"examples/all", "examples/auth/...", "examples/chat", "examples/checkout", "examples/demo/...", "examples/document", "examples/files", "examples/jobs", "examples/leaderboard", "examples/ledger/...", "examples/payment", "examples/scheduler", "examples/tictactoe", "examples/tokens"}

var authors = []string{"objects", "objects/internal/engine", "objects/internal/tells", "objects/objectstest", "objects/sqlite", "examples/echo", "examples/limit", "examples/room", "examples/ticket"}

var rules = []rule{
	{who: authors, not: append([]string{nats}, webStack...), reach: true, tests: true,
		why: "an author's unit test needs neither a broker nor a web server"},
	{who: []string{"examples/echo", "examples/limit", "examples/room", "examples/ticket"}, not: []string{module + "/..."},
		but: []string{module + "/objects"},
		why: "an example shows what an author can do with objects alone"},
	{who: everything, except: []string{"objects/sqlite", "examples/ledger/...", "examples/all", "acceptance/...", "bench/...", "chaos"}, not: []string{module + "/objects/sqlite", "github.com/ncruces/..."}, reach: true,
		why: "only those who want a database carry one"},
	{who: []string{"gateway"}, not: []string{jetstream, module + "/objects/host", module + "/objects/host/internal/..."}, reach: true,
		why: "a gateway that can write is not stateless"},
	{who: []string{"client"}, not: append([]string{jetstream, module + "/gateway/...", module + "/objects/host/..."}, webStack...), reach: true,
		why: "a program that asks needs neither a web server nor a host"},
	{who: []string{"objects/host", "objects/host/internal/..."}, not: webStack, reach: true,
		why: "HTTP ends at the gateway; a host speaks NATS"},
	{who: []string{"kvfoil"}, not: []string{module + "/..."},
		why: "the foil must not borrow the cure"},
	{who: []string{"embedded"}, not: []string{module + "/..."}, but: []string{module + "/internal/loopback"},
		why: "it is a server in a box and knows no product"},
	{who: []string{"internal/link"}, not: []string{module + "/..."},
		why: "a slow wire does not know what it carries"},
	{who: everything, except: []string{"embedded"}, not: []string{natsServer},
		why: "everything else talks to a server over a connection, as it would to a remote one"},
	{who: everything, except: append([]string{"gateway", "inspector", "internal/load", "acceptance/...", "bench/...", "chaos"}, applications...), not: webStack,
		why: "Fiber belongs to the gateway, the inspector and workers"},
}

// pkg is what the go command says of one package of ours.
type pkg struct {
	ImportPath   string
	Name         string
	Doc          string // first sentence of the package comment
	Imports      []string
	Deps         []string // all that it ships with, directly or not
	TestImports  []string
	XTestImports []string
}

func (p pkg) short() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

// matches reports whether path is named by one of patterns.
func matches(path string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		base, deep := strings.CutSuffix(pattern, "...")
		base = strings.TrimSuffix(base, "/")
		return path == base || deep && (base == "" || strings.HasPrefix(path, base+"/"))
	})
}

// floorOf gives the floor of a package of ours, or 0 if it has none.
func floorOf(short string) int {
	for _, f := range floors {
		if matches(short, f.packages) {
			return f.number
		}
	}
	return 0
}

func mayLookAside(from, to string) bool {
	for _, n := range neighbours {
		if matches(from, []string{n.from}) && matches(to, []string{n.to}) {
			return true
		}
	}
	return false
}

// complaints lists all that is wrong with a tree, a sentence each. It looks at nothing but its argument.
func complaints(tree []pkg) []string {
	var all []string
	for _, p := range tree {
		all = append(all, wrongFloor(p)...)
		for _, r := range rules {
			if matches(p.short(), r.who) && !matches(p.short(), r.except) {
				all = append(all, r.broken(p)...)
			}
		}
	}
	return all
}

func wrongFloor(p pkg) []string {
	floor := floorOf(p.short())
	if floor == 0 {
		return []string{p.short() + " stands on no floor: give it one in internal/arch"}
	}
	var all []string
	for _, path := range p.Imports {
		to, ours := strings.CutPrefix(path, module+"/")
		if !ours {
			continue
		}
		switch other := floorOf(to); {
		case other > floor:
			all = append(all, fmt.Sprintf("%s (floor %d) imports %s (floor %d): imports go down", p.short(), floor, to, other))
		case other == floor && !mayLookAside(p.short(), to):
			all = append(all, fmt.Sprintf("%s imports %s beside it on floor %d: imports go down", p.short(), to, floor))
		}
	}
	return all
}

// broken lists each import of p that r forbids, once, by the shortest way.
func (r rule) broken(p pkg) []string {
	var all []string
	seen := map[string]bool{}
	look := func(paths []string, verb string) {
		for _, path := range paths {
			if !seen[path] && matches(path, r.not) && !matches(path, r.but) {
				seen[path] = true
				all = append(all, fmt.Sprintf("%s %s %s: %s", p.short(), verb, path, r.why))
			}
		}
	}
	look(p.Imports, "imports")
	if r.tests {
		look(p.TestImports, "imports in its tests")
		look(p.XTestImports, "imports in its tests")
	}
	if r.reach {
		look(p.Deps, "reaches")
	}
	return all
}

func TestImportsGoDownAFloor(t *testing.T) {
	for _, c := range complaints(ours(t)) {
		t.Error(c)
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for _, p := range ours(t) {
		switch {
		case p.Doc == "":
			t.Errorf("%s has no package comment: write the design there", p.short())
		case p.Name != "main" && !strings.HasPrefix(p.Doc, "Package "+p.Name+" "):
			t.Errorf("%s: the package comment begins %q, want \"Package %s ...\"", p.short(), p.Doc, p.Name)
		}
	}
}

func TestEveryRuleCatchesItsViolation(t *testing.T) {
	const fiber = "github.com/gofiber/fiber/v2"
	tests := []struct {
		name string
		tree pkg
		want []string
	}{
		{"nothing wrong", pkg{
			ImportPath: "holdfast/objects/host",
			Imports:    []string{"context", "holdfast/objects", "holdfast/internal/wire", "holdfast/objects/host/internal/lease", jetstream},
		}, nil},
		{"an example imports objects, its test the test world", pkg{
			ImportPath:   "holdfast/examples/room",
			Imports:      []string{"net/http", "holdfast/objects"},
			XTestImports: []string{"holdfast/objects/objectstest"},
		}, nil},
		{"no floor", pkg{ImportPath: "holdfast/util"},
			[]string{"util stands on no floor: give it one in internal/arch"}},
		{"up", pkg{ImportPath: "holdfast/internal/wire", Imports: []string{"holdfast/gateway"}},
			[]string{"internal/wire (floor 2) imports gateway (floor 3): imports go down"}},
		{"sideways", pkg{ImportPath: "holdfast/objects/host", Imports: []string{"holdfast/inspector"}},
			[]string{"objects/host imports inspector beside it on floor 3: imports go down"}},
		{"against the direction of a permitted look aside", pkg{ImportPath: "holdfast/objects", Imports: []string{"holdfast/objects/objectstest"}},
			[]string{"objects imports objects/objectstest beside it on floor 1: imports go down"}},
		{"an object that knows NATS", pkg{ImportPath: "holdfast/objects", Imports: []string{"github.com/nats-io/nats.go"}},
			[]string{"objects imports github.com/nats-io/nats.go: an author's unit test needs neither a broker nor a web server"}},
		{"an object that drags Fiber along", pkg{ImportPath: "holdfast/objects", Deps: []string{fiber}},
			[]string{"objects reaches github.com/gofiber/fiber/v2: an author's unit test needs neither a broker nor a web server"}},
		{"an author's test that needs a broker", pkg{ImportPath: "holdfast/examples/ticket", XTestImports: []string{jetstream}},
			[]string{"examples/ticket imports in its tests github.com/nats-io/nats.go/jetstream: an author's unit test needs neither a broker nor a web server"}},
		{"an example that ships the test world", pkg{ImportPath: "holdfast/examples/room", Imports: []string{"holdfast/objects/objectstest"}},
			[]string{
				"examples/room imports objects/objectstest beside it on floor 1: imports go down",
				"examples/room imports holdfast/objects/objectstest: an example shows what an author can do with objects alone",
			}},
		{"a host with a database", pkg{ImportPath: "holdfast/objects/host", Deps: []string{"github.com/ncruces/go-sqlite3"}},
			[]string{"objects/host reaches github.com/ncruces/go-sqlite3: only those who want a database carry one"}},
		{"a gateway with a store", pkg{ImportPath: "holdfast/gateway", Imports: []string{jetstream}, Deps: []string{jetstream}},
			[]string{"gateway imports github.com/nats-io/nats.go/jetstream: a gateway that can write is not stateless"}},
		{"a gateway with a store in its cellar", pkg{ImportPath: "holdfast/gateway", Deps: []string{"holdfast/objects/host/internal/record"}},
			[]string{"gateway reaches holdfast/objects/host/internal/record: a gateway that can write is not stateless"}},
		{"a gateway that is a host", pkg{ImportPath: "holdfast/gateway", Imports: []string{"holdfast/objects/host"}},
			[]string{
				"gateway imports objects/host beside it on floor 3: imports go down",
				"gateway imports holdfast/objects/host: a gateway that can write is not stateless",
			}},
		{"a client that drags Fiber along", pkg{ImportPath: "holdfast/client", Deps: []string{fiber}},
			[]string{"client reaches github.com/gofiber/fiber/v2: a program that asks needs neither a web server nor a host"}},
		{"a host behind Fiber", pkg{ImportPath: "holdfast/objects/host", Deps: []string{fiber}},
			[]string{"objects/host reaches github.com/gofiber/fiber/v2: HTTP ends at the gateway; a host speaks NATS"}},
		{"a foil with the cure", pkg{ImportPath: "holdfast/kvfoil", Imports: []string{"holdfast/objects"}},
			[]string{"kvfoil imports holdfast/objects: the foil must not borrow the cure"}},
		{"a server that knows the product", pkg{ImportPath: "holdfast/embedded", Imports: []string{"holdfast/objects", "github.com/nats-io/nats-server/v2/server"}},
			[]string{"embedded imports holdfast/objects: it is a server in a box and knows no product"}},
		{"a wire that reads", pkg{ImportPath: "holdfast/internal/link", Imports: []string{"holdfast/objects"}},
			[]string{"internal/link imports holdfast/objects: a slow wire does not know what it carries"}},
		{"a second server", pkg{ImportPath: "holdfast/app", Imports: []string{"github.com/nats-io/nats-server/v2/server"}},
			[]string{"app imports github.com/nats-io/nats-server/v2/server: everything else talks to a server over a connection, as it would to a remote one"}},
		{"Fiber in the command line", pkg{ImportPath: "holdfast/app", Imports: []string{"github.com/valyala/fasthttp"}},
			[]string{"app imports github.com/valyala/fasthttp: Fiber belongs to the gateway, the inspector and workers"}},
	}
	covered := map[string]bool{}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := complaints([]pkg{tt.tree})
			if !slices.Equal(got, tt.want) {
				t.Errorf("complaints:\n\t%s\nwant:\n\t%s", strings.Join(got, "\n\t"), strings.Join(tt.want, "\n\t"))
			}
		})
		for _, w := range tt.want {
			_, why, _ := strings.Cut(w, ": ")
			covered[why] = true
		}
	}
	for _, r := range rules {
		if !covered[r.why] {
			t.Errorf("no violation here breaks the rule %q", r.why)
		}
	}
}

// modules are those whose behaviour decided something in the design.
var modules = []struct {
	path, version string
	newer         bool // a newer one will do
	why           string
}{
	{"github.com/nats-io/nats-server/v2", "v2.15.2", false,
		"fencing, leases and schedules were measured on it; measure again before moving"},
	{"github.com/nats-io/nats.go", "v1.55.0", false,
		"it folds 10071 and 10164 into one error and gives up after two tries; what we do about it was tested with it"},
	{"github.com/gofiber/fiber/v2", "v2.52.15", false,
		"what it lends to a handler, and for how long, was checked in it"},
	{"github.com/gofiber/contrib/websocket", "v1.3.4", false,
		"the last for Fiber v2; its pooled conns, used after their handler, send one client's frame to another"},
	{"github.com/valyala/fasthttp", "v1.78.0", true,
		"1.52, which Fiber asks for, lets requests be smuggled in seven forms; before 1.78 a stop closes a connection whose next request has begun to arrive"},
	{"github.com/ncruces/go-sqlite3", "v0.37.0", false,
		"which errors roll a transaction back, what its panics say, and what pages it writes was checked in it; it moves fast"},
	{"github.com/fasthttp/websocket", "v1.5.12", true,
		"the frames that it refuses, and with which code, were checked in it"},
}

func TestWhatWasMeasuredIsWhatIsBuilt(t *testing.T) {
	for _, m := range modules {
		built := strings.TrimSpace(string(goList(t, "-m", "-f", "{{with .Replace}}{{.Version}}{{else}}{{.Version}}{{end}}", m.path)))
		switch {
		case built == m.version:
		case !m.newer:
			t.Errorf("%s is built at %q, want %s: %s", m.path, built, m.version, m.why)
		case older(t, built, m.version):
			t.Errorf("%s is built at %q, want %s or newer: %s", m.path, built, m.version, m.why)
		}
	}
}

// older compares versions of the form v1.2.3; what follows a hyphen counts as nothing.
func older(t *testing.T, a, b string) bool {
	t.Helper()
	return slices.Compare(numbers(t, a), numbers(t, b)) < 0
}

func numbers(t *testing.T, version string) []int {
	t.Helper()
	release, _, _ := strings.Cut(strings.TrimPrefix(version, "v"), "-")
	var ns []int
	for part := range strings.SplitSeq(release, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			t.Fatalf("read version %q: %v", version, err)
		}
		ns = append(ns, n)
	}
	return ns
}

func TestVersionsAreComparedAsNumbers(t *testing.T) {
	tests := []struct {
		a, b string
		want bool
	}{
		{"v1.52.0", "v1.73.0", true},
		{"v1.73.0", "v1.73.0", false},
		{"v1.100.0", "v1.73.0", false},
		{"v2.0.0", "v1.73.0", false},
		{"v1.9.99", "v1.73.0", true},
	}
	for _, tt := range tests {
		if got := older(t, tt.a, tt.b); got != tt.want {
			t.Errorf("older(%s, %s) = %t, want %t", tt.a, tt.b, got, tt.want)
		}
	}
}

// ours lists the packages of the module.
func ours(t *testing.T) []pkg {
	t.Helper()
	watchSources(t)
	fields := "-json=ImportPath,Name,Doc,Imports,Deps,TestImports,XTestImports"
	dec := json.NewDecoder(strings.NewReader(string(goList(t, fields, module+"/..."))))
	var all []pkg
	for {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("read go list: %v", err)
		}
		all = append(all, p)
	}
}

// watchSources looks at every source file of the module. The go command remembers what a test looked at and runs it again
// when that changed; what a child process looked at it would not see, and an old verdict would stand.
func watchSources(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && path != root && (name == "testdata" || name == "node_modules" || name == "artifacts" || name[0] == '.') {
			return fs.SkipDir
		}
		if strings.HasSuffix(name, ".go") || name == "go.mod" {
			_, err = os.Stat(path)
		}
		return err
	})
	if err != nil {
		t.Fatalf("walk the module: %v", err)
	}
}

func goList(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...)
	cmd.Dir = root
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %s: %v\n%s", strings.Join(args, " "), err, complaint.String())
	}
	return out
}
