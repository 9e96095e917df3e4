package acceptance

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"holdfast/gateway"
)

func TestBrokenFramesEndTheirOwnSocketOnly(t *testing.T) {
	beside(t, places)
	p := newPlace(t, func(cfg *gateway.Config) { cfg.Limits.Frame = 1000 })
	bystander := p.probe(t, "frames", "bystander")
	long := func(first byte, n uint64, sent int) []byte {
		b := binary.BigEndian.AppendUint64([]byte{first, 0x80 | 127}, n)
		return append(b, make([]byte, 4+sent)...)
	}
	unmasked := append(header(fin|opText, 0, 5), "hello"...)
	for _, row := range []struct {
		what string
		sent []byte
		code int
	}{
		{"not masked", unmasked, 1002},
		{"not masked, a close", append(header(fin|opClose, 0, 2), 0x03, 0xe8), 1002},
		{"first reserved bit", frame(fin|0x40|opText, []byte("x")), 1002},
		{"second reserved bit", frame(fin|0x20|opText, []byte("x")), 1002},
		{"third reserved bit", frame(fin|0x10|opText, []byte("x")), 1002},
		{"reserved bit on a ping", frame(fin|0x40|opPing, nil), 1002},
		{"opcode 3", frame(fin|3, []byte("x")), 1002},
		{"opcode 7", frame(fin|7, nil), 1002},
		{"opcode 11", frame(fin|11, nil), 1002},
		{"opcode 15", frame(fin|15, []byte("x")), 1002},
		{"ping in fragments", frame(opPing, []byte("x")), 1002},
		{"close in fragments", frame(opClose, []byte{0x03, 0xe8}), 1002},
		{"ping of 126 bytes", frame(fin|opPing, make([]byte, 126)), 1002},
		{"close of 126 bytes", frame(fin|opClose, append([]byte{0x03, 0xe8}, make([]byte, 124)...)), 1002},
		{"a message within a message", slices.Concat(frame(opText, []byte("a")), frame(fin|opText, []byte("b"))), 1002},
		{"the rest of nothing", frame(fin|opMore, []byte("a")), 1002},
		{"close of one byte", frame(fin|opClose, []byte{3}), 1005}, // read as a close without a code
		{"close with 999", frame(fin|opClose, []byte{0x03, 0xe7}), 1002},
		{"close with 1005", frame(fin|opClose, []byte{0x03, 0xed}), 1002},
		{"close with 1006", frame(fin|opClose, []byte{0x03, 0xee}), 1002},
		{"close with 65535", frame(fin|opClose, []byte{0xff, 0xff}), 1002},
		{"close with a broken reason", frame(fin|opClose, []byte{0x03, 0xe8, 0xff}), 1002},

		{"a byte over the limit", frame(fin|opText, make([]byte, 1001)), 1009},
		{"far over the limit", frame(fin|opBinary, make([]byte, 1<<20)), 1009},
		{"over the limit in fragments", slices.Concat(frame(opText, make([]byte, 600)), frame(opMore, make([]byte, 600))), 1009},
		{"endless empty fragments, then too much", slices.Concat(frame(opText, nil), bytes.Repeat(frame(opMore, nil), 1000), frame(opMore, make([]byte, 1001))), 1009},
		{"said to be a gigabyte", long(fin|opText, 1<<30, 10), 1009},
		{"2^63-1 long", long(fin|opText, 1<<63-1, 10), 1009},
		{"2^63 long", long(fin|opText, 1<<63, 10), 1009},
		{"2^64-1 long", long(fin|opBinary, 1<<64-1, 10), 1009},
		{"a second part of 2^63-1", slices.Concat(frame(opText, []byte("a")), long(fin|opMore, 1<<63-1, 10)), 1009},

		{"text that is no UTF-8", frame(fin|opText, []byte("a\xffb")), 1007},
		{"text with a surrogate", frame(fin|opText, []byte("\xed\xa0\x80")), 1007},
		{"text that ends within a character", frame(fin|opText, []byte("caf\xc3")), 1007},
		{"overlong text", frame(fin|opText, []byte("\xc0\xae")), 1007},
		{"no UTF-8 in fragments", slices.Concat(frame(opText, []byte("caf\xc3")), frame(fin|opMore, []byte("x"))), 1007},
	} {
		t.Run(row.what, func(t *testing.T) {
			name := strings.NewReplacer(" ", "-", ",", "", "^", "").Replace(row.what)
			w := p.probe(t, name, "w")
			go func() { _ = w.write(row.sent) }() // the other side may have heard enough
			if code, _ := w.closed(t); code != row.code {
				t.Errorf("closed with %d, want %d", code, row.code)
			}
			await(t, "the object has heard of it", func() bool { return len(p.heard.closesAt(name)) > 0 })
			if all := p.heard.closesAt(name); len(all) != 1 || all[0].Code != row.code {
				t.Errorf("the object heard %+v, want %d once", all, row.code)
			}
			bystander.say(t, "after: "+row.what)
			bystander.want(t, "after: "+row.what)
		})
	}
}

