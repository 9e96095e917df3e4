package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// ownGroup starts a process that can be killed with all its children, and that
// dies with this program, however that ends.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// freeze stops the process and returns when the kernel says that it stands.
func (p *process) freeze() (string, error) {
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return "", fmt.Errorf("freeze %s: %w", p.name, err)
	}
	for range 100 {
		if p.stands() {
			return fmt.Sprintf("%s (pid %d) stands", p.name, p.cmd.Process.Pid), nil
		}
		time.Sleep(pollEvery)
	}
	return "", fmt.Errorf("%s goes on in spite of SIGSTOP", p.name)
}

func (p *process) stands() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	_, after, _ := strings.Cut(string(stat), ") ") // the name before may hold blanks
	return err == nil && strings.HasPrefix(after, "T")
}
