package app_test

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/app"
)

func TestEveryCommandExplainsItself(t *testing.T) {
	commands := []string{"", "dev", "nats", "host", "gateway", "race",
		"bench", "bench ticket", "bench echo", "bench first", "bench room", "bench idle", "call", "fetch", "send", "get", "ls", "resume", "tells", "history", "diff", "restore", "fork", "version", "help", "completion", "completion bash"}
	for _, command := range commands {
		code, out, errs := run(t, append(strings.Fields(command), "--help")...)
		if code != 0 || !strings.Contains(out, "Examples:\n  holdfast ") || !strings.Contains(out, "Usage:") {
			t.Errorf("%s --help = %d, want usage and an example:\n%s%s", command, code, out, errs)
		}
	}
	_, root, _ := run(t)
	_, listed, _ := strings.Cut(root, "Available Commands:\n")
	listed, _, _ = strings.Cut(listed, "\n\n")
	for line := range strings.Lines(listed) {
		if name := strings.Fields(line)[0]; !strings.Contains(" "+strings.Join(commands, " ")+" ", " "+name+" ") {
			t.Errorf("command %s is not looked at here", name)
		}
	}
}

func TestAWrongCallIsExit2AndSaysWhatWouldBeRight(t *testing.T) {
	tests := []struct{ args, want string }{
		{"rce", "did you mean: race"},
		{"dev --prot 1", "holdfast dev --help"},
		{"dev extra", "extra"},
		{"dev --regions fra,nowhere", "known are fra, lhr"},
		{"dev --regions fra,fra", "fra twice"},
		{"dev --regions Fra --rtt 0", "want 1 to 32 of a-z"},
		{"dev --rtt soon", "want real, 0 or a duration"},
		{"dev --hosts 0", "--hosts 0"},
		{"dev --port 65535", "do not fit"},
		{"dev --sync often", "want default or always"},
		{"dev --log-level loud", "want debug, info, warn or error"},
		{"nats --region nowhere", "known are fra"},
		{"host", "--region fra"},
		{"gateway --region F! --rtt 0", "1 to 32 of a-z"},
		{"gateway --region nowhere", "--rtt 0 or --rtt 40ms"},
		{"gateway --region fra --listen 8790", "want an address and a port"},
		{"gateway --region fra --idle-timeout 10ms", "want 1s or more"},
		{"gateway --region fra --max-body 12", "want a size from 1KiB to 1GiB"},
		{"host --region fra --window lots", "want a size from 1KiB to 1GiB"},
		{"host --region fra --window 2MiB --windows 1MiB", "want at least --window, which is 2.0MiB"},
		{"dev --window-time 2h", "want 1s to 1h"},
		{"dev --purge-after 0s", "want more than no time"},
		{"gateway --region fra --listen 127.0.0.1:0 --ops-listen 9090", "want an address and a port"},
		{"host --region fra --ops-listen x", "--ops-listen"},
		{"nats --ops-listen -1", "--ops-listen"},
		{"get", " get CLASS/NAME\n"},
		{"get ticket", "want CLASS/NAME"},
		{"get Ticket/x", "class name"},
		{"get ticket --id 12", "64 hex digits"},
		{"call ticket/x", "1 argument: want "},
		{"call ticket/x", " call CLASS/NAME CALL [INPUT]\n"},
		{"diff ticket/x", " diff CLASS/NAME"},
		{"diff ticket/x", " diff --help"},
		{"call ticket claim", "want CLASS/NAME"},
		{"call ticket/x claim --timeout 0", "want 1ms to 1m0s"},
		{"call ticket/x claim --timeout 2h", "want 1ms to 1m0s"},
		{"call ticket/x claim --key ä", "printable ASCII"},
		{"call ticket/x claim @/no/such/file", "no such file"},
		{"fetch ticket/x page", "begins with a slash"},
		{"fetch ticket/x / -X G=T", "method"},
		{"fetch ticket/x / -H X", "want 'Name: value'"},
		{"fetch ticket/x / -d @/no/such/file", "no such file"},
		{"send", " send CLASS/NAME [MESSAGE]\n"},
		{"send ticket hi", "want CLASS/NAME"},
		{"send ticket/x hi --path live", "begins with a slash"},
		{"send ticket/x hi --for -1s", "want more than no time"},
		{"send ticket/x hi --key k", "unknown flag"},
		{"send ticket/x @/no/such/file", "no such file"},
		{"ls --nats http://localhost:8787", "NATS does not speak \"http\""},
		{"host --region fra --nats https://localhost:8787", "NATS does not speak \"https\""},
		{"resume ticket", "want CLASS/NAME"},
		{"resume ticket --id 12", "64 hex digits"},
		{"tells ticket/a again", "want retry or drop"},
		{"history ticket/a --limit 0", "want a limit"},
		{"diff ticket/a yesterday", "want a bookmark, a time such as"},
		{"restore ticket/a -2h", "unknown shorthand"},
		{"restore ticket/a 2100-01-01T00:00:00Z", "nothing is known of that time"},
		{"get ticket/a --at noon", "want a bookmark, a time such as"},
		{"fork ticket/a room/b", "want another object of class ticket"},
		{"fork ticket/a ticket/a", "want another object of class ticket"},
		{"tells ticket/a drop", "want the number"},
		{"tells ticket/a retry x", "want the number"},
		{"ls No.Class", "cannot be a class"},
		{"race --url localhost:8787", "http://localhost:8787"},
		{"race --expect-correct none", "want naive, cas or object"},
		{"bench tocket", "did you mean: ticket"},
		{"bench ticket --url localhost:8787", "http://127.0.0.1:8787"},
		{"bench ticket --names -1", "--names -1"},
		{"bench echo --rate -1", "--rate -1"},
		{"bench room --sockets 5 --senders 9", "there are 5 sockets"},
		{"bench room --find --rate 5", "find"},
		{"bench room --rate 0", "--rate 0: want 1 or more"},
		{"bench room --sockets 0 --senders 0", "want 1 or more"},
		{"bench idle --sockets 0 --pids 1", "--sockets 0: want 1 or more"},
		{"bench first --connections 0", "--connections 0: want 1 or more"},
		{"bench idle", "pids"},
	}
	for _, tt := range tests {
		code, out, errs := run(t, strings.Fields(tt.args)...)
		if code != 2 || !strings.Contains(errs, tt.want) || out != "" {
			t.Errorf("%s = %d, want 2 and %q on stderr:\n%s%s", tt.args, code, tt.want, out, errs)
		}
		code, out, _ = run(t, append(strings.Fields(tt.args), "--json")...)
		var report struct {
			OK    *bool
			Error struct{ Code, Message string }
		}
		if err := json.Unmarshal([]byte(out), &report); err != nil || code != 2 || report.OK == nil || *report.OK || report.Error.Code != "invalid" || report.Error.Message == "" {
			t.Errorf("%s --json = %d, want one envelope: %v\n%s", tt.args, code, err, out)
		}
	}
}

