package acceptance

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"holdfast/gateway"
	"holdfast/internal/bucket"
)

func TestOnlyTheGatewaysOwnPagesMayOpenSocketsAndChangeThings(t *testing.T) {
	beside(t, places)
	p := newPlace(t, func(cfg *gateway.Config) { cfg.Origins = []string{"https://Friend.example", "http://localhost:3000"} })
	host, port, _ := strings.Cut(p.addr, ":")
	for _, row := range []struct {
		what, origin, host string
		allowed            bool
	}{
		{what: "none, as wscat and curl", allowed: true},
		{what: "own", origin: "http://" + p.addr, allowed: true},
		{what: "own, upper case", origin: "HTTP://GATE.LOCALHOST:80", host: "gate.localhost:80", allowed: true},
		{what: "own, by a name that leads to this machine", origin: "http://gate.example:80", host: "gate.example:80"},
		{what: "listed", origin: "https://friend.example", allowed: true},
		{what: "listed with a port", origin: "http://localhost:3000", allowed: true},

		{what: "own, over TLS that no trusted proxy has named", origin: "https://" + p.addr},
		{what: "foreign", origin: "https://evil.example"},
		{what: "null", origin: "null"},
		{what: "look-alike behind", origin: "http://" + host + ".evil.example:" + port},
		{what: "look-alike in front", origin: "http://evil" + p.addr},
		{what: "as a user", origin: "http://" + p.addr + "@evil.example"},
		{what: "with a user", origin: "http://me@" + p.addr},
		{what: "as a path", origin: "http://evil.example/" + p.addr},
		{what: "with a path", origin: "http://" + p.addr + "/x"},
		{what: "as a fragment", origin: "http://evil.example#" + p.addr},
		{what: "another port", origin: "http://" + host + ":1"},
		{what: "no port", origin: "http://" + host},
		{what: "another scheme", origin: "file://" + p.addr},
		{what: "no scheme", origin: p.addr},
		{what: "no host", origin: "http://"},
		{what: "a foreign one in upper case", origin: "HTTPS://EVIL.EXAMPLE"},
		{what: "listed, but not over TLS", origin: "http://friend.example"},
		{what: "listed, another port", origin: "http://localhost:3001"},
		{what: "listed, a look-alike", origin: "https://friend.example.evil.example"},
		{what: "own, and a foreign one behind", origin: "http://" + p.addr + "\r\nOrigin: https://evil.example"},
		{what: "listed, and a foreign one behind", origin: "https://friend.example\r\nOrigin: https://evil.example"},
		{what: "two of them", origin: "https://friend.example, https://evil.example"},
	} {
		t.Run(row.what, func(t *testing.T) {
			header := []string{"Host", p.addr}
			if row.host != "" {
				header[1] = row.host
			}
			if row.origin != "" {
				header = append(header, "Origin", row.origin)
			}
			conn := p.dial(t)
			defer conn.Close()
			_, a := p.handshake(t, conn, "GET", "/room/origin", header...)
			if row.allowed && a.StatusCode != http.StatusSwitchingProtocols {
				t.Errorf("socket: %d %s, want it opened", a.StatusCode, a.body)
			} else if !row.allowed {
				refusal(t, a, http.StatusForbidden, "forbidden")
			}
			for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "GET", "HEAD"} {
				a := p.asking(t, method, "/objects/probe/origin", header)
				harmless := method == "GET" || method == "HEAD"
				switch {
				case (row.allowed || harmless && row.host == "") && a.StatusCode != http.StatusOK:
					t.Errorf("%s: %d %s, want it answered", method, a.StatusCode, a.body)
				case method == "HEAD": // has no body
					if row.host != "" && !row.allowed && a.StatusCode != http.StatusForbidden {
						t.Errorf("HEAD: %d, want it refused", a.StatusCode)
					}
				case !row.allowed && (!harmless || row.host != ""): // a name that is not the gateway's own may not even read
					refusal(t, a, http.StatusForbidden, "forbidden")
				}
			}
		})
	}
}

// asking is once with a chosen Host.
func (p *place) asking(t testing.TB, method, target string, header []string) answered {
	t.Helper()
	conn := p.dial(t)
	defer conn.Close()
	_, a := p.handshake(t, conn, method, target, append(header, "Upgrade", "", "Connection", "close")...)
	return a
}

