package embedded

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

var errLocked = errors.New("locked by another process")

// lockStore makes the store this server's own until release is called or the process ends,
// however it ends: the lock belongs to the open file, the file itself stays.
func lockStore(dir string) (release func(), err error) {
	path := filepath.Join(dir, "holdfast.lock")
	f, err := openLocked(path)
	if errors.Is(err, errLocked) {
		return nil, &StoreInUseError{Dir: dir, PID: readPID(path)}
	}
	if err != nil {
		return nil, fmt.Errorf("lock store %s: %w", dir, err)
	}
	if err := writePID(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock store %s: %w", dir, err)
	}
	return func() { _ = f.Truncate(0); f.Close() }, nil
}

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// readPID returns whom the lock file names, 0 if nobody: it may be read just before its owner
// has written itself.
func readPID(path string) int {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	b, _ := io.ReadAll(io.LimitReader(f, 32))
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return pid
}
