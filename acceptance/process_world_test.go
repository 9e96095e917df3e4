//go:build unix

package acceptance

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "holdfast/app" // not called, but run: a cached result of these tests must not outlive a change of it
)

// program builds cmd/holdfast, once, beside the test binary: go test removes that folder. A link without debug information
// takes two thirds of the time.
var program = sync.OnceValues(func() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	binary := filepath.Join(filepath.Dir(self), "holdfast-under-test")
	out, err := exec.Command("go", "build", "-ldflags=-w", "-o", binary, "holdfast/cmd/holdfast").CombinedOutput()
	if err != nil {
		return "", errors.Join(err, errors.New(string(out)))
	}
	return binary, nil
})

func holdfast(t testing.TB) string {
	t.Helper()
	binary, err := program()
	if err != nil {
		t.Fatalf("build the program: %v", err)
	}
	return binary
}

// process is a program that runs until it is killed, or ends by itself.
type process struct {
	t              testing.TB
	name           string
	cmd            *exec.Cmd
	stdout, stderr transcript
	ended          chan struct{} // closed when it has
}

// transcript is what a process has written so far.
type transcript struct {
	mu  sync.Mutex
	all bytes.Buffer
}

// Write keeps p.
func (w *transcript) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all.Write(p)
}

func (w *transcript) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all.String()
}

// start runs a program in a process group of its own, which is gone when the
// test ends. What it wrote is shown if the test failed.
func start(t testing.TB, name string, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, name: name, cmd: cmd, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.stdout, &p.stderr
	cmd.Env = append(cmd.Environ(), "TMPDIR="+t.TempDir()) // who is killed removes nothing
	cmd.SysProcAttr = ownGroup()
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		_ = cmd.Wait() // ProcessState says how it ended
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it has ended if there is none
		<-p.ended
		if t.Failed() {
			t.Logf("%s wrote:\n%s%s", name, tail(p.stdout.String()), tail(p.stderr.String()))
		}
	})
	return p
}

// tail returns the last part of a text.
func tail(s string) string {
	const most = 8 << 10
	if len(s) <= most {
		return s
	}
	return "...\n" + s[len(s)-most:]
}

// run starts a command of holdfast that serves, and decodes what it prints on
// standard output when it does.
func run(t testing.TB, into any, args ...string) *process {
	t.Helper()
	return runs(t, into, exec.Command(holdfast(t), append(args, "--json")...))
}

// runs is run for any program.
func runs(t testing.TB, into any, cmd *exec.Cmd) *process {
	t.Helper()
	p := start(t, strings.Join(cmd.Args[1:], " "), cmd)
	var said string
	await(t, p.name+" says that it is ready", func() bool {
		var whole bool
		said, _, whole = strings.Cut(p.stdout.String(), "\n")
		return whole || p.hasEnded()
	})
	if p.hasEnded() {
		t.Fatalf("%s ended with %v: %s", p.name, p.cmd.ProcessState, said)
	}
	decode(t, said, into)
	return p
}

// once runs a command of holdfast that ends by itself, and returns how.
func once(t testing.TB, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	p := start(t, strings.Join(args, " "), exec.Command(holdfast(t), args...))
	p.wait()
	return p.cmd.ProcessState.ExitCode(), p.stdout.String(), p.stderr.String()
}

func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("send %s %v: %v", p.name, s, err)
	}
}

func (p *process) wait() syscall.WaitStatus {
	p.t.Helper()
	await(p.t, p.name+" has ended", p.hasEnded)
	return p.cmd.ProcessState.Sys().(syscall.WaitStatus)
}

// kill kills the process with SIGKILL, and returns when the process has ended.
func (p *process) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	if how := p.wait(); !how.Signaled() || how.Signal() != syscall.SIGKILL {
		p.t.Fatalf("%s: %v, want it dead of SIGKILL", p.name, p.cmd.ProcessState)
	}
}

// stopsInOrder sends a signal that asks the process to stop, and checks that it drains,
// reports that, and ends with 0.
func (p *process) stopsInOrder(s syscall.Signal) {
	p.t.Helper()
	p.signal(s)
	if how := p.wait(); how.ExitStatus() != 0 {
		p.t.Errorf("%s, told to stop: %v", p.name, p.cmd.ProcessState)
	}
	if !p.logged("draining") || !p.logged("drained") {
		p.t.Errorf("%s did not say that it drains and has drained", p.name)
	}
}

// logged reports whether the process has logged a message; it was run with --json.
func (p *process) logged(message string) bool {
	for line := range strings.Lines(p.stderr.String()) {
		var said struct{ Msg string }
		if json.Unmarshal([]byte(line), &said) == nil && said.Msg == message {
			return true
		}
	}
	return false
}

// fleet is NATS, hosts and gateways, each a process.
type fleet struct {
	t      testing.TB
	nats   string
	port   string // of NATS
	server *process
	store  string
}

func newFleet(t testing.TB) *fleet {
	t.Helper()
	f := &fleet{t: t, port: keptPorts(t, 1)[0], store: t.TempDir()}
	f.startNATS()
	return f
}

func (f *fleet) startNATS() {
	f.t.Helper()
	var said struct{ NATS string }
	f.server = run(f.t, &said, "nats", "--port", f.port, "--store", f.store, "--rtt", "0")
	f.nats = said.NATS
}

func (f *fleet) host(name string) *process {
	f.t.Helper()
	var said struct{ Host string }
	p := run(f.t, &said, "host", "--name", name, "--region", "fra", "--nats", f.nats, "--rtt", "0")
	if said.Host != name {
		f.t.Fatalf("the host calls itself %q, want %q", said.Host, name)
	}
	return p
}

func (f *fleet) gateway(region string) *door {
	f.t.Helper()
	var said struct{ URL string }
	run(f.t, &said, "gateway", "--demo", "--region", region, "--nats", f.nats, "--rtt", "0", "--listen", "127.0.0.1:0")
	return &door{url: said.URL}
}
