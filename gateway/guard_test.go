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

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"holdfast/internal/wire"
)

func TestAnOriginIsTheHostOrListed(t *testing.T) {
	listed := origins{"https://Friend.example"}
	for _, row := range []struct {
		origin, host string
		secure, want bool
	}{
		{"http://h", "h", false, true},
		{"https://h", "h", true, true},
		{"https://h", "h", false, false}, // another scheme is another origin
		{"http://h", "h", true, false},
		{"HTTP://H:8787", "h:8787", false, true},
		{"http://[::1]:8787", "[::1]:8787", false, true},
		{"https://friend.example", "h", false, true},
		{"http://friend.example", "h", false, false},
		{"null", "h", false, false},
		{"null", "null", false, false},
		{"h", "h", false, false},
		{"http://", "", false, false},
		{"://", "", false, false},
		{"http://h", "h:80", false, false},
		{"http://h.evil", "h", false, false},
		{"http://evil-h", "h", false, false},
		{"http://h@evil", "h", false, false},
		{"http://h/", "h", false, false},
		{"http://h evil", "h", false, false},
		{"https://friend.example:8443", "h", false, false},
	} {
		if got := listed.list([]byte(row.origin)) || ownOrigin(row.origin, row.host, row.secure); got != row.want {
			t.Errorf("%q at %q, TLS %v: %v, want %v", row.origin, row.host, row.secure, got, row.want)
		}
	}
}

func TestAnOriginThatNoBrowserSendsIsRefused(t *testing.T) {
	for origin, want := range map[string]bool{
		"https://example.org": true, "http://localhost:3000": true, "https://[2001:db8::1]:8443": true, "HTTPS://Example.org": true,
		"": false, "*": false, "null": false, "example.org": false, "https://": false, "https://*.example.org": false, "ftp://example.org": false,
		"https://example.org/": false, "https://example.org/x": false, "https://example.org?": false, "https://example.org:443": false, "http://example.org:80": false,
		"https://a b": false, "https://bücher.example": false, "https://example.org:": false, "https://ada:pw@example.org": false, "https://a,https://b": false,
	} {
		err := CheckOrigin(origin)
		if (err == nil) != want {
			t.Errorf("CheckOrigin(%q) = %v, want accepted %v", origin, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "pw") {
			t.Errorf("a password is repeated: %v", err)
		}
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
		if _, _, err := framing(&h); (err != nil) != row.want {
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
		if got := new(Gateway).unreadable(err); strings.Contains(got.Error(), sent) {
			t.Errorf("unreadable(%v) = %v", err, got)
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

func TestAForgedStatusIsNotSent(t *testing.T) {
	app := fiber.New()
	c := app.AcquireCtx(new(fasthttp.RequestCtx))
	defer app.ReleaseCtx(c)
	for _, status := range []int{-1, 0, 101, 199, 1000, 1 << 40} {
		if err := respond(c, &wire.Reply{Status: status}, ""); err == nil {
			t.Errorf("status %d is sent as %d", status, c.Response().StatusCode())
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
