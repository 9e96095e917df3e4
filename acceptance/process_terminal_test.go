//go:build linux

package acceptance

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"
)

// pseudoTerminal opens a pseudo-terminal: output of programs to one file is read from the other.
func pseudoTerminal(t *testing.T) (screen, program *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		missing(t, "/dev/ptmx", err.Error())
	}
	t.Cleanup(func() { screen.Close() })
	var unlock, number int32
	for request, value := range map[uintptr]*int32{syscall.TIOCSPTLCK: &unlock, syscall.TIOCGPTN: &number} {
		if _, _, failed := syscall.Syscall(syscall.SYS_IOCTL, screen.Fd(), request, uintptr(unsafe.Pointer(value))); failed != 0 {
			t.Fatal(failed)
		}
	}
	program, err = os.OpenFile(fmt.Sprint("/dev/pts/", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return screen, program
}

// Colours are for terminals of people who want them.
func TestDevOnATerminalIsColouredUnlessThatIsNotWanted(t *testing.T) {
	beside(t, waiters)
	for env, coloured := range map[string]bool{"NO_COLOR=": true, "NO_COLOR=yes": false, "TERM=dumb": false} {
		screen, tty := pseudoTerminal(t)
		cmd := exec.Command(holdfast(t), "dev", "--port", "0", "--nats-port", "0", "--store", "memory", "--rtt", "0", "--regions", "fra")
		cmd.Env = append(os.Environ(), "TERM=xterm-256color", "NO_COLOR=", env)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var shown transcript
		read := make(chan struct{})
		go func() {
			defer close(read)
			_, _ = io.Copy(&shown, screen) // an error when nobody has the terminal any more
		}()
		var once sync.Once
		end := func(s syscall.Signal) {
			once.Do(func() {
				_ = cmd.Process.Signal(s) // it has ended if that fails
				_ = cmd.Wait()            // what it has shown says more than how it ended
				tty.Close()
				<-read
			})
		}
		t.Cleanup(func() { end(syscall.SIGKILL) })
		await(t, "the banner is there", func() bool { return strings.Contains(shown.String(), "Another region") })
		end(syscall.SIGINT)
		if got := strings.Contains(shown.String(), "\x1b"); got != coloured {
			t.Errorf("with %s the terminal was sent escape sequences: %v, want %v:\n%q", env, got, coloured, shown.String())
		}
	}
}
