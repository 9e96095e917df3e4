//go:build unix

package main

import "syscall"

// killGroup kills a process with all its children.
func killGroup(pid int) error { return syscall.Kill(-pid, syscall.SIGKILL) }

// settle writes what earlier runs have left in memory to the disk, so that the next one does
// not pay for it.
func settle() { syscall.Sync() }
