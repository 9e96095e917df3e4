package gateway

import (
	"io"
	"net"
	"testing"
)

// fasthttp reads the first byte of a request by itself; nothing behind it is lost.
func TestWhatWasReadAheadIsReadNext(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	among := newConns(nil, Limits{}.WithDefaults(), nil)
	c := &conn{Conn: near, among: among}
	if _, ok := among.add(c); !ok {
		t.Fatal("not taken")
	}
	const request = "POST /ticket/a HTTP/1.1\r\n\r\n"
	go func() {
		_, _ = io.WriteString(far, request) // who reads checks it
		_, _ = io.WriteString(far, "more")
		far.Close()
	}()
	var first [1]byte
	if n, err := c.Read(first[:]); n != 1 || err != nil || first[0] != 'P' {
		t.Fatalf("first byte: %d, %v, %q", n, err, first)
	}
	if c.waiting {
		t.Error("who has said something counts as waiting")
	}
	rest, err := io.ReadAll(c)
	if got := string(first[:]) + string(rest); err != nil || got != request+"more" {
		t.Errorf("read %q, %v", got, err)
	}
}
