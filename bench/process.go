package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	readyTime = 30 * time.Second // longest start of a peer; three NATS servers need a few
	pollEvery = 20 * time.Millisecond
)

// process is a server in a process group of its own.
type process struct {
	name   string
	cmd    *exec.Cmd
	errors transcript
	first  chan string   // its first line, or nothing; read closes it
	ended  chan struct{} // closed when the process has ended and read has returned
}

// start starts a program. It is killed when ctx ends, or by stop.
func start(ctx context.Context, name, program string, args ...string) (*process, error) {
	p := &process{name: name, cmd: exec.CommandContext(ctx, program, args...), first: make(chan string, 1), ended: make(chan struct{})}
	p.cmd.SysProcAttr = ownGroup()
	p.cmd.Cancel = p.kill
	p.cmd.Stderr = &p.errors
	stdout, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go p.read(stdout)
	return p, nil
}

// read reads the output of the process until the process ends.
func (p *process) read(stdout io.Reader) {
	defer close(p.ended)
	lines := bufio.NewReader(stdout)
	if line, err := lines.ReadString('\n'); err == nil {
		p.first <- line
	}
	close(p.first)
	_, _ = io.Copy(io.Discard, lines) // ends with the process
	_ = p.cmd.Wait()                  // the process was killed, or its standard error has the reason
}

func (p *process) kill() error { return killGroup(p.cmd.Process.Pid) }

// stop kills the process with its children and waits until it has ended.
func (p *process) stop() {
	_ = p.kill() // no such process: it has ended
	<-p.ended
}

// banner decodes the first line of output, by which our programs say that they are ready.
func (p *process) banner(ctx context.Context, into any) error {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	select {
	case line, ok := <-p.first:
		if !ok {
			return p.failed(errors.New("it ended before it was ready"))
		}
		if err := json.Unmarshal([]byte(line), into); err != nil {
			return p.failed(fmt.Errorf("it said %q: %w", strings.TrimSpace(line), err))
		}
		return nil
	case <-ctx.Done():
		return p.failed(ctx.Err())
	}
}

// answers waits until the process answers a request with 200.
func (p *process) answers(ctx context.Context, method, url string) error {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	for {
		if answers(ctx, method, url) {
			return nil
		}
		select {
		case <-time.After(pollEvery):
		case <-p.ended:
			return p.failed(errors.New("it ended before it was ready"))
		case <-ctx.Done():
			return p.failed(ctx.Err())
		}
	}
}

func answers(ctx context.Context, method, url string) bool {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader("ready?"))
	if err != nil {
		return false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	res.Body.Close() // nothing was written
	return res.StatusCode == http.StatusOK
}

func (p *process) failed(err error) error {
	return fmt.Errorf("start %s: %w\n%s", p.name, err, p.errors.tail())
}

// transcript keeps the output of a process.
type transcript struct {
	mu  sync.Mutex
	all bytes.Buffer
}

// Write keeps b.
func (t *transcript) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.all.Write(b)
}

// tail returns the last part of the output.
func (t *transcript) tail() string {
	const most = 2 << 10
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.all.Bytes()
	return strings.TrimSpace(string(s[max(0, len(s)-most):]))
}

// freePort returns a port on which nobody listens. If another program takes the port first,
// the program that was meant to have it fails to start and says so.
func freePort() (int, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	return ln.Addr().(*net.TCPAddr).Port, ln.Close()
}

const ticks = 100 // clock ticks per second in /proc, on every Linux that Go runs on

// processorTime returns the processor time of the processes. It needs Linux's /proc.
func processorTime(pids []int) (time.Duration, error) {
	var all time.Duration
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, fmt.Errorf("read the processor time of process %d: %w", pid, err)
		}
		_, after, _ := strings.Cut(string(stat), ") ") // the process name before it may contain blanks
		fields := strings.Fields(after)
		for _, field := range fields[11:13] { // utime and stime, the 14th and 15th of all
			n, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read the processor time of process %d: %w", pid, err)
			}
			all += time.Duration(n) * time.Second / ticks
		}
	}
	return all, nil
}
