package app_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"holdfast/app"
	"holdfast/gateway"
)

// asProgram makes the test binary the program itself, for what only a process can show.
const asProgram = "HOLDFAST_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		app.Main(app.Config{Worker: func(r fiber.Router, _ *gateway.Env) {
			r.Get("/endless", func(c *fiber.Ctx) error {
				c.Context().SetBodyStreamWriter(func(w *bufio.Writer) {
					fmt.Fprintln(w, "begun")
					w.Flush() // the client waits for it
					<-make(chan struct{})
				})
				return nil
			})
		}})
	}
	flag.Parse()
	// Tests that run beside others wait: there may be more of them than processors.
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// startProgram runs dev in a process of its own until its banner is there.
func startProgram(t *testing.T) (*exec.Cmd, *output, devBanner) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "dev", "--json", "--port", "0", "--nats-port", "0", "--store", "memory", "--rtt", "0", "--regions", "fra")
	cmd.Env = append(os.Environ(), asProgram+"=1")
	stdout, stderr := newOutput(), newOutput()
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-stdout.line:
	case <-time.After(time.Minute):
		t.Fatalf("no banner in 30 s:\n%s", stderr)
	}
	var b devBanner
	if err := json.Unmarshal([]byte(stdout.String()), &b); err != nil {
		t.Fatal(err)
	}
	return cmd, stderr, b
}

func interrupt(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
}

func TestOneCtrlCEndsInOrder(t *testing.T) {
	cmd, stderr, _ := startProgram(t)
	interrupt(t, cmd)
	if err := cmd.Wait(); err != nil || !strings.Contains(stderr.String(), `"msg":"drained"`) {
		t.Errorf("ended with %v:\n%s", err, stderr)
	}
}

func TestASecondCtrlCQuitsAtOnce(t *testing.T) {
	cmd, stderr, b := startProgram(t)
	resp, err := http.Get(b.Regions[0].URL + "/endless") // holds the draining up
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if line, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil || line != "begun\n" {
		t.Fatalf("read %q: %v", line, err)
	}
	interrupt(t, cmd)
	deadline := time.After(time.Minute)
	for !strings.Contains(stderr.String(), `"msg":"draining"`) {
		select {
		case <-deadline:
			t.Fatalf("no draining:\n%s", stderr)
		case <-time.After(time.Millisecond):
		}
	}
	interrupt(t, cmd)
	err = cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 130 {
		t.Errorf("ended with %v, want exit code 130:\n%s", err, stderr)
	}
}
