package acceptance

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

func (p *place) dial(t testing.TB, control ...func(fd int)) *net.TCPConn {
	t.Helper()
	d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) {
			for _, c := range control {
				c(int(fd))
			}
		})
	}}
	conn, err := d.DialContext(t.Context(), "tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

// answered is one response with its body read.
type answered struct {
	*http.Response
	body string
}

// speak sends bytes unchanged, closes its sending side, and returns
// every response.
func (p *place) speak(t testing.TB, sent string) []answered {
	t.Helper()
	conn := p.dial(t)
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		_, _ = io.WriteString(conn, sent) // the other side may have heard enough
		_ = conn.CloseWrite()
	}()
	received, err := io.ReadAll(conn)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("read the responses: %v (got %q)", err, received)
	}
	conn.Close()
	<-wrote
	return responses(t, received)
}

func responses(t testing.TB, received []byte) (all []answered) {
	t.Helper()
	r := bufio.NewReader(bytes.NewReader(received))
	for {
		if _, err := r.Peek(1); err != nil {
			return all
		}
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("not a response: %v in %q", err, received)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatalf("response cut short: %v in %q", err, received)
		}
		all = append(all, answered{res, string(body)})
	}
}

// once sends a request with exactly this target: no HTTP client changes it.
func (p *place) once(t testing.TB, method, target, body string, header ...string) answered {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Length: %d\r\n", method, target, p.addr, len(body))
	for i := 0; i+1 < len(header); i += 2 {
		fmt.Fprintf(&b, "%s: %s\r\n", header[i], header[i+1])
	}
	all := p.speak(t, b.String()+"\r\n"+body)
	if len(all) != 1 {
		t.Fatalf("%s %.80s: %d responses, want 1", method, target, len(all))
	}
	return all[0]
}

// refusal checks that a response is an error as every error is: a code and a
// sentence in JSON.
func refusal(t testing.TB, a answered, status int, code string) map[string]string {
	t.Helper()
	var e map[string]string
	decode(t, a.body, &e)
	if a.StatusCode != status || e["code"] != code || e["message"] == "" || a.Header.Get("Content-Type") != "application/json" {
		t.Errorf("got %d %s %s, want %d with code %s and a message, in JSON", a.StatusCode, a.Header.Get("Content-Type"), a.body, status, code)
	}
	return e
}

// The opcodes of frames.
const (
	opMore, opText, opBinary, opClose, opPing, opPong = 0, 1, 2, 8, 9, 10

	fin = 0x80
)

// peer is a WebSocket client that can send anything at all.
type peer struct {
	conn *net.TCPConn
	r    *bufio.Reader
}

