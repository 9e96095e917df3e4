package app

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"holdfast/internal/link"
)

func TestOnlyOurOwnServersAreFarAwayByThemselves(t *testing.T) {
	tests := []struct {
		rtt, region, server string
		want                time.Duration
	}{
		{"real", "syd", "holdfast-dev-fra", 291 * time.Millisecond},
		{"real", "fra", "holdfast-dev-fra", 0},
		{"real", "syd", "NDQ7K2", 0},
		{"0", "syd", "holdfast-dev-fra", 0},
		{"40ms", "syd", "holdfast-dev-fra", 40 * time.Millisecond},
		{"40ms", "fra", "holdfast-dev-fra", 0},
		{"40ms", "syd", "NDQ7K2", 40 * time.Millisecond},
	}
	for _, tt := range tests {
		setting, err := link.Parse(tt.rtt)
		if err != nil {
			t.Fatal(err)
		}
		if got, _, err := distance(setting, tt.region, tt.server); err != nil || got != tt.want {
			t.Errorf("--rtt %s from %s to %s = %v %v, want %v", tt.rtt, tt.region, tt.server, got, err, tt.want)
		}
	}
	if _, _, err := distance(link.Setting{}, "syd", "holdfast-dev-lab"); describe(err).exit != exitUsage {
		t.Errorf("a server in a region that the table has not: %v, want a matter of usage", err)
	}
}

func TestTheLeaseIsTheOneOfTheServersKind(t *testing.T) {
	if got := timing("holdfast-dev-fra").TTL; got != devTTL {
		t.Errorf("TTL on a dev server = %v", got)
	}
	if got := timing("NDQ7K2").TTL; got != 0 {
		t.Errorf("TTL elsewhere = %v, want the default", got)
	}
}

func TestLostRoundsFallIntoOneBinEach(t *testing.T) {
	for n := 1; n <= 200; n++ {
		c := column{Lost: 1}
		for lost := range n + 1 { // n: more was lost than can be by overwriting
			c.PerRound = append(c.PerRound, lost)
		}
		c.histogram(n)
		next := 0
		for _, b := range binsFor(n) {
			if b.from != next || b.to < b.from {
				t.Fatalf("bins for %d claims: %+v does not follow %d", n, b, next-1)
			}
			next = b.to + 1
		}
		if next != n {
			t.Errorf("bins for %d claims end at %d", n, next-1)
		}
	}
	c := column{Lost: 1, PerRound: []int{0, 12, 13, 14, 14}}
	want := "0 ████ 1   1-4 ▏ 0   5-9 ▏ 0   10-12 ████ 1   13 ████ 1   14 ████████ 2"
	if got := c.histogram(15); got != want {
		t.Errorf("histogram = %s\nwant        %s", got, want)
	}
}

func TestWhatClientsWroteCannotMoveTheCursor(t *testing.T) {
	for in, want := range map[string]string{
		"lobby": "lobby", "日本": "日本", "a b": "a b",
		"\x1b[2J": `"\x1b[2J"`, "a\u009b31m": `"a\u009b31m"`, "a\nb": `"a\nb"`, "\u202egnp": `"\u202egnp"`,
	} {
		if got := shown(in); got != want {
			t.Errorf("shown(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestAHolderThatCannotBeFoundIsLeftOut(t *testing.T) {
	proc := t.TempDir()
	if got := holder(proc, 80); got != "" {
		t.Errorf("holder without /proc = %q", got)
	}
	write := func(path, text string) {
		path = filepath.Join(proc, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const heading = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	write("net/tcp", heading+"   0: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1\n"+
		"   1: 0100007F:0050 0100007F:0051 01 00000000:00000000 00:00000000 00000000  1000        0 4712 1\n")
	write("9/comm", "guest\n")
	write("12/comm", "node\n")
	for pid, inode := range map[string]string{"9": "4712", "12": "4711"} {
		if err := os.MkdirAll(filepath.Join(proc, pid, "fd"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("socket:["+inode+"]", filepath.Join(proc, pid, "fd", "3")); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := holder(proc, 80), ` (by pid 12 "node")`; got != want {
		t.Errorf("holder = %q, want %q", got, want)
	}
	if got := holder(proc, 81); got != "" {
		t.Errorf("holder of a free port = %q", got)
	}
}

func TestWhatObjectsSendCannotMoveTheCursor(t *testing.T) {
	for in, want := range map[string]string{
		`{"a":"b\n"}` + "\n\t日": `{"a":"b\n"}` + "\n\t日",
		"\"\x1b[2J\"":           `"\u001b[2J"`,
		"\"\u009b\u202e\"":      `"\u009b\u202e"`,
		"\U000e0041":            `\udb40\udc41`, // as JSON has it
		"\xff":                  `\xff`,
	} {
		if got := string(escapeControls([]byte(in))); got != want {
			t.Errorf("escapeControls(%q) = %s, want %s", in, got, want)
		}
	}
}
