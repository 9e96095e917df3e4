package acceptance

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"holdfast/gateway"
	"holdfast/objects"
)

func TestABodyArrivesAsItWasSent(t *testing.T) {
	beside(t, places)
	p := newPlace(t, nil)
	form := "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--b--\r\nan epilogue"
	for _, row := range []struct{ what, header, value, body string }{
		{"gzip", "Content-Encoding", "gzip", string(zipped(t, []byte("hello")))},
		{"gzip twice", "Content-Encoding", "gzip, gzip", string(zipped(t, zipped(t, []byte("hello"))))},
		{"no gzip, though it says so", "Content-Encoding", "gzip", "precious data"},
		{"no brotli, though it says so", "Content-Encoding", "br", "precious data"},
		{"a form", "Content-Type", "multipart/form-data; boundary=b", form},
		{"a form that is none", "Content-Type", "multipart/form-data; boundary=b", "precious data"},
	} {
		a := p.once(t, "POST", "/objects/probe/body", row.body, row.header, row.value)
		if a.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %s", row.what, a.StatusCode, a.body)
			continue
		}
		var got echoed
		decode(t, a.body, &got)
		if string(got.Body) != row.body || len(got.Header[row.header]) != 1 || string(got.Header[row.header][0]) != row.value {
			t.Errorf("%s: arrived as %q with %s %q", row.what, got.Body, row.header, got.Header[row.header])
		}
		if length := got.Header["Content-Length"]; len(length) != 1 || string(length[0]) != strconv.Itoa(len(row.body)) {
			t.Errorf("%s: Content-Length %q, want %d", row.what, length, len(row.body))
		}
	}
}

func TestABombOfThreeLayersCostsNothing(t *testing.T) {
	p := newPlace(t, nil)
	bomb := make([]byte, 100<<20)
	for range 3 {
		bomb = zipped(t, bomb)
	}
	_, before := memory()
	for range 3 {
		a := p.once(t, "POST", "/objects/probe/bomb", string(bomb), "Content-Encoding", "gzip, gzip, gzip")
		if a.StatusCode != http.StatusOK {
			t.Fatalf("%d %s", a.StatusCode, a.body)
		}
	}
	if _, taken := memory(); taken-before > 32<<20 {
		t.Errorf("%d bytes took %d MB", len(bomb), (taken-before)>>20)
	}
}

func zipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// memory returns how many bytes of the heap this process uses, and how many it has ever taken. The resident size
// also depends on when garbage is collected, and on the race detector.
func memory() (live, taken int) {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc), int(m.TotalAlloc)
}

// Two thousand clients announce half a megabyte each, and send none of it.
func TestABodyThatIsOnlyAnnouncedTakesNoMemory(t *testing.T) {
	p := newPlace(t, nil)
	const clients = 2000
	before, _ := memory()
	var all []net.Conn
	for i := range clients {
		conn := p.dial(t)
		all = append(all, conn)
		if _, err := io.WriteString(conn, post("Content-Length: 524288", strings.Repeat("a", 20_000))); err != nil {
			t.Fatalf("client %d: %v", i, err)
		}
	}
	if a := p.once(t, "GET", "/objects/probe/other", ""); a.StatusCode != http.StatusOK {
		t.Errorf("a small request beside them: %d %s", a.StatusCode, a.body)
	}
	await(t, "a large request finds room among those that bring nothing", func() bool {
		return p.once(t, "POST", "/objects/probe/large", strings.Repeat("a", 300_000)).StatusCode == http.StatusOK
	})
	refused := 0
	for _, conn := range all {
		conn.SetReadDeadline(time.Now().Add(100 * time.Microsecond)) // fails only on a closed connection
		if n, _ := conn.Read(make([]byte, 1)); n == 1 {
			refused++
		}
	}
	if live, _ := memory(); live-before > 200<<20 {
		t.Errorf("%d clients that announce 1000 MB took %d MB", clients, (live-before)>>20)
	} else {
		t.Logf("%d clients took %d MB; %d were refused", clients, (live-before)>>20, refused)
	}
	for _, conn := range all {
		conn.Close()
	}
}

func TestASlowBodyIsCutForLackOfProgressOnly(t *testing.T) {
	beside(t, places)
	p := newPlace(t, nil)
	stuck := p.dial(t)
	if _, err := io.WriteString(stuck, post("Content-Length: 120", "a")); err != nil {
		t.Fatal(err)
	}
	conn := p.dial(t)
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, post("Content-Length: 120\r\nConnection: close", "")); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range 120 { // twelve seconds, and the whole request once had ten
		<-tick.C
		if _, err := io.WriteString(conn, "a"); err != nil {
			t.Fatal(err)
		}
	}
	received, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	if all := responses(t, received); len(all) != 1 || all[0].StatusCode != http.StatusOK {
		t.Errorf("a body that came in twelve seconds: answered %s", summary(all))
	}
	received, err = io.ReadAll(stuck) // until patience ends
	if err != nil {
		t.Fatal(err)
	}
	if all := responses(t, received); len(all) != 1 || all[0].StatusCode != http.StatusRequestTimeout {
		t.Errorf("a body that never came: answered %s", summary(all))
	}
}