func TestWhatIsTooLargeIsRefusedByName(t *testing.T) {
	beside(t, places)
	p := newPlace(t, func(cfg *gateway.Config) { cfg.Limits = gateway.Limits{Body: 10_000, Header: 4096} })
	for _, row := range []struct {
		what, sent string
		status     int
		code       string
	}{
		{"a body at the limit", post("Content-Length: 10000", strings.Repeat("a", 10_000)), 200, ""},
		{"a body over it", post("Content-Length: 10001", strings.Repeat("a", 10_001)), 413, "too_large"},
		{"a body said to be a gigabyte", post("Content-Length: 1073741824", "a"), 413, "too_large"},
		{"chunks over it", post("Transfer-Encoding: chunked", strings.Repeat("400\r\n"+strings.Repeat("a", 0x400)+"\r\n", 11)+"0\r\n\r\n"), 413, "too_large"},
		{"a chunk said to be a gigabyte, of which a byte comes", post("Transfer-Encoding: chunked", "40000000\r\na"), 400, "invalid"},
		{"a long header", post("X-Long: "+strings.Repeat("a", 5000), ""), 431, "too_large"},
		{"many headers", post(strings.TrimSuffix(strings.Repeat("X-Many: a\r\n", 10_000), "\r\n"), ""), 431, "too_large"},
		{"ten megabytes of header", post("X-Long: "+strings.Repeat("a", 10<<20), ""), 431, "too_large"},
		{"a long target", "GET /objects/probe/x?" + strings.Repeat("a", 5000) + " HTTP/1.1\r\nHost: localhost\r\n\r\n", 431, "too_large"},
		{"many path segments", "GET /objects/probe/x" + strings.Repeat("/a", 1900) + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 200, ""},
	} {
		t.Run(row.what, func(t *testing.T) {
			all := p.speak(t, row.sent)
			if len(all) != 1 {
				t.Fatalf("%d responses, want 1", len(all))
			}
			if row.code != "" {
				refusal(t, all[0], row.status, row.code)
				if !all[0].Close {
					t.Error("the connection was to be used again, with what was not read still on it")
				}
			} else if all[0].StatusCode != row.status {
				t.Errorf("%d %s, want %d", all[0].StatusCode, all[0].body, row.status)
			}
		})
	}
}

// post returns a request to a probe.
func post(header, body string) string {
	return "POST /objects/probe/x HTTP/1.1\r\nHost: localhost\r\n" + header + "\r\n\r\n" + body
}

func TestWhatIsNotThereSaysWhatIs(t *testing.T) {
	beside(t, places)
	p := newPlace(t, nil)
	a := p.once(t, "GET", "/room/lobby%20a", "")
	if want := "wscat -c ws://" + p.addr + "/room/lobby%20a"; a.StatusCode != http.StatusUpgradeRequired || !strings.Contains(a.body, want) {
		t.Errorf("a room without an upgrade: %d %q, want 426 and %q", a.StatusCode, a.body, want)
	}
	if a.Header.Get("Upgrade") != "websocket" {
		t.Errorf("a room without an upgrade: no Upgrade header in %v", a.Header)
	}
	e := refusal(t, p.once(t, "GET", "/objects/nothing/x", ""), http.StatusNotFound, "not_found")
	for _, class := range []string{"ticket", "room", "probe", "stillborn"} {
		if strings.Contains(e["message"], class) {
			t.Errorf("an unknown class: %q tells a stranger of %s", e["message"], class)
		}
	}
	for _, target := range []string{"/objects/$KV/x", "/objects/ticket%00/x", "/objects/a.b/x", "/objects/*/x", "/objects/%3E/x", "/objects/..%2Fticket/x", "/objects/%zz/x"} {
		refusal(t, p.once(t, "GET", target, ""), http.StatusNotFound, "not_found")
	}
	refusal(t, p.once(t, "GET", "/objects/probe/%zz", ""), http.StatusBadRequest, "invalid")
	refusal(t, p.once(t, "GET", "/objects/probe/x/%zz", ""), http.StatusBadRequest, "invalid")
	refusal(t, p.once(t, "GET", "/objects/ticket/x", ""), http.StatusNotFound, "not_found") // it answers calls only
	refusal(t, p.once(t, "GET", "/no/such/page", ""), http.StatusNotFound, "not_found")
	for _, row := range [][2]string{{"PUT", "/ticket/x"}, {"POST", "/room/x"}, {"PATCH", "/naive/x"}, {"DELETE", "/healthz"}, {"GET", "/race/x"}} {
		a := p.once(t, row[0], row[1], "")
		refusal(t, a, http.StatusMethodNotAllowed, "not_found")
		if a.Header.Get("Allow") == "" {
			t.Errorf("%s %s: nothing says what is allowed", row[0], row[1])
		}
	}
	for _, method := range []string{"BREW", "get", "G3T", "TRACE", "CONNECT", strings.Repeat("X", 1000)} {
		refusal(t, p.once(t, method, "/ticket/x", ""), http.StatusNotImplemented, "invalid")
	}
	for _, body := range []string{`[`, `{"n":"x"}`, `{"gap":"-1s"}`, `{"gap":"1h"}`, "\xff", `{"n":-1}`, `{"n":1e9}`} {
		refusal(t, p.once(t, "POST", "/race/x", body), http.StatusBadRequest, "invalid")
	}
	for _, gap := range []string{"x", "-1ms", "1h", "%00"} {
		refusal(t, p.once(t, "POST", "/naive/x?gap="+gap, ""), http.StatusBadRequest, "invalid")
	}
}