// A client that reads only when it has written everything must not find its
// connection cut in between, and the reason lost.
func TestWhoSaysTooMuchHearsWhy(t *testing.T) {
	beside(t, places)
	p := newPlace(t, nil)
	w := p.probe(t, "too-much", "w")
	if err := w.write(frame(fin|opText, make([]byte, 16<<20))); err != nil {
		t.Errorf("cut while writing: %v", err)
	}
	if code, _ := w.closed(t); code != 1009 {
		t.Errorf("closed with %d, want 1009", code)
	}
}

func TestSoundFramesOfEveryShapeArrive(t *testing.T) {
	beside(t, places)
	p := newPlace(t, nil)
	w := p.probe(t, "shapes", "w")
	for _, n := range []int{0, 1, 125, 126, 127, 128, 4095, 4096, 65535, 64 << 10} {
		want := strings.Repeat("x", n)
		w.say(t, want)
		w.want(t, want)
	}
	// A character cut by a fragment's border, with a ping in between.
	sent := slices.Concat(frame(opText, []byte("caf\xc3")), frame(fin|opPing, []byte("p")), frame(opMore, nil), frame(fin|opMore, []byte("\xa9")))
	if err := w.write(sent); err != nil {
		t.Fatal(err)
	}
	if op, payload, err := w.next(); err != nil || op != opPong || string(payload) != "p" {
		t.Errorf("frame = %d %q, %v; want the pong", op, payload, err)
	}
	w.want(t, "café")
	if err := w.write(frame(fin|opBinary, []byte("\x00\xff\xfe"))); err != nil {
		t.Fatal(err)
	}
	if op, payload, err := w.next(); err != nil || op != opBinary || string(payload) != "\x00\xff\xfe" {
		t.Errorf("frame = %d %q, %v; want the binary message", op, payload, err)
	}
	if err := w.write(bytes.Repeat(frame(fin|opPong, []byte("nobody asked")), 100)); err != nil {
		t.Fatal(err)
	}
	w.say(t, "still here")
	w.want(t, "still here")
	if err := w.write(frame(fin|opClose, append([]byte{0x0f, 0xa1}, "bye"...))); err != nil { // 4001
		t.Fatal(err)
	}
	if code, _ := w.closed(t); code != 4001 {
		t.Errorf("the close was answered with %d, want 4001", code)
	}
	await(t, "the object has heard of it", func() bool { return len(p.heard.closesAt("shapes")) > 0 })
	if end := p.heard.closesAt("shapes")[0]; end.Code != 4001 || end.Reason != "bye" || !end.Clean {
		t.Errorf("the object heard %+v", end)
	}
}

