package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	readyTime = 40 * time.Second // longest start of a process, on a machine that does other things as well
	stopTime  = 14 * time.Second // longest stop of one that was asked to: Timing.Drain, and slack
	pollEvery = 20 * time.Millisecond
)

// process is a program in a process group of its own.
type process struct {
	name  string
	cmd   *exec.Cmd
	log   *os.File
	first chan string   // its first line, or nothing; read closes it
	ended chan struct{} // closed when the process has ended and read has returned
}

// start starts a program whose standard error goes to the end of a file. It is killed when ctx
// ends.
func start(ctx context.Context, name, log, program string, args ...string) (*process, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", name, err)
	}
	p := &process{name: name, cmd: exec.CommandContext(ctx, program, args...), log: file, first: make(chan string, 1), ended: make(chan struct{})}
	p.cmd.SysProcAttr = ownGroup()
	p.cmd.Cancel = func() error { return killGroup(p.cmd.Process.Pid) }
	p.cmd.Stderr = file
	stdout, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		file.Close() // nothing was written
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go p.read(stdout)
	return p, nil
}

// read reads the output of the process until the process ends.
func (p *process) read(stdout io.Reader) {
	defer close(p.ended)
	defer p.log.Close() // the process has written all of it
	lines := bufio.NewReader(stdout)
	if line, err := lines.ReadString('\n'); err == nil {
		p.first <- line
	}
	close(p.first)
	_, _ = io.Copy(io.Discard, lines) // ends with the process
	_ = p.cmd.Wait()                  // ProcessState says how it ended
}

// banner decodes the first line, by which our programs say that they are ready.
func (p *process) banner(ctx context.Context, into any) error {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	select {
	case line, ok := <-p.first:
		if !ok {
			return fmt.Errorf("%s ended before it was ready:\n%s", p.name, p.tail())
		}
		if err := json.Unmarshal([]byte(line), into); err != nil {
			return fmt.Errorf("%s said %q: %w", p.name, strings.TrimSpace(line), err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s was not ready: %w\n%s", p.name, ctx.Err(), p.tail())
	}
}

// tail returns the last part of the log of the process.
func (p *process) tail() string {
	text, err := os.ReadFile(p.log.Name())
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2<<10):])
}

// kill kills the process with SIGKILL. It returns when the process has ended, with a description of
// the end.
func (p *process) kill() string {
	_ = killGroup(p.cmd.Process.Pid) // no such process: it has ended
	<-p.ended
	return fmt.Sprintf("%s (pid %d): %s", p.name, p.cmd.Process.Pid, p.cmd.ProcessState)
}

// terminate sends SIGTERM and returns how the process ended. A process that does not end is killed.
func (p *process) terminate() (string, error) {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return "", fmt.Errorf("stop %s: %w", p.name, err)
	}
	began := time.Now()
	select {
	case <-p.ended:
	case <-time.After(stopTime):
		return "", fmt.Errorf("%s, killed: it had not stopped %v after SIGTERM", p.kill(), stopTime)
	}
	how := fmt.Sprintf("%s (pid %d): %s after %v", p.name, p.cmd.Process.Pid, p.cmd.ProcessState, time.Since(began).Round(time.Millisecond))
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return how, fmt.Errorf("%s: want exit code 0", how)
	}
	return how, nil
}

// kit is the binaries and files of worlds. All of it is in dir.
type kit struct {
	root string // of the module
	dir  string
	temp bool   // close removes dir
	self string // this program, for serve
	nats string // nats-server

	origin string // of a page of another server that may use the gateways; empty: there is none
}

// newKit builds nats-server. Histories and logs go to the folder that is given, if one is.
func newKit(ctx context.Context, keep string) (*kit, error) {
	mod, err := output(ctx, "go", "env", "GOMOD")
	if err != nil {
		return nil, err
	}
	if filepath.Base(mod) != "go.mod" {
		return nil, errors.New("this is not Holdfast's folder; run it there: go run ./chaos")
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	k := &kit{root: filepath.Dir(mod), dir: keep, self: self}
	if keep == "" {
		k.temp = true
		k.dir, err = os.MkdirTemp("", "holdfast-chaos-")
	} else {
		err = os.MkdirAll(keep, 0o750)
	}
	if err == nil {
		k.dir, err = filepath.Abs(k.dir)
	}
	if err != nil {
		return nil, fmt.Errorf("make a folder for the run: %w", err)
	}
	k.nats = filepath.Join(k.dir, "nats-server")
	say("building nats-server")
	if _, err = output(ctx, "go", "build", "-C", k.root, "-o", k.nats, "github.com/nats-io/nats-server/v2"); err != nil {
		k.close()
		return nil, err
	}
	return k, nil
}

func (k *kit) close() {
	_ = os.Remove(k.nats) // it goes with the folder if not now
	if k.temp {
		_ = os.RemoveAll(k.dir) // what is left of it is the system's to clean up
	}
}

// output runs a command that ends by itself. An error contains the output.
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

// freePort returns a port on which nothing listens. If another program takes the port first, the
// program that was meant to have it fails to start and says so.
func freePort() (int, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	return ln.Addr().(*net.TCPAddr).Port, ln.Close()
}