func TestClientHeadersArriveAsTheyAreAndDoNothing(t *testing.T) {
	beside(t, places)
	p := newPlace(t, nil)
	name := "inert"
	sent := []string{
		"Nats-Rollup", "all", "Nats-Expected-Last-Subject-Sequence", "0", "Nats-Expected-Stream", bucket.Records().Stream(),
		"Nats-Ttl", "1s", "Nats-Msg-Id", "1", "Nats-Trace-Dest", bucket.Records().Subject("x"), "Kv-Operation", "PURGE", "Status", "503",
		"Holdfast-Epoch", "99", "Holdfast-Object", "ticket.x", "X-Odd", "caf\xe9 \xff\xfe", "X-Tab", "a\tb", "X-Empty", "",
		"Accept-Language", "de, en;q=0.5", "Cookie", "a=1; b=\"2\"",
	}
	hops := []string{
		"Keep-Alive", "timeout=5", "Proxy-Authorization", "Basic c2VjcmV0", "Proxy-Connection", "keep-alive", "Te", "trailers",
		"Trailer", "X-Later", "X-Named", "for the gateway only",
	}
	before := p.once(t, "POST", "/objects/probe/"+name+"/first", "")
	a := p.once(t, "POST", "/objects/probe/"+name+"/a%20b?q=%00&r=a%2Fb", "\x00\xff body", append(append([]string{"Connection", "close, X-Named"}, sent...), hops...)...)
	if a.StatusCode != http.StatusOK || before.StatusCode != http.StatusOK {
		t.Fatalf("%d %s, after %d %s", a.StatusCode, a.body, before.StatusCode, before.body)
	}
	var got echoed
	decode(t, a.body, &got)
	for i := 0; i < len(sent); i += 2 {
		if have := got.Header[sent[i]]; len(have) != 1 || string(have[0]) != sent[i+1] {
			t.Errorf("%s arrived as %q, want %q", sent[i], have, sent[i+1])
		}
	}
	for i := 0; i < len(hops); i += 2 {
		if have := got.Header[hops[i]]; len(have) > 0 {
			t.Errorf("%s went past the gateway: %q", hops[i], have)
		}
	}
	if got.URL != "/a%20b?q=%00&r=a%2Fb" || string(got.Body) != "\x00\xff body" || got.Host != p.addr {
		t.Errorf("arrived: host %q, %q with body %q", got.Host, got.URL, got.Body)
	}
	if got.Effects != 2 {
		t.Errorf("the object has seen %d requests, want 2: a header has undone one", got.Effects)
	}
	if epoch, object := a.Header.Values("Holdfast-Epoch"), a.Header.Values("Holdfast-Object"); !slices.Equal(epoch, []string{"1"}) || !strings.HasPrefix(object[0], "probe.") {
		t.Errorf("the response speaks for epoch %q of %q", epoch, object)
	}
}

func TestTrailersAreNotHeaders(t *testing.T) {
	beside(t, places)
	p := newPlace(t, nil)
	chunks := "1\r\na\r\n0\r\nX-Late: yes\r\nIdempotency-Key: late\r\n\r\n"
	all := p.speak(t, post("Trailer: X-Late\r\nTransfer-Encoding: chunked", chunks))
	if len(all) != 1 || all[0].StatusCode != http.StatusOK {
		t.Fatalf("answered %s", summary(all))
	}
	var got echoed
	decode(t, all[0].body, &got)
	if len(got.Header["X-Late"]) > 0 || len(got.Header["Idempotency-Key"]) > 0 || string(got.Body) != "a" {
		t.Errorf("the object got %q with body %q", got.Header, got.Body)
	}
}

