package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed workerd/package.json workerd/config.capnp workerd/worker.js
var workerdFiles embed.FS

// kit holds the programs that peers are started from. All but the installed workerd are in dir.
type kit struct {
	root     string // of the module
	dir      string // close removes it
	holdfast string // the program under test, and the load generator for all peers
	self     string // this program, for the raw limits and for serve
	nats     string // nats-server; empty until asked for
	workerd  string // empty until asked for
}

// newKit builds what every run needs.
func newKit(ctx context.Context) (*kit, error) {
	mod, err := output(ctx, "go", "env", "GOMOD")
	if err != nil {
		return nil, err
	}
	if filepath.Base(mod) != "go.mod" {
		return nil, errors.New("this is not Holdfast's folder; run it there: go run ./bench")
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	dir, err := os.MkdirTemp("", "holdfast-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the run: %w", err)
	}
	k := &kit{root: filepath.Dir(mod), dir: dir, self: self}
	err = os.Setenv("TMPDIR", dir) // files that a killed process leaves behind are removed with dir
	if err == nil {
		k.holdfast, err = k.build(ctx, "holdfast/cmd/holdfast")
	}
	if err != nil {
		k.close()
		return nil, err
	}
	return k, nil
}

func (k *kit) close() { os.RemoveAll(k.dir) } // a remainder in the temporary folder does no harm

// folder makes a new folder, which is removed with the kit.
func (k *kit) folder(name string) (string, error) {
	dir, err := os.MkdirTemp(k.dir, name+"-")
	if err != nil {
		return "", fmt.Errorf("make a folder for %s: %w", name, err)
	}
	return dir, nil
}

// build builds a command of this module or of one it needs.
func (k *kit) build(ctx context.Context, pkg string) (string, error) {
	say("building %s", pkg)
	into := filepath.Join(k.dir, filepath.Base(strings.TrimSuffix(pkg, "/v2")))
	_, err := output(ctx, "go", "build", "-C", k.root, "-o", into, pkg)
	return into, err
}

// natsServer builds nats-server in the version of go.mod.
func (k *kit) natsServer(ctx context.Context) (string, error) {
	var err error
	if k.nats == "" {
		k.nats, err = k.build(ctx, "github.com/nats-io/nats-server/v2")
	}
	return k.nats, err
}

// workerdVersion returns the version that package.json pins.
func workerdVersion() string {
	file, err := workerdFiles.ReadFile("workerd/package.json")
	var pinned struct {
		Dependencies map[string]string `json:"dependencies"`
	}
	if err == nil {
		err = json.Unmarshal(file, &pinned)
	}
	if err != nil {
		panic("bench: workerd/package.json: " + err.Error())
	}
	return pinned.Dependencies["workerd"]
}

// workerdBinary returns the path of workerd, and installs it into the user's cache if it is missing.
func (k *kit) workerdBinary(ctx context.Context) (string, error) {
	if k.workerd != "" {
		return k.workerd, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a place for workerd: %w", err)
	}
	dir := filepath.Join(cache, "holdfast-bench", "workerd-"+workerdVersion())
	binary := filepath.Join(dir, "node_modules", "workerd", "bin", "workerd")
	if _, err := os.Stat(binary); err != nil {
		say("installing workerd %s into %s", workerdVersion(), dir)
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return "", fmt.Errorf("make a place for workerd: %w", err)
		}
		_, err := output(ctx, "npm", "install", "--prefix", dir, "--no-audit", "--no-fund", "--loglevel=error", "workerd@"+workerdVersion())
		if err != nil {
			return "", fmt.Errorf("%w\nwithout workerd: --only always,default,fiber,nats", err)
		}
	}
	k.workerd = binary
	return binary, nil
}

// output runs a command and returns its output. An error contains the output.
func output(ctx context.Context, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", cmd, err, complaint.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// load runs the load generator and returns its figures.
func (k *kit) load(ctx context.Context, args ...string) (sample, error) {
	return k.generate(ctx, args, k.holdfast)
}

// flood is load at a lowered priority: with more clients than would ever run on the server's
// machine.
func (k *kit) flood(ctx context.Context, args ...string) (sample, error) {
	return k.generate(ctx, args, "nice", "-n", "19", k.holdfast)
}

// generate runs the load generator, as a command that may begin with another program.
func (k *kit) generate(ctx context.Context, args []string, command ...string) (sample, error) {
	p, err := start(ctx, "holdfast bench", command[0], slices.Concat(command[1:], []string{"bench"}, args, []string{"--json"})...)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	<-p.ended
	line, ok := <-p.first
	if !ok {
		return nil, errors.Join(ctx.Err(), fmt.Errorf("holdfast bench %s said nothing: %s", strings.Join(args, " "), p.errors.tail()))
	}
	return decodeSample([]byte(line))
}

// decodeSample reads an answer of the load generator.
func decodeSample(answer []byte) (sample, error) {
	var told struct {
		OK       bool
		Error    struct{ Message string }
		Measured map[string]any
	}
	if err := json.Unmarshal(answer, &told); err != nil {
		return nil, fmt.Errorf("read the load generator's answer %q: %w", answer, err)
	}
	if !told.OK {
		return nil, fmt.Errorf("load: %s", told.Error.Message)
	}
	s := make(sample)
	for name, value := range told.Measured {
		if n, is := value.(float64); is {
			s[name] = n
		}
	}
	if s["due"] > 0 {
		s[delivered] = s["delivered"] / s["due"]
	}
	return s, nil
}
