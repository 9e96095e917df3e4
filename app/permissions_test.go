package app_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"holdfast/internal/bucket"
	"holdfast/internal/loopback"
)

// usersServer returns a stock server with the users that `nats permissions` prints. Each has its name as password.
func usersServer(t *testing.T, args ...string) (url string, users []string) {
	t.Helper()
	code, text, errs := run(t, append([]string{"nats", "permissions"}, args...)...)
	if code != 0 {
		t.Fatalf("nats permissions = %d %s", code, errs)
	}
	for line := range strings.Lines(text) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), `user: "`); ok {
			name = strings.TrimSuffix(name, `"`)
			users = append(users, name)
			t.Setenv("HF_"+strings.ToUpper(name)+"_PASSWORD", name)
		}
	}
	opts, err := server.ProcessConfigFile(writeSecret(t, filepath.Join(t.TempDir(), "nats.conf"), []byte(text)))
	if err != nil {
		t.Fatalf("the server does not take what is printed: %v\n%s", err, text)
	}
	opts.Host, opts.Port, opts.NoSigs, opts.NoLog, opts.JetStream, opts.StoreDir = "127.0.0.1", -1, true, true, true, t.TempDir()
	return startServer(t, opts), users
}

// contextOf writes a context of the nats command.
func contextOf(t *testing.T, settings map[string]string) string {
	t.Helper()
	data, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	return writeSecret(t, filepath.Join(t.TempDir(), "context.json"), data)
}

func TestAGatewaysUserHearsAndChangesNothingElse(t *testing.T) {
	for _, foil := range []bool{false, true} {
		args := []string{"--inbox", "fra,syd"}
		if foil {
			args = append(args, "--foil")
		}
		url, users := usersServer(t, args...)
		if got := strings.Join(users, " "); got != "fra syd host state admin" {
			t.Fatalf("the users are %s", got)
		}
		nc, err := nats.Connect(url, nats.UserInfo("fra", "fra"), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		isRefused := func(what, subject string, try func() error) bool {
			t.Helper()
			if err := errors.Join(try(), nc.Flush()); err != nil {
				return errors.Is(err, nats.ErrPermissionViolation)
			}
			err := nc.LastError() // the server's refusal precedes its answer to the flush
			return errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), what+` to "`+subject+`"`)
		}
		for subject, want := range map[string]bool{
			"hf.o.>": true, "hf.o.ticket.x": true, ">": true, "_HF.>": true, "_HF.*.*.*.*": true, "_HF.syd.>": true, "_HF.h.syd.>": true, "_HF.h.>": true, "_HF.l.>": true, "_INBOX.>": true, "hf.beat": true, "hf.claim.>": true, "$KV.>": true,
			"_HF.fra.x.*.*": false, "_HF.h.fra.x.>": false,
		} {
			if got := isRefused("Subscription", subject, func() error { _, err := nc.SubscribeSync(subject); return err }); got != want {
				t.Errorf("foil %v: subscribing %s is refused: %v, want %v", foil, subject, got, want)
			}
		}
		for subject, want := range map[string]bool{
			bucket.Records().Subject("ticket.x"): true, bucket.Leases().Subject("x"): true, "$JS.API.STREAM.DELETE." + bucket.Records().Stream(): true, "$JS.API.STREAM.INFO." + bucket.Records().Stream(): true, "$JS.API.STREAM.NAMES": true, "$JS.API.STREAM.PURGE." + bucket.Records().Stream(): true, "$JS.API.STREAM.PURGE.HF_ALARMS": true, "$JS.API.STREAM.MSG.DELETE." + bucket.Records().Stream(): true, "hf.alarm.at.a.b": true, "hf.alarm.due.a.b": true,
			"hf.o.ticket.x.h": true, "_HF.syd.x.1.1": true, "_HF.h.syd.x.push": true, "hf.lease.echo.x": true,
			"$KV.HF_FOIL.x": !foil, "$JS.API.STREAM.DELETE.KV_HF_FOIL": true,
			"hf.o.ticket.x.g": false, "hf.claim.fra.ticket": false, "hf.hosts.ticket": false, "hf.beat": false,
		} {
			if got := isRefused("Publish", subject, func() error { return nc.Publish(subject, nil) }); got != want {
				t.Errorf("foil %v: publishing to %s is refused: %v, want %v", foil, subject, got, want)
			}
		}
	}
}

