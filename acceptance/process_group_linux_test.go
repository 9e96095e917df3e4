package acceptance

import "syscall"

// ownGroup starts a process that can be killed with all its children, and that
// dies with the test binary, however that ends.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
