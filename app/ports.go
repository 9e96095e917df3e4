package app

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"holdfast/embedded"
	"holdfast/objects"
)

// listen listens for HTTP. If the port is taken, the error says by which process; hint says which flag to change.
func listen(addr, hint string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, portTaken(addr, hint)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return ln, nil
}

const (
	opsAnywhere = "127.0.0.1:0"
	opsOff      = "off"
)

// opsFlag adds --ops-listen.
func opsFlag(c *cobra.Command, to *string) {
	c.Flags().StringVar(to, "ops-listen", opsAnywhere, "address for /metrics, /readyz with details and /debug/pprof, which are not for clients; :0 is a free port, off is none")
}

// listenOps listens for operations. It returns nil if that is turned off.
func listenOps(addr string) (net.Listener, error) {
	if addr == opsOff {
		return nil, nil
	}
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return nil, usage(fmt.Errorf("--ops-listen %.80q: want an address and a port, as 127.0.0.1:9090 or :9090, or off", addr), "")
	}
	return listen(addr, "listen elsewhere:  --ops-listen 127.0.0.1:9091\nor on any port:    --ops-listen "+opsAnywhere+"\nor not at all:     --ops-listen "+opsOff)
}

// portTaken returns the error for a port that is taken.
func portTaken(addr, hint string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		port = addr
	}
	by := ""
	if n, err := strconv.Atoi(port); err == nil {
		by = holder("/proc", n)
	}
	return &failure{code: "port_taken", exit: exitTaken, err: fmt.Errorf("port %s is taken%s", port, by), hint: hint}
}

// serverFailed returns the error of a server that did not start; hint says which flag gives it another port.
func serverFailed(err error, hint string) error {
	if taken, ok := errors.AsType[*embedded.PortTakenError](err); ok {
		return portTaken(taken.Addr, hint)
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		f := describe(err)
		if errors.Is(err, syscall.ENOTDIR) {
			f.code, f.exit = string(objects.Invalid), exitUsage
		}
		f.hint = "keep the data elsewhere:  --store DIR\nor nowhere:               --store " + memoryStore
		return f
	}
	return err
}

// holder returns which process listens on a port, as ` (by pid 4412 "node")`. It is empty without /proc, or if the
// process belongs to another user.
func holder(proc string, port int) string {
	inodes := make(map[string]bool)
	for _, table := range []string{"tcp", "tcp6"} {
		listening(filepath.Join(proc, "net", table), port, inodes)
	}
	links, _ := filepath.Glob(filepath.Join(proc, "[0-9]*", "fd", "*")) // fails only on a bad pattern
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil || !inodes[strings.TrimSuffix(strings.TrimPrefix(target, "socket:["), "]")] {
			continue
		}
		dir := filepath.Dir(filepath.Dir(link))
		name, err := os.ReadFile(filepath.Join(dir, "comm"))
		if err != nil {
			return fmt.Sprintf(" (by pid %s)", filepath.Base(dir))
		}
		return fmt.Sprintf(" (by pid %s %q)", filepath.Base(dir), strings.TrimSpace(string(name)))
	}
	return ""
}

// listening adds the inodes of the sockets that listen on a port, from a table as
// proc(5) describes: field 1 is the local address, 3 the state, 9 the inode.
func listening(table string, port int, inodes map[string]bool) {
	const stateListen = "0A"
	f, err := os.Open(table)
	if err != nil {
		return
	}
	defer f.Close()
	suffix := fmt.Sprintf(":%04X", port)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) > 9 && strings.HasSuffix(fields[1], suffix) && fields[3] == stateListen {
			inodes[fields[9]] = true
		}
	}
}

// webURL returns how a browser on this machine reaches a listener, without a slash at
// the end.
func webURL(ln net.Listener) string {
	addr, ok := ln.Addr().(*net.TCPAddr)
	if !ok {
		return "http://" + ln.Addr().String()
	}
	host := addr.IP.String()
	if addr.IP.IsLoopback() || addr.IP.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(addr.Port))
}
