package main

import (
	"errors"
	"os"
)

// killGroup kills only the process: Windows has no process groups here.
func killGroup(pid int) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return p.Kill()
}

// thaw exists because freezing needs Linux.
func (p *process) thaw() error { return errors.New("thawing a process needs Linux") }
