package docs

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"go/format"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// fence is one piece of code in a page.
type fence struct {
	page, language string
	line           int
	file           string // what it is the whole of; "": it is a piece of a program
	text           string
}

func (f fence) String() string { return fmt.Sprintf("%s:%d", f.page, f.line) }

var names = regexp.MustCompile(`^<!-- file: ([a-z_/.]+) -->$`)

// fences are all pieces of code in the pages for authors.
func fences(t *testing.T) (all []fence) {
	t.Helper()
	pages, err := filepath.Glob("*.md")
	if err != nil || len(pages) < 10 {
		t.Fatal(pages, err)
	}
	for _, page := range append(pages, "../README.md") {
		source, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		var open *fence
		file := ""
		n := 0
		for line := range strings.Lines(string(source)) {
			n++
			bare := strings.TrimSpace(line)
			switch {
			case open != nil && bare == "```":
				all = append(all, *open)
				open = nil
			case open != nil:
				open.text += line
			case strings.HasPrefix(bare, "```"):
				open = &fence{page: page, language: strings.TrimPrefix(bare, "```"), line: n, file: file}
				file = ""
			case names.MatchString(bare):
				file = names.FindStringSubmatch(bare)[1]
			}
		}
		if open != nil {
			t.Errorf("%s does not end", open)
		}
	}
	return all
}

// readme is what comes before the main function of the README's program.
const readme = `package main

import (
	"github.com/gofiber/fiber/v2"

	"holdfast/app"
	"holdfast/examples/limit"
	"holdfast/gateway"
	"holdfast/objects"
)

`

// workshop returns an empty folder, which is removed when the test ends. It is the same one each time, unless another run is
// using that: what go has compiled there before need not be compiled again.
func workshop(t *testing.T, root string) string {
	t.Helper()
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("holdfast-docs-%x", sha256.Sum256([]byte(root)))[:32])
	if os.Mkdir(dir, 0o700) != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// programs writes all programs of the pages into one module, and returns its folder.