func TestAnObjectCannotBreakOutOfAResponsesHeader(t *testing.T) {
	beside(t, places)
	p := newPlace(t, nil)
	for _, body := range []string{"a\r\nX-Injected: yes", "a\nX-Injected: yes", "a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "a\x00b", "a\rb", "caf\xe9"} {
		a := p.once(t, "POST", "/objects/probe/split/split", body)
		if a.Header.Get("X-Injected") != "" || a.StatusCode != http.StatusOK {
			t.Errorf("%q: %d with headers %v", body, a.StatusCode, a.Header)
		}
	}
}

func TestAnIdempotencyKeyIsOneEffectAndOneAnswer(t *testing.T) {
	beside(t, places)
	p := newPlace(t, nil)
	first := p.once(t, "POST", "/objects/probe/key/do", "body", "Idempotency-Key", "k1")
	for range 3 {
		again := p.once(t, "POST", "/objects/probe/key/do", "body", "Idempotency-Key", "k1")
		if again.StatusCode != http.StatusOK || again.body != first.body {
			t.Errorf("asked again: %d %s, want %s", again.StatusCode, again.body, first.body)
		}
	}
	for what, a := range map[string]answered{
		"another body":   p.once(t, "POST", "/objects/probe/key/do", "other", "Idempotency-Key", "k1"),
		"another path":   p.once(t, "POST", "/objects/probe/key/undo", "body", "Idempotency-Key", "k1"),
		"another method": p.once(t, "PUT", "/objects/probe/key/do", "body", "Idempotency-Key", "k1"),
	} {
		t.Run(what, func(t *testing.T) { refusal(t, a, http.StatusConflict, "conflict") })
	}
	for what, key := range map[string]string{
		"one byte too long": strings.Repeat("k", 256), "much too long": strings.Repeat("k", 8000), "not ASCII": "k\xe9", "a tab": "k\tk",
	} {
		t.Run(what, func(t *testing.T) {
			refusal(t, p.once(t, "POST", "/objects/probe/key/do", "body", "Idempotency-Key", key), http.StatusBadRequest, "invalid")
		})
	}
	if a := p.once(t, "POST", "/objects/probe/key/do", "body", "Idempotency-Key", strings.Repeat("k", 255)); a.StatusCode != http.StatusOK {
		t.Errorf("the longest key: %d %s", a.StatusCode, a.body)
	}
	var got echoed
	decode(t, p.once(t, "GET", "/objects/probe/key", "").body, &got)
	if got.Effects != 2 {
		t.Errorf("%d effects, want 2: one of each key", got.Effects)
	}
	// A counter: the key belongs to the object, whichever gateway or name asks.
	one := p.once(t, "POST", "/ticket/key", "", "Idempotency-Key", "k1")
	two := p.once(t, "POST", "/ticket/key", "", "Idempotency-Key", "k1")
	if one.body != two.body || one.StatusCode != http.StatusOK {
		t.Errorf("two claims under one key: %s and %s", one.body, two.body)
	}
	// Another call of the object is apart: one request may make several.
	if a := p.once(t, "DELETE", "/ticket/key", "", "Idempotency-Key", "k1"); a.StatusCode != http.StatusOK {
		t.Errorf("another call under the key: %d %s", a.StatusCode, a.body)
	}
}

func TestAnIdempotencyKeyDoesNotHandOutASocketTwice(t *testing.T) {
	beside(t, places)
	p := newPlace(t, nil)
	for i := range 3 {
		w := p.open(t, fmt.Sprintf("/objects/probe/keyed/?tag=%d", 1), "Idempotency-Key", "same")
		w.want(t, "to 1 welcome")
		w.say(t, fmt.Sprint("hello ", i))
		w.want(t, fmt.Sprint("hello ", i))
	}
}

func TestARetryStormUnderOneKeyIsOneEffect(t *testing.T) {
	beside(t, places)
	p := newPlace(t, nil)
	bodies := make([]string, 100)
	burst(len(bodies), func(i int) {
		status, _, body, err := try("POST", p.url+"/objects/probe/storm/do", "body", "Idempotency-Key", "storm")
		if err != nil || status != http.StatusOK {
			t.Errorf("request %d: %d %s %v", i, status, body, err)
		}
		var e echoed
		decode(t, body, &e)
		bodies[i] = fmt.Sprint(e.Effects)
	})
	slices.Sort(bodies)
	if distinct := slices.Compact(bodies); !slices.Equal(distinct, []string{"1"}) {
		t.Errorf("the effects answered are %v, want 1 every time", distinct)
	}
}
