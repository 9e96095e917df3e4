//go:build unix && !linux

package acceptance

import "syscall"

// ownGroup starts a process that can be killed with all its children.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