func programs(t *testing.T, all []fence) string {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := workshop(t, root)
	write := func(name, text string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	_, requires, _ := strings.Cut(string(mod), "\n")
	write("go.mod", "module example.com\n"+requires+"\nrequire holdfast v0.0.0\n\nreplace holdfast => "+root+"\n")
	sums, err := os.ReadFile("../go.sum")
	if err != nil {
		t.Fatal(err)
	}
	write("go.sum", string(sums))
	for _, f := range all {
		switch {
		case f.language != "go":
		case f.file != "":
			if pretty, err := format.Source([]byte(f.text)); err != nil || string(pretty) != f.text {
				t.Errorf("%s: %s is not formatted: %v", f, f.file, err)
			}
			write(f.file, f.text)
		case strings.HasPrefix(f.text, "func main()"):
			write("readme/main.go", readme+f.text)
		}
	}
	write("asked/main.go", asked)
	return dir
}

func goes(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod '-ldflags=-s -w'", "GOPROXY=off", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// bare is text without what does not matter to a reader who compares: indentation, and alignment.
func bare(text string) (lines []string) {
	for line := range strings.Lines(text) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return lines
}

// holds reports whether the whole has the parts as they are, one somewhere behind the other.
func holds(whole []string, parts [][]string) bool {
	for _, part := range parts {
		at := -1
		for i := 0; i+len(part) <= len(whole); i++ {
			if slices.Equal(whole[i:i+len(part)], part) {
				at = i
				break
			}
		}
		if at < 0 {
			return false
		}
		whole = whole[at+len(part):]
	}
	return true
}

// Each piece of Go in a page is one of a program that is compiled and tested: of the page's own, or of an example. A line of
// three dots stands for what is left out.
func TestEachPieceOfGoInThePagesIsOneOfAProgram(t *testing.T) {
	all := fences(t)
	wholes := make(map[string][]string)
	for _, f := range all {
		if f.language == "go" && (f.file != "" || strings.HasPrefix(f.text, "func main()")) {
			wholes[f.String()] = bare(f.text)
		}
	}
	for _, pattern := range []string{"../examples/*/*.go", "../objects/*_test.go", "../objects/*/*_test.go", "../client/*_test.go", "../acceptance/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			wholes[file] = bare(string(source))
		}
	}
	pieces := 0
	for _, f := range all {
		if f.language != "go" || f.file != "" {
			continue
		}
		pieces++
		var parts [][]string
		part := []string{}
		for _, line := range bare(f.text) {
			if line == "..." || line == "// ..." {
				parts, part = append(parts, part), []string{}
				continue
			}
			part = append(part, line)
		}
		parts = append(parts, part)
		found := false
		for _, whole := range wholes {
			found = found || holds(whole, parts)
		}
		if !found {
			t.Errorf("%s: no program has this:\n%s", f, f.text)
		}
	}
	if pieces < 10 {
		t.Errorf("%d pieces were found", pieces)
	}
}

var curl = regexp.MustCompile(`^\$ curl (?:-X (\w+) )?(?:-d '([^']*)' )?localhost:(878\d)(\S+)$`)

// The programs of all pages are compiled, their tests pass, and the first one does in a process what its page says, also after
// it was killed.
func TestTheProgramsInThePagesRun(t *testing.T) {
	all := fences(t)
	dir := programs(t, all)
	goes(t, dir, "vet", "./...")
	goes(t, dir, "test", "-vet=off", "-count=1", "./...")
	program := filepath.Join(dir, "guestbook.exe")
	goes(t, dir, "build", "-o", program, "./guestbook")
	store := filepath.Join(dir, "store")
	for _, f := range all {
		if f.page != "first-object.md" || f.language != "console" {
			continue
		}
		at, _, kill := dev(t, program, store)
		session(t, f, at)
		kill()
	}
	askFromOutside(t, dir)
}

// asked has the objects that the program of client.md asks.
const asked = `package main

import (
	"holdfast/app"
	"holdfast/examples/chat"
	"holdfast/examples/ticket"
	"holdfast/objects"
)

func main() {
	app.Main(app.Config{Objects: []*objects.Implementation{ticket.Objects, chat.Objects}})
}
`

// askFromOutside runs the program of client.md beside one that has the objects.
func askFromOutside(t *testing.T, dir string) {
	t.Helper()
	goes(t, dir, "build", "-o", "asked.exe", "./asked")
	goes(t, dir, "build", "-o", "asker.exe", "./asker")
	_, nats, kill := dev(t, filepath.Join(dir, "asked.exe"), filepath.Join(dir, "asked store"))
	defer kill()
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "asker.exe"), nats)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for _, want := range []string{"ticket 1", "not_found: no host runs class board", `{}`, `{"here":["asker"]}`} {
		if !lines.Scan() || lines.Text() != want {
			t.Errorf("it says %q, want %q", lines.Text(), want)
		}
	}
	_ = cmd.Process.Kill()
	if err := cmd.Wait(); t.Failed() {
		t.Logf("it ended with %v: %s", err, complaint.String())
	}
}

// dev runs a program's dev until kill, and returns where its three gateways and its NATS are.
func dev(t *testing.T, program, store string) (at map[string]string, nats string, kill func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, "dev", "--rtt", "0", "--port", "0", "--nats-port", "0", "--store", store, "--log-level", "error", "--json")
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	t.Cleanup(kill)
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatalf("it said nothing: %v\n%s", err, complaint.String())
	}
	var said struct {
		Regions []struct{ URL string }
		NATS    string
	}
	if err := json.Unmarshal(line, &said); err != nil || len(said.Regions) != 3 {
		t.Fatalf("it said %s: %v", line, err)
	}
	at = make(map[string]string)
	for i, r := range said.Regions {
		at[fmt.Sprint(8787+i)] = r.URL
	}
	return at, said.NATS, kill
}

// session asks what a page asks, and compares the answers.
func session(t *testing.T, f fence, at map[string]string) {
	t.Helper()
	client := &http.Client{Timeout: 30 * time.Second}
	answer := ""
	for line := range strings.Lines(f.text) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "$") {
			if line != answer {
				t.Errorf("%s: the answer is %s, and the page says %s", f, answer, line)
			}
			continue
		}
		part := curl.FindStringSubmatch(line)
		if part == nil {
			t.Fatalf("%s: not understood: %s", f, line)
		}
		method := part[1]
		switch {
		case method == "" && part[2] != "":
			method = http.MethodPost
		case method == "":
			method = http.MethodGet
		}
		r, err := http.NewRequestWithContext(t.Context(), method, at[part[3]]+part[4], strings.NewReader(part[2]))
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		said, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		answer = strings.TrimSpace(string(said))
	}
}
