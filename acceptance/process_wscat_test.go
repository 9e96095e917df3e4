//go:build unix

package acceptance

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// terminal is wscat in a terminal.
type terminal struct {
	*process
	keys io.Writer
}

func wscat(t *testing.T, url string) *terminal {
	t.Helper()
	command := os.Getenv("HOLDFAST_WSCAT")
	if command == "" {
		command = "wscat"
	}
	path, err := exec.LookPath(command)
	if err != nil {
		missing(t, "wscat", "npm install -g wscat, or HOLDFAST_WSCAT=path")
	}
	cmd := exec.Command(path, "--no-color", "-c", url)
	keys, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	return &terminal{start(t, "wscat", cmd), keys}
}

func (w *terminal) types(line string) {
	w.t.Helper()
	if _, err := fmt.Fprintln(w.keys, line); err != nil {
		w.t.Fatal(err)
	}
}

// shows waits for a message of this type and returns it.
func (w *terminal) shows(kind string) (m map[string]any) {
	w.t.Helper()
	await(w.t, "wscat shows a message of type "+kind, func() bool {
		for line := range strings.Lines(w.stdout.String()) {
			_, text, _ := strings.Cut(line, "{") // a prompt may stand before it
			m = nil
			if json.Unmarshal([]byte("{"+text), &m) == nil && m["type"] == kind {
				return true
			}
		}
		return false
	})
	return m
}

func TestWscatInTheRoom(t *testing.T) {
	beside(t, waiters)
	e := dev(t, "--store", "memory")
	amber := wscat(t, e.banner.WebSocket) // the line that the banner gives
	hello := amber.shows("hello")
	syd := strings.Replace(e.banner.Regions[2].URL, "http", "ws", 1) + "/room/lobby"
	jade := wscat(t, syd)
	if other := jade.shows("hello"); other["userId"] == hello["userId"] || len(other["peers"].([]any)) != 1 || other["region"] != "syd" {
		t.Errorf("hellos: %v and %v", hello, other)
	}
	joined := amber.shows("join")
	if joined["userId"] != jade.shows("hello")["userId"] {
		t.Errorf("join = %v", joined)
	}

	jade.types(`{"type":"cursor","x":10,"y":20}`)
	if m := amber.shows("cursor"); m["userId"] != joined["userId"] || m["x"] != 10.0 || m["y"] != 20.0 {
		t.Errorf("cursor = %v, want 10, 20 of %v", m, joined["userId"])
	}
	amber.types(`{"type":"said","text":"grüß dich"}`)
	if m := jade.shows("said"); m["userId"] != hello["userId"] || m["text"] != "grüß dich" {
		t.Errorf("said = %v, want it from %v", m, hello["userId"])
	}
	amber.types("hello?")
	if m := amber.shows("error"); m["code"] != "invalid" {
		t.Errorf("error = %v, want invalid", m)
	}
	jade.kill()
	if m := amber.shows("leave"); m["userId"] != joined["userId"] {
		t.Errorf("leave = %v, want %v", m, joined["userId"])
	}
}
