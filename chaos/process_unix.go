//go:build unix

package main

import (
	"fmt"
	"syscall"
)

// killGroup kills a process with all its children.
func killGroup(pid int) error { return syscall.Kill(-pid, syscall.SIGKILL) }

// thaw lets a frozen process go on.
func (p *process) thaw() error {
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		return fmt.Errorf("thaw %s: %w", p.name, err)
	}
	return nil
}
