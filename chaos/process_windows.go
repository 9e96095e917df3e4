package main

import (
	"errors"
	"os"
)

// killGroup kills the process alone: there are no groups here.
func killGroup(pid int) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return p.Kill()
}

// thaw is there for a process that was frozen, which needs Linux.
func (p *process) thaw() error { return errors.New("thawing a process needs Linux") }
