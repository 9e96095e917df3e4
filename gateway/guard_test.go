package gateway

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"holdfast/objects"
)

func TestAnOriginIsTheHostOrListed(t *testing.T) {
	g := &Gateway{cfg: Config{Origins: []string{"https://Friend.example"}}}
	for _, row := range []struct {
		origin, host string
		want         bool
	}{
		{"", "h", true},
		{"http://h", "h", true},
		{"HTTPS://H:8787", "h:8787", true},
		{"http://[::1]:8787", "[::1]:8787", true},
		{"https://friend.example", "h", true},
		{"null", "h", false},
		{"null", "null", false},
		{"h", "h", false},
		{"http://", "", false},
		{"://", "", false},
		{"http://h", "h:80", false},
		{"http://h.evil", "h", false},
		{"http://evil-h", "h", false},
		{"http://h@evil", "h", false},
		{"http://h/", "h", false},
		{"http://h evil", "h", false},
		{"https://friend.example:8443", "h", false},
	} {
		if got := g.allowed(row.origin, row.host); got != row.want {
			t.Errorf("allowed(%q) at %q = %v, want %v", row.origin, row.host, got, row.want)
		}
	}
}

// A page can have its own name lead to 127.0.0.1.
func TestOnLoopbackOnlyLocalNamesAreTheGatewaysOwn(t *testing.T) {
	g := &Gateway{cfg: Config{Origins: []string{"https://friend.example"}}, loopback: true}
	for host, want := range map[string]bool{
		"localhost:8787": true, "LOCALHOST": true, "app.localhost:1": true, "127.0.0.1:8787": true, "[::1]:8787": true, "[::1]": true,
		"10.0.0.1:80": true, "friend.example": true, "evil.example:8787": false, "localhost.evil.example": false, "friend.example:8787": false, "": false,
	} {
		if got := g.allowed("http://"+host, host); got != want {
			t.Errorf("own origin at host %q: %v, want %v", host, got, want)
		}
	}
	if !g.allowed("", "evil.example") {
		t.Error("a client that names no origin is refused")
	}
}

func TestARequestWithTwoEndsIsAmbiguous(t *testing.T) {
	for _, row := range []struct {
		head string
		want bool
	}{
		{"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n", false},
		{"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", false},
		{"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\n\r\n", true},
		{"GET / HTTP/1.0\r\n\r\n", false},
		{"GET / HTTP/1.1\r\nHost: h\r\nX-Content-Length: 1\r\nX: Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", false},
		{"POST / HTTP/1.1\r\nHost: h\r\ncontent-length: 1\r\nTRANSFER-ENCODING: chunked\r\n\r\n", true},
		{"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: identity\r\n\r\n", true},
		{"POST / HTTP/1.1\r\nHost: h\r\nX: a\r\n Content-Length: 1\r\n\r\n", true},
		{"POST / HTTP/1.1\r\nHost: h\r\nX: a\r\n\tb\r\n\r\n", true},
		{"POST / HTTP/1.1\r\nHost: h\nX: a\r\n\r\n", true},
		{"POST / HTTP/1.2\r\nHost: h\r\n\r\n", true},
	} {
		var h fasthttp.RequestHeader
		if err := h.Read(bufio.NewReader(strings.NewReader(row.head))); err != nil {
			t.Errorf("%q was not read: %v; it belongs into another test", row.head, err)
			continue
		}
		if _, err := framing(&h); (err != nil) != row.want {
			t.Errorf("%q: %v, want ambiguous = %v", row.head, err, row.want)
		}
	}
}

func TestWhatCannotBeReadIsNotRepeated(t *testing.T) {
	const sent = "what the client sent"
	for _, err := range []error{
		errors.New(sent),
		fmt.Errorf("%s: %w", sent, fasthttp.ErrBodyTooLarge),
		&fasthttp.ErrSmallBuffer{},
		&net.OpError{Op: sent, Err: os.ErrDeadlineExceeded},
	} {
		if got := unreadable(err); strings.Contains(got.Error(), sent) {
			t.Errorf("unreadable(%v) = %v", err, got)
		}
	}
}

func TestAKeyThatARecordCannotKeepIsRefused(t *testing.T) {
	for key, want := range map[string]objects.Code{
		"": "", "k": "", "a b~!": "", strings.Repeat("k", 255): "",
		strings.Repeat("k", 256): objects.Invalid, "k\xff": objects.Invalid, "é": objects.Invalid, "k\x00": objects.Invalid,
	} {
		if got := objects.CodeOf(checkKey(key)); got != want {
			t.Errorf("checkKey(%.10q) = %q, want %q", key, got, want)
		}
	}
}

func TestAnObjectsHeadersAreMadeFitToSend(t *testing.T) {
	for name, want := range map[string]bool{"X-A": true, "etag": true, "": false, "X A": false, "X:A": false, "X\r\nB": false, "É": false} {
		if headerName(name) != want {
			t.Errorf("headerName(%q) = %v, want %v", name, !want, want)
		}
	}
	for value, want := range map[string]string{"a\tb": "a\tb", "a\r\nX: b": "a  X: b", "a\x00b\x7f": "a b ", "caf\xe9 é": "caf\xe9 é"} {
		if got := headerValue(value); got != want {
			t.Errorf("headerValue(%q) = %q, want %q", value, got, want)
		}
	}
}

func TestEveryStatusThatFiberGivesHasACode(t *testing.T) {
	for status := 400; status < 600; status++ {
		code := codeOf(status)
		if code.HTTPStatus() >= 500 != (status >= 500) && status != http.StatusNotImplemented {
			t.Errorf("%d %s is called %s, which is a %d", status, http.StatusText(status), code, code.HTTPStatus())
		}
	}
}