func TestCompressionIsNotNegotiated(t *testing.T) {
	beside(t, places)
	p := newPlace(t, nil)
	w, a := p.handshake(t, p.dial(t), "GET", "/objects/probe/zip/?tag=w",
		"Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits", "Sec-WebSocket-Protocol", "chat, superchat")
	if w == nil || a.Header.Get("Sec-WebSocket-Extensions") != "" || a.Header.Get("Sec-WebSocket-Protocol") != "" {
		t.Fatalf("%d %s with %v", a.StatusCode, a.body, a.Header)
	}
	w.want(t, "to w welcome")
	if err := w.write(frame(fin|0x40|opText, []byte{0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00})); err != nil { // "Hello"
		t.Fatal(err)
	}
	if code, _ := w.closed(t); code != 1002 {
		t.Errorf("a compressed message: closed with %d, want 1002", code)
	}
}

func TestTheObjectsCloseArrives(t *testing.T) {
	beside(t, places)
	p := newPlace(t, nil)
	duck := strings.Repeat("🦆", 40) // 160 bytes
	for _, row := range []struct {
		say    string
		code   int
		reason string
	}{
		{"close 4001 x", 4001, "x"},
		{"close 1000 ", 1000, ""},
		{"close 3000 bye bye", 3000, "bye bye"},
		{"close 4999 " + duck, 4999, duck[:120]},
		{"close 4002 a" + duck, 4002, "a" + duck[:120]},
		{"refuse no", 4403, "forbidden: no"},
		{"refuse " + duck, 4403, "forbidden: " + duck[:112]},
	} {
		w := p.probe(t, "closing", "w")
		w.say(t, row.say)
		code, reason := w.closed(t)
		if code != row.code || reason != row.reason {
			t.Errorf("%.20s: closed with %d %q, want %d %q", row.say, code, reason, row.code, row.reason)
		}
	}
	w := p.probe(t, "closing", "w")
	if err := w.write(frame(fin|opBinary, []byte("refuse \xff\xfe no text"))); err != nil {
		t.Fatal(err)
	}
	if code, reason := w.closed(t); code != 4403 || !utf8.ValidString(reason) {
		t.Errorf("a reason that is no text: closed with %d %q", code, reason)
	}
	w = p.probe(t, "closing", "w")
	w.say(t, "close 1006 not for applications")
	if code, reason := w.closed(t); code != 1011 || !strings.Contains(reason, "reference ") {
		t.Errorf("a code that may not be sent: closed with %d %q, want 1011", code, reason)
	}
}

func TestAHandshakeThatCannotBeDoneNeverReachesTheObject(t *testing.T) {
	beside(t, places)
	p := newPlace(t, nil)
	for what, header := range map[string][]string{
		"no version":      {"Sec-WebSocket-Version", ""},
		"another version": {"Sec-WebSocket-Version", "8"},
		"two versions":    {"Sec-WebSocket-Version", "13, 8"},
		"no key":          {"Sec-WebSocket-Key", ""},
		"a short key":     {"Sec-WebSocket-Key", "c2hvcnQ="},
		"no base64":       {"Sec-WebSocket-Key", "!!!!!!!!!!!!!!!!!!!!!!=="},
	} {
		t.Run(what, func(t *testing.T) {
			_, a := p.handshake(t, p.dial(t), "GET", "/objects/probe/shy/", header...)
			refusal(t, a, http.StatusBadRequest, "invalid")
		})
	}
	for _, method := range []string{"POST", "PUT", "DELETE"} {
		_, a := p.handshake(t, p.dial(t), method, "/objects/probe/shy/", "Content-Length", "0")
		refusal(t, a, http.StatusBadRequest, "invalid")
	}
	_, a := p.handshake(t, p.dial(t), "GET", "/objects/probe/shy/refuse")
	if a.StatusCode != http.StatusForbidden || strings.TrimSpace(a.body) != "not today" {
		t.Errorf("refused by the object: %d %q", a.StatusCode, a.body)
	}
	if n := p.heard.openedAt("shy"); n != 0 || p.Sockets() != 0 {
		t.Errorf("%d sockets were opened at the object, %d are open at the gateway; want none", n, p.Sockets())
	}
	for _, h := range [][]string{{"Connection", "keep-alive, upgrade"}, {"Upgrade", "WebSocket"}} {
		p.open(t, "/objects/probe/shy/?tag="+fmt.Sprint(len(h[1])), h...)
	}
}