// handshake asks for a WebSocket. Headers replace the usual ones; an empty value
// leaves one out.
func (p *place) handshake(t testing.TB, conn *net.TCPConn, method, target string, header ...string) (*peer, answered) {
	t.Helper()
	h := [][2]string{
		{"Host", p.addr},
		{"Connection", "Upgrade"},
		{"Upgrade", "websocket"},
		{"Sec-WebSocket-Version", "13"},
		{"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="},
	}
	for i := 0; i+1 < len(header); i += 2 {
		replaced := false
		for j := range h {
			if strings.EqualFold(h[j][0], header[i]) {
				h[j][1], replaced = header[i+1], true
			}
		}
		if !replaced {
			h = append(h, [2]string{header[i], header[i+1]})
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", method, target)
	for _, line := range h {
		if line[1] != "" {
			fmt.Fprintf(&b, "%s: %s\r\n", line[0], line[1])
		}
	}
	_, _ = io.WriteString(conn, b.String()+"\r\n") // the other side may have heard enough
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("upgrade %.80s: %v", target, err)
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		return &peer{conn, r}, answered{Response: res}
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return nil, answered{res, string(body)}
}

// open returns a WebSocket. The test fails if the gateway refuses it.
func (p *place) open(t testing.TB, target string, header ...string) *peer {
	t.Helper()
	w, a := p.handshake(t, p.dial(t), "GET", target, header...)
	if w == nil {
		t.Fatalf("upgrade %.80s: %d %s", target, a.StatusCode, a.body)
	}
	return w
}

// probe opens a WebSocket to a probe and receives the welcome.
func (p *place) probe(t testing.TB, name, tag string) *peer {
	t.Helper()
	w := p.open(t, "/objects/probe/"+name+"/?tag="+tag)
	w.want(t, "to "+tag+" welcome")
	return w
}

// frame returns one frame, masked as a client's must be.
func frame(first byte, payload []byte) []byte {
	b := header(first, 0x80, len(payload))
	var mask [4]byte
	rand.Read(mask[:])
	b = append(b, mask[:]...)
	for i, c := range payload {
		b = append(b, c^mask[i%4])
	}
	return b
}

func header(first, mask byte, n int) []byte {
	switch {
	case n < 126:
		return []byte{first, mask | byte(n)}
	case n < 1<<16:
		return binary.BigEndian.AppendUint16([]byte{first, mask | 126}, uint16(n))
	default:
		return binary.BigEndian.AppendUint64([]byte{first, mask | 127}, uint64(n))
	}
}

func (w *peer) write(b []byte) error {
	_, err := w.conn.Write(b)
	return err
}

// say sends a text message.
func (w *peer) say(t testing.TB, text string) {
	t.Helper()
	if err := w.write(frame(fin|opText, []byte(text))); err != nil {
		t.Fatalf("say %.40q: %v", text, err)
	}
}

// next returns the next frame.
func (w *peer) next() (op byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(w.r, head[:]); err != nil {
		return 0, nil, err
	}
	n := uint64(head[1] & 0x7f)
	if extended := map[uint64]int{126: 2, 127: 8}[n]; extended > 0 {
		var long [8]byte
		if _, err := io.ReadFull(w.r, long[8-extended:]); err != nil {
			return 0, nil, err
		}
		n = binary.BigEndian.Uint64(long[:])
	}
	if head[0]&0x70 != 0 || head[0]&fin == 0 || head[1]&0x80 != 0 || n > 1<<20 {
		return 0, nil, fmt.Errorf("a frame that begins with % x", head)
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(w.r, payload)
	return head[0] & 0xf, payload, err
}

// message returns the next message, skipping pings and pongs.
func (w *peer) message() (string, error) {
	for {
		switch op, payload, err := w.next(); {
		case err != nil:
			return "", err
		case op == opText || op == opBinary:
			return string(payload), nil
		case op == opClose:
			code, reason := closing(payload)
			return "", fmt.Errorf("closed with %d %q", code, reason)
		}
	}
}

// want receives the next message, which must be this one.
func (w *peer) want(t testing.TB, text string) {
	t.Helper()
	got, err := w.message()
	if err != nil || got != text {
		t.Fatalf("message = %.80q, %v; want %.80q", got, err, text)
	}
}

// closed reads to the end and returns what the close frame said; 1006 if the
// connection ended without one.
func (w *peer) closed(t testing.TB) (code int, reason string) {
	t.Helper()
	for {
		op, payload, err := w.next()
		if err != nil {
			if errors.Is(err, syscall.ETIMEDOUT) || isTimeout(err) {
				t.Fatalf("the connection was not closed: %v", err)
			}
			return 1006, ""
		}
		if op == opClose {
			code, reason = closing(payload)
			_ = w.write(frame(fin|opClose, payload)) // it may be gone already
			w.conn.Close()
			return code, reason
		}
	}
}

func isTimeout(err error) bool {
	n, ok := errors.AsType[net.Error](err)
	return ok && n.Timeout()
}

func closing(payload []byte) (code int, reason string) {
	if len(payload) < 2 {
		return 1005, ""
	}
	return int(binary.BigEndian.Uint16(payload)), string(payload[2:])
}
