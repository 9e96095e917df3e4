package embedded

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// PortTakenError says that something else listens on the address. Nothing was started or written.
type PortTakenError struct {
	Addr string // "127.0.0.1:4222"
}

func (e *PortTakenError) Error() string {
	return fmt.Sprintf("listen on %s: the port is taken: stop what listens there or choose another port", e.Addr)
}

// StoreInUseError says that another server works on the store. Nothing was started or written.
type StoreInUseError struct {
	Dir string
	PID int // of the process that holds it, 0 if it could not be learned
}

func (e *StoreInUseError) Error() string {
	who := "another process"
	if e.PID != 0 {
		who = fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("store %s is in use by %s: stop it or choose another --store", e.Dir, who)
}

// TornStoreError says that the store holds a stream whose creation was cut short: its meta.inf
// is there, its meta.sum is not. nats-server leaves such a stream out without an error; made
// again under its name it takes and acknowledges writes, and all of them are gone after the next
// restart. Nothing was started or written.
type TornStoreError struct {
	Dir      string // the stream's directory
	Messages bool   // it holds message blocks, so it was in use and may be worth keeping
}

func (e *TornStoreError) Error() string {
	account := filepath.Dir(filepath.Dir(e.Dir))
	aside := filepath.Join(filepath.Dir(filepath.Dir(account)), "unfinished-"+filepath.Base(e.Dir))
	holds := "it holds no messages"
	if e.Messages {
		holds = "it holds messages, so keep what you move"
	}
	return fmt.Sprintf("stream directory %s is unfinished: meta.inf is there but meta.sum is not, because the server "+
		"was stopped while it made the stream; starting on it would lose what is written to that stream next; %s; "+
		"move it away and start again: mv %s %s", e.Dir, holds, quote(e.Dir), quote(aside))
}

// quote makes a path safe to paste into a shell.
func quote(path string) string { return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'" }

// checkPort finds out early whether the server will be able to listen. Another process may
// still take the port before the server does; then Start fails with the server's own words.
func checkPort(host string, port int) error {
	if port < -1 || port > 65535 {
		return fmt.Errorf("listen on %s: %d is no port: give 1 to 65535, 0 for none or -1 for a free one", host, port)
	}
	if port <= 0 {
		return nil
	}
	addr := net.JoinHostPort(host, strconv.Itoa(port))
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return &PortTakenError{Addr: addr}
	}
	if err != nil {
		return fmt.Errorf("listen on %s: %w", addr, err)
	}
	return l.Close()
}

// checkStreams looks at every stream of every account: <store>/jetstream/<account>/streams/<name>.
func checkStreams(store string) error {
	base := filepath.Join(store, "jetstream")
	accounts, err := entries(base)
	if err != nil {
		return err
	}
	for _, account := range accounts {
		streams, err := entries(filepath.Join(base, account, "streams"))
		if err != nil {
			return err
		}
		for _, name := range streams {
			if err := checkStream(filepath.Join(base, account, "streams", name)); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkStream(dir string) error {
	if strings.HasPrefix(filepath.Base(dir), ".") {
		return nil // being deleted; the server finishes that
	}
	inf, err := size(filepath.Join(dir, "meta.inf"))
	if err != nil || inf < 0 {
		return err // nothing was promised under this name yet
	}
	sum, err := size(filepath.Join(dir, "meta.sum"))
	if err != nil || sum > 0 {
		return err
	}
	blocks, err := filepath.Glob(filepath.Join(dir, "msgs", "*.blk"))
	if err != nil {
		return fmt.Errorf("check stream %s: %w", dir, err)
	}
	torn := &TornStoreError{Dir: dir}
	for _, block := range blocks {
		n, err := size(block)
		if err != nil {
			return err
		}
		torn.Messages = torn.Messages || n > 0
	}
	return torn
}

// entries lists the directories in dir, none if it is not there.
func entries(dir string) ([]string, error) {
	all, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("check store: %w", err)
	}
	var names []string
	for _, e := range all {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// size returns a file's length, -1 if it is not there.
func size(path string) (int64, error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return -1, nil
	}
	if err != nil {
		return 0, fmt.Errorf("check store: %w", err)
	}
	return info.Size(), nil
}