// Contexts name the server and the user, for both of a host's connections.
func TestContextsOfTheNATSCommandAreUsed(t *testing.T) {
	url, _ := usersServer(t)
	user := func(name string) string {
		return contextOf(t, map[string]string{"url": url, "user": name, "password": name, "inbox_prefix": "_INBOX.elsewhere"})
	}
	serve(t, "host", "--region", "fra", "--context", user("host"), "--state-context", user("state"))
	t.Setenv("NATS_CONTEXT", user("gateway"))
	p, g := serve(t, "gateway", "--region", "fra", "--listen", "127.0.0.1:0")
	if status, body := fetch(t, http.MethodPost, g.URL+"/ticket/x"); status != http.StatusOK || !strings.HasPrefix(body, `{"ticket":`) {
		t.Errorf("a ticket = %d %s\n%s", status, body, p.stderr)
	}
	t.Setenv("NATS_CONTEXT", "")
	if code, out, errs := run(t, "ls", "--context", user("admin")); code != 0 || !strings.Contains(out, "ticket/x") {
		t.Errorf("ls = %d, want the object:\n%s%s", code, out, errs)
	}

	const secret = "s3cr3tpw"
	for what, row := range map[string]struct {
		args []string
		code int
		want string
	}{
		"none of that name": {[]string{"--context", "nosuch"}, 2, "nosuch"},
		"no file":           {[]string{"--context", filepath.Join(t.TempDir(), "none.json")}, 2, "--context"},
		"a domain":          {[]string{"--context", contextOf(t, map[string]string{"url": url, "user": "admin", "password": "admin", "jetstream_domain": "hub"})}, 2, "domain"},
		"two ways":          {[]string{"--context", user("admin"), "--creds", "x"}, 2, "--context"},
		"a wrong password":  {[]string{"--context", contextOf(t, map[string]string{"url": url, "user": "admin", "password": secret})}, 6, "context"},
		"nobody there":      {[]string{"--context", contextOf(t, map[string]string{"url": "nats://ada:" + secret + "@127.0.0.1:1"})}, 7, "context"},
	} {
		code, out, errs := run(t, append([]string{"ls"}, row.args...)...)
		if code != row.code || out != "" || !strings.Contains(errs, row.want) || strings.Contains(errs, secret) {
			t.Errorf("%s: %d, want %d and %q:\n%s%s", what, code, row.code, row.want, out, errs)
		}
	}
}

// Beyond loopback the embedded server has users, with a file for each.
func TestTheEmbeddedServerHasUsersBeyondLoopback(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	ports, err := loopback.Ports(1)
	if err != nil {
		t.Fatal(err)
	}
	port := fmt.Sprint(ports[0])
	p := start(t, config(), "nats", "--port", port, "--listen-host", "0.0.0.0", "--store", store, "--json")
	var said struct{ NATS, Users string }
	if err := json.Unmarshal([]byte(p.stdout.String()), &said); err != nil {
		t.Fatal(err)
	}
	if nc, err := nats.Connect("nats://127.0.0.1:" + port); !errors.Is(err, nats.ErrAuthorization) {
		nc.Close()
		t.Errorf("nobody in particular: %v, want a refusal", err)
	}
	user := func(name string) string {
		file := filepath.Join(said.Users, name+".json")
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info.Mode(), err)
		}
		var c map[string]string
		if err := json.Unmarshal(data, &c); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(p.stdout.String()+p.stderr.String(), c["password"]) {
			t.Error("a password is shown")
		}
		c["url"] = "nats://127.0.0.1:" + port // this machine's name may lead elsewhere
		return contextOf(t, c)
	}
	h, _ := serve(t, "host", "--region", "fra", "--rtt", "0", "--context", user("host"), "--state-context", user("state"))
	_, g := serve(t, "gateway", "--region", "fra", "--rtt", "0", "--listen", "127.0.0.1:0", "--context", user("gateway"))
	if status, body := fetch(t, http.MethodPost, g.URL+"/ticket/x"); status != http.StatusOK {
		t.Errorf("a ticket = %d %s", status, body)
	}
	h.stop() // it could release nothing later
	before := fmt.Sprint(os.ReadFile(filepath.Join(said.Users, "admin.json")))
	if code := p.stop(); code != 0 {
		t.Errorf("exit %d", code)
	}
	start(t, config(), "nats", "--port", port, "--listen-host", "0.0.0.0", "--store", store, "--json")
	if after := fmt.Sprint(os.ReadFile(filepath.Join(said.Users, "admin.json"))); after != before {
		t.Error("the users are others after a restart")
	}
}

// Buckets fit into the account, and an operator's flags change existing buckets or end the start.
func TestBucketsAreAsTheAccountAndTheFlagsSay(t *testing.T) {
	opts, err := server.ProcessConfigFile(writeSecret(t, filepath.Join(t.TempDir(), "nats.conf"), []byte(`
accounts { A: { jetstream: { max_file: 1GB, max_mem: 64MB, max_bytes_required: true }, users: [ { user: a, password: a } ] } }`)))
	if err != nil {
		t.Fatal(err)
	}
	opts.Host, opts.Port, opts.NoSigs, opts.NoLog, opts.JetStream, opts.StoreDir = "127.0.0.1", -1, true, true, true, t.TempDir()
	url := strings.Replace(startServer(t, opts), "nats://", "nats://a:a@", 1)
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	limit := func() int64 {
		t.Helper()
		info, err := js.StreamInfo(bucket.Records().Stream())
		if err != nil {
			t.Fatal(err)
		}
		return info.Config.MaxBytes
	}
	host := func(args ...string) []string {
		return append([]string{"host", "--region", "fra", "--nats", url}, args...)
	}
	p, _ := serve(t, host()...)
	if n := limit(); n < 600<<20 || n > 800<<20 {
		t.Errorf("records may take %d MiB of an account of 1 GB, want three quarters", n>>20)
	}
	p.stop()
	p, _ = serve(t, host("--max-bytes", "128MiB")...)
	if n := limit(); n != 128<<20 {
		t.Errorf("after --max-bytes 128MiB: %d MiB", n>>20)
	}
	p.stop()
	p, _ = serve(t, host()...)
	if n := limit(); n != 128<<20 {
		t.Errorf("without the flag: %d MiB, want what is set", n>>20)
	}
	p.stop()
	for _, args := range [][]string{{"--max-bytes", "10GiB"}, {"--replicas", "3"}} {
		if code, out, errs := run(t, host(args...)...); code == 0 || out != "" || errs == "" {
			t.Errorf("host %v = %d, want a refusal:\n%s%s", args, code, out, errs)
		}
	}
}
