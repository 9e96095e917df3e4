//go:build unix

package acceptance

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// outside makes a module of testdata/outside that takes Holdfast from this
// checkout, and all else from where this module has it: no network is needed.
func outside(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS("testdata/outside")); err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	sum, err := os.ReadFile("../go.sum")
	if err != nil {
		t.Fatal(err)
	}
	theirs := strings.Replace(string(mod), "module holdfast\n", "module example.org/outside\n", 1) +
		fmt.Sprintf("\nrequire holdfast v0.0.0\n\nreplace holdfast => %s\n", root)
	for name, text := range map[string]string{"go.mod": theirs, "go.sum": string(sum)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// goes runs the go command in another module.
func goes(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod -ldflags=-w", "GOPROXY=off", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %v: %v\n%s", args, err, out)
	}
}

func TestAModuleOfSomebodyElseDefinesTestsAndRunsItsClass(t *testing.T) {
	beside(t, waiters)
	dir := outside(t)
	goes(t, dir, "test", "./...")
	binary := filepath.Join(dir, "scores.program")
	goes(t, dir, "build", "-o", binary, ".")

	e := &everything{}
	e.process = runs(t, &e.banner, exec.Command(binary, "dev", "--json", "--port", "0", "--nats-port", "0", "--store", "memory", "--regions", "fra,syd", "--rtt", "0"))
	fra, syd := e.banner.Regions[0].URL, e.banner.Regions[1].URL
	status, header, body := request(t, "POST", fra+"/score/chess/ada?points=30", "")
	if status != 200 || body != `{"player":"ada","points":30}` || header.Get("Holdfast-Owner") != "fra-1 (fra)" {
		t.Errorf("score through fra: %d, %s, owner %s", status, body, header.Get("Holdfast-Owner"))
	}
	if status, _, body := request(t, "POST", syd+"/score/chess/ada?points=20", ""); status != 200 || body != `{"player":"ada","points":30}` {
		t.Errorf("score through syd: %d, %s, want the best, 30", status, body)
	}
	if status, _, body := request(t, "POST", syd+"/score/chess/ada?points=-1", ""); status != 400 || !strings.Contains(body, "nobody reaches -1 points") {
		t.Errorf("score -1: %d, %s", status, body)
	}
	if status, header, body := request(t, "GET", syd+"/games/chess", ""); status != 200 || strings.TrimSpace(body) != `{"ada":30}` || header.Get("Holdfast-Region") != "syd" {
		t.Errorf("the object itself: %d, %s, Holdfast-Region %s", status, body, header.Get("Holdfast-Region"))
	}
	for _, path := range []string{"/ticket/a", "/room/a", "/objects/scores/chess"} { // the demo is somebody else's
		if status, _, _ := request(t, "GET", fra+path, ""); status != 404 {
			t.Errorf("%s: status %d, want 404", path, status)
		}
	}
	if e.banner.Open != "" || e.banner.WebSocket != "" {
		t.Errorf("the banner offers %q and %q: neither is there", e.banner.Open, e.banner.WebSocket)
	}
	e.stopsInOrder(syscall.SIGTERM)
}
