package app_test

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAnObjectIsAskedFromAShell(t *testing.T) {
	t.Parallel()
	_, b := dev(t, "--regions", "fra")
	file := filepath.Join(t.TempDir(), "input")
	if err := os.WriteFile(file, []byte("null"), 0o600); err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, []byte{0xff, 0xd8}, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		args string
		code int
		want string // of standard output and standard error
	}{
		{"call ticket/shell claim", 0, "1\n"},
		{"call ticket/shell claim @" + file, 0, "2\n"},
		{"call ticket/shell claim --key k", 0, "3\n"},
		{"call ticket/shell claim --key k", 0, "3\n"}, // the first answer
		{"call ticket/shell claim --key k --as ada", 0, "4\n"},
		{"call ticket/shell claim --json", 0, `"call":"claim","output":5}`},
		{"call ticket/shell claim [1", 2, "decode the input"},
		{"call ticket/shell nosuch", 4, "nosuch"},
		{"call tocket/shell claim", 4, "no host runs class tocket"},
		{"call ticket/shell no/call", 2, "call name"},
		{"fetch ticket/shell", 0, "5 taken\n"},
		{"fetch ticket/shell /a --json", 0, `{"ok":true,"status":200,`},
		{"fetch ticket/shell /a --json", 0, `"body":"5 taken"}`},
		{"fetch ticket/shell /echo -d x%41 -H X-A:b", 0, "POST /echo b x%41\n"},
		{"fetch ticket/shell /echo -X PUT -d @" + file, 0, "PUT /echo  null\n"},
		{"fetch ticket/shell /missing", 4, "404 Not Found"},
		{"fetch ticket/shell /missing", 4, "no such page\n"},
		{"fetch ticket/shell /missing --json", 4, `{"ok":false,"status":404,`},
		{"fetch ticket/shell /broken", 1, "500 Internal Server Error"},
		{"fetch ticket/shell / -H Upgrade:websocket", 2, "WebSocket"},
		{"send ticket/shell hi --as ada", 0, "hello\nfalse \"hi\" of \"ada\"\n"},
		{"send ticket/shell hi --json", 0, `{"text":"hello"}` + "\n" + `{"text":"false \"hi\" of \"\""}` + "\n" + `{"ok":true,"code":1000,"reason":"that is all"}` + "\n"},
		{"send ticket/shell @" + file, 0, `false "null" of`},
		{"send ticket/shell @" + image, 0, `true "\xff\xd8" of`},
		{"send ticket/shell bytes --json", 0, `{"base64":"/w=="}` + "\n"},
		{"send ticket/shell --for 1ms --json", 0, `{"ok":true,"code":1000}` + "\n"},
		{"send ticket/shell leave", 5, "the socket was closed: 4001 left\n"},
		{"send ticket/shell no", 6, `the socket was closed: 4403 "forbidden: not \x1b[31mthis"`},
		{"send ticket/shell no --json", 6, `{"ok":false,"error":{"code":"forbidden","message":"the socket was closed: 4403`},
		{"send ticket/shell --path /missing", 4, "the object answers 404"},
		{"send tocket/shell hi", 4, "no host runs class tocket"},
		{"ls ticket", 0, "ticket/shell"},
		{"ls tocket", 4, "no host runs class tocket, and nothing of it is kept\n  classes with hosts: ticket"},
		{"ls tocket --json", 4, `"hint":"classes with hosts: ticket"`},
		{"get ticket/nobody", 4, `no ticket is kept under "nobody"` + "\n  classes with hosts: ticket"},
		{"__complete call t", 0, "ticket/\n:6\n"},
		{"__complete call ticket/s", 0, "ticket/shell\n:4\n"},
		{"__complete get ticket/x", 0, ":4\n"},
		{"__complete fetch ticket/shell ", 0, ":4\n"},
		{"__complete send ticket/s", 0, "ticket/shell\n:4\n"},
		{"__complete ls t", 0, "ticket\n:4\n"},
		{"__complete ls x", 0, ":4\n"},
	}
	for _, tt := range tests {
		args := strings.Split(tt.args, " ")
		if at := 1; args[0] == "__complete" { // what is completed is the last word
			args = append(append(args[:2:2], "--nats", b.NATS), args[2:]...)
		} else {
			args = append(args[:at:at], append([]string{"--nats", b.NATS}, args[at:]...)...)
		}
		code, out, errs := run(t, args...)
		if code != tt.code || !strings.Contains(out+errs, tt.want) {
			t.Errorf("%s = %d, want %d and %q:\n%s%s", tt.args, code, tt.code, tt.want, out, errs)
		}
		if strings.Contains(tt.args, "--json") {
			for line := range strings.Lines(out) {
				if !json.Valid([]byte(line)) {
					t.Errorf("%s printed no JSON:\n%s", tt.args, out)
				}
			}
		}
	}
}