// A client that writes everything before it reads still gets the reason of its refusal.
func TestARefusalIsReadByAClientThatIsStillSending(t *testing.T) {
	beside(t, places)
	p := newPlace(t, nil)
	for range 20 {
		for what, head := range map[string]string{
			"413":         "POST /objects/probe/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8000000\r\n\r\n",
			"413, chunks": "POST /objects/probe/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n7a1200\r\n",
			"431":         "GET /objects/probe/x HTTP/1.1\r\nHost: localhost\r\nX-Long: ",
		} {
			conn := p.dial(t)
			if _, err := io.WriteString(conn, head); err != nil {
				t.Fatal(err)
			}
			if _, err := io.CopyN(conn, endless('a'), 8_000_000); err != nil {
				t.Fatalf("%s: send: %v", what, err)
			}
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatalf("%s: read the answer: %v", what, err)
			}
			if want, _ := strconv.Atoi(what[:3]); res.StatusCode != want {
				t.Errorf("%s: status %d", what, res.StatusCode)
			}
			res.Body.Close()
			conn.Close()
		}
	}
}

type endless byte

func (e endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(e)
	}
	return len(b), nil
}

// A worker that authenticates sets the client's identity and removes headers that the client has forged.
func TestWhatAWorkerSetsOrDeletesIsWhatTheObjectSees(t *testing.T) {
	beside(t, places)
	p := newPlace(t, func(cfg *gateway.Config) {
		inner := cfg.Worker
		cfg.Worker = func(r fiber.Router, env *gateway.Env) {
			r.Use("/guarded", func(c *fiber.Ctx) error {
				h := &c.Request().Header
				h.Set("X-User", "alice")
				h.Del("X-Admin")
				h.Del("Authorization")
				h.Set("Content-Type", "text/plain")
				h.SetCookie("session", "alice's")
				h.DelCookie("forged")
				return c.Next()
			})
			env.Mount(r, "/guarded/:name", "probe")
			inner(r, env)
		}
	})
	sent := []string{
		"X-User", "mallory", "X-User", "root", "X-Admin", "true", "Authorization", "Bearer good", "Cookie", "forged=1; session=x; other=2",
		"X-Many", "one", "X-Many", "two", "X-Many", "three", "Content-Type", "application/json", "X-Forwarded-Prefix", "/evil",
	}
	check := func(what, many string, header map[string][][]byte) {
		t.Helper()
		for name, want := range map[string]string{
			"X-User": "alice", "X-Admin": "", "Authorization": "", "Content-Type": "text/plain", "Cookie": "other=2; session=alice's",
			"X-Many": many, "X-Forwarded-Prefix": "/guarded/h",
		} {
			if got := string(bytes.Join(header[name], []byte("|"))); got != want {
				t.Errorf("%s: the object sees %s = %q, want %q", what, name, got, want)
			}
		}
	}
	a := p.once(t, "POST", "/guarded/h", "{}", sent...)
	if a.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	var got echoed
	decode(t, a.body, &got)
	check("a request", "one|two|three", got.Header)

	conn := p.dial(t)
	if _, a := p.handshake(t, conn, "GET", "/guarded/h", sent...); a.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade: %d %s", a.StatusCode, a.body)
	}
	header := make(map[string][][]byte)
	for name, values := range p.heard.lastUpgrade("h") {
		for _, v := range values {
			header[name] = append(header[name], []byte(v))
		}
	}
	check("an upgrade", "three", header)
}

func TestTwoFaultsHaveTwoReferences(t *testing.T) {
	beside(t, places)
	p := newPlace(t, nil)
	seen := make(map[string]bool)
	for _, target := range []string{"/fault/text", "/fault/returned", "/fault/text", "/objects/probe/x/panic", "/objects/probe/x/panic"} {
		e := refusal(t, p.once(t, "GET", target, ""), http.StatusInternalServerError, "internal")
		if e["reference"] == "" || seen[e["reference"]] {
			t.Errorf("%s: reference %q, want one of its own", target, e["reference"])
		}
		seen[e["reference"]] = true
	}
}

// An author's own codes share one label.
func TestACodeThatAnAuthorMadeUpCountsAsOther(t *testing.T) {
	beside(t, places)
	p := newPlace(t, nil)
	for i := range 5 {
		made := objects.Code(fmt.Sprintf("made_up_%d", i))
		p.heard.Lock()
		p.heard.code = made
		p.heard.Unlock()
		if a := p.once(t, "POST", "/boom/probe/coded", ""); a.StatusCode != http.StatusConflict {
			t.Errorf("code %q: %d %s", made, a.StatusCode, a.body)
		}
	}
	families, err := p.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	others := 0.0
	for _, family := range families {
		if family.GetName() != "holdfast_gateway_requests_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "result" && l.GetValue() == "other" {
					others += m.GetCounter().GetValue()
				} else if strings.Contains(l.GetValue(), "made_up") {
					t.Errorf("a series of its own: %v", m)
				}
			}
		}
	}
	if others != 5 {
		t.Errorf("%v requests count as other, want 5", others)
	}
}