// listenBehindAFreePort listens at a port above a free one.
func listenBehindAFreePort(t *testing.T) (net.Listener, int) {
	t.Helper()
	for range 100 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := ln.Addr().(*net.TCPAddr).Port
		if before, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port-1)); err == nil {
			before.Close()
			return ln, port
		}
		ln.Close()
	}
	t.Fatal("no port has a free one before it")
	return nil, 0
}

func TestATakenPortIsExit3AndSaysWhoHasIt(t *testing.T) {
	ln, port := listenBehindAFreePort(t)
	defer ln.Close()
	p := strconv.Itoa(port)
	tests := []struct {
		args []string
		flag string
	}{
		{[]string{"dev", "--port", p, "--nats-port", "0", "--store", "memory"}, "--port"},
		{[]string{"dev", "--port", strconv.Itoa(port - 1), "--nats-port", "0", "--store", "memory", "--regions", "fra,iad"}, "--port"},
		{[]string{"dev", "--port", "0", "--nats-port", p, "--store", "memory"}, "--nats-port"},
		{[]string{"nats", "--port", p, "--store", "memory"}, "--port"},
		{[]string{"gateway", "--region", "fra", "--listen", "127.0.0.1:" + p}, "--listen"},
		{[]string{"gateway", "--region", "fra", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:" + p}, "--ops-listen"},
		{[]string{"host", "--region", "fra", "--ops-listen", "127.0.0.1:" + p}, "--ops-listen"},
		{[]string{"nats", "--port", "0", "--store", "memory", "--ops-listen", "127.0.0.1:" + p}, "--ops-listen"},
		{[]string{"dev", "--port", "0", "--nats-port", "0", "--store", "memory", "--ops-listen", "127.0.0.1:" + p}, "--ops-listen"},
	}
	for _, tt := range tests {
		code, out, errs := run(t, tt.args...)
		if code != 3 || !strings.Contains(errs, "port "+p+" is taken") || !strings.Contains(errs, tt.flag+" ") || out != "" {
			t.Errorf("%v = %d, want 3, the port and %s:\n%s%s", tt.args, code, tt.flag, out, errs)
		}
		if _, err := os.Stat("/proc/net/tcp"); err == nil && !strings.Contains(errs, "(by pid "+strconv.Itoa(os.Getpid())+" ") {
			t.Errorf("%v does not say that it is this process:\n%s", tt.args, errs)
		}
	}
}

func TestWithoutNATSItIsExit7AndSaysHowToStartOne(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close() // a port where nobody listens
	url := "nats://me:secret@" + ln.Addr().String()
	code, out, errs := run(t, "gateway", "--region", "fra", "--listen", "127.0.0.1:0", "--nats", url)
	for _, want := range []string{"cannot reach NATS at nats://xxxxx@" + ln.Addr().String(), "nobody listens there", "holdfast nats", "holdfast dev"} {
		if code != 7 || !strings.Contains(errs, want) || out != "" {
			t.Errorf("gateway without NATS = %d, want 7 and %q:\n%s%s", code, want, out, errs)
		}
	}
	if strings.Contains(errs, "secret") {
		t.Errorf("the password is shown:\n%s", errs)
	}
}

func TestCtrlCBeforeItIsReadyIsExit130(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, args := range [][]string{
		{"dev", "--port", "0", "--nats-port", "0", "--store", "memory"},
		{"get", "ticket/global", "--nats", "nats://127.0.0.1:1"},
		{"race", "--url", "http://127.0.0.1:1"},
	} {
		out, errs := newOutput(), newOutput()
		if code := app.Run(ctx, config(), args, out, errs); code != 130 {
			t.Errorf("%v = %d, want 130:\n%s%s", args, code, out, errs)
		}
	}
}

func TestANATSThatCannotBeUsedIsExit7AndSaysWhy(t *testing.T) {
	url := startServer(t, &server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true, MaxPayload: 4 << 20})
	for _, args := range [][]string{
		{"host", "--region", "fra", "--nats", url},
		{"get", "ticket/global", "--nats", url},
	} {
		if code, out, errs := run(t, args...); code != 7 || !strings.Contains(errs, "JetStream is off: start nats-server with -js") {
			t.Errorf("%v without JetStream = %d, want 7:\n%s%s", args, code, out, errs)
		}
	}
}

func TestVersion(t *testing.T) {
	if code, out, _ := run(t, "version"); code != 0 || !strings.HasPrefix(out, "holdfast 0.1.0 (go1.") {
		t.Errorf("version = %d %s", code, out)
	}
	if code, out, _ := run(t, "version", "--json"); code != 0 || !json.Valid([]byte(out)) || !strings.Contains(out, `"version":"0.1.0"`) {
		t.Errorf("version --json = %d %s", code, out)
	}
}