func TestSendListensUntilCtrlC(t *testing.T) {
	t.Parallel()
	_, b := dev(t, "--regions", "fra")
	p := start(t, config(), "send", "ticket/shell", "--nats", b.NATS) // it has heard the hello
	if code := p.stop(); code != 0 || p.stdout.String() != "hello\n" || p.stderr.String() != "" {
		t.Errorf("send and Ctrl-C = %d, want 0:\n%s%s", code, p.stdout, p.stderr)
	}
}

func TestFetchPrintsAStreamAsItComes(t *testing.T) {
	t.Parallel()
	_, b := dev(t, "--regions", "fra")
	p := start(t, config(), "fetch", "ticket/shell", "/waits", "--nats", b.NATS) // it has printed a line, and the stream goes on
	if code := p.stop(); code != 130 || p.stdout.String() != "first\n" {
		t.Errorf("fetch and Ctrl-C = %d, want 130:\n%s%s", code, p.stdout, p.stderr)
	}
}

func TestFetchAsJSONDoesNotFillTheMemoryWithAnEndlessStream(t *testing.T) {
	t.Parallel()
	_, b := dev(t, "--regions", "fra")
	code, out, errs := run(t, "fetch", "ticket/shell", "/endless", "--nats", b.NATS, "--json")
	if code != 1 || !strings.Contains(out, `"code":"too_large"`) || !strings.Contains(out, "without --json") {
		t.Errorf("fetch --json = %d, want 1 and a bound:\n%.300s%s", code, out, errs)
	}
}

func TestWhatIsAskedForByHandDoesNotWaitForNATS(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close() // a port where nobody listens
	for _, args := range [][]string{{"get", "ticket/x"}, {"ls"}, {"resume", "ticket/x"}, {"call", "ticket/x", "claim"}, {"fetch", "ticket/x"}, {"send", "ticket/x", "hi"}} {
		code, _, errs := run(t, append(args, "--nats", "nats://"+ln.Addr().String())...)
		if code != 7 || !strings.Contains(errs, "nobody listens there") || strings.Contains(errs, "tries") {
			t.Errorf("%v = %d, want 7 after one try:\n%s", args, code, errs)
		}
	}
	if code, out, errs := run(t, "__complete", "ls", "--nats", "nats://"+ln.Addr().String(), ""); code != 0 || !strings.HasPrefix(out, "ticket\n") {
		t.Errorf("completion without NATS = %d, want the program's own classes:\n%s%s", code, out, errs)
	}
}

func TestAStoreThatIsAFileIsExit2(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"nats", "--port", "0"}, {"dev", "--port", "0", "--nats-port", "0"}} {
		for _, store := range []string{file, filepath.Join(file, "below")} {
			code, out, errs := run(t, append(args, "--store", store)...)
			if code != 2 || !strings.Contains(errs, store) || !strings.Contains(errs, "--store DIR") || out != "" {
				t.Errorf("%v --store %s = %d, want 2 and another store:\n%s%s", args, store, code, out, errs)
			}
		}
	}
}
