package gateway

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"
	"github.com/valyala/fasthttp"

	"holdfast/internal/loopback"
	"holdfast/objects"
)

// methods are the methods that a request may have: all that are registered with IANA, except CONNECT and TRACE, which
// speak to proxies, and PRI. The most frequent ones come first.
var methods = []string{
	"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH",
	"ACL", "BASELINE-CONTROL", "BIND", "CHECKIN", "CHECKOUT", "COPY", "LABEL", "LINK", "LOCK", "MERGE", "MKACTIVITY",
	"MKCALENDAR", "MKCOL", "MKREDIRECTREF", "MKWORKSPACE", "MOVE", "ORDERPATCH", "PROPFIND", "PROPPATCH", "QUERY", "REBIND",
	"REPORT", "SEARCH", "UNBIND", "UNCHECKOUT", "UNLINK", "UNLOCK", "UPDATE", "UPDATEREDIRECTREF", "VERSION-CONTROL",
}

// guard runs before every route and before Fiber's own answers. It rejects requests that no route may see, formats
// fasthttp's parse errors, and completes every response.
func (g *Gateway) guard(app *fiber.App) {
	server := app.Server()
	refuse := func(rc *fasthttp.RequestCtx, err error) {
		if c, ours := rc.Conn().(*conn); ours && rc.Response.ConnectionClose() {
			c.refused.Store(true)
		}
		c := app.AcquireCtx(rc)
		defer app.ReleaseCtx(c)
		if err := g.fail(c, err); err != nil {
			g.log.Error("refusal not written", "err", err)
		}
	}
	server.HeaderReceived = func(h *fasthttp.RequestHeader) (limits fasthttp.RequestConfig) {
		switch n := h.ContentLength(); { // -1: in chunks
		case g.takesBody(n):
			h.SetContentLength(0)
		case n > 0:
			limits.ReadTimeout = bodyTime // conn cuts bodies that pause
		}
		return limits
	}
	next := server.Handler
	server.Handler = func(rc *fasthttp.RequestCtx) {
		chunked, length, err := framing(&rc.Request.Header)
		past := err == nil && (chunked || length > int64(g.cfg.Limits.Body)) // the body is read past fasthttp
		if past {
			err = g.receive(rc, length, chunked)
		}
		if err != nil {
			rc.SetConnectionClose()
			refuse(rc, err)
		} else if method := string(rc.Method()); !slices.Contains(methods, method) {
			refuse(rc, fiber.NewError(fiber.StatusNotImplemented, fmt.Sprintf("the gateway passes no method %.20q", method)))
		} else {
			next(rc)
		}
		g.complete(rc)
		// Servers disagree most about where chunks end, so nothing may follow a chunked body.
		if (past || g.isStopping()) && !rc.Hijacked() {
			rc.SetConnectionClose()
		}
		if c, ours := rc.Conn().(*conn); ours && past && largeOf(&rc.Request) != nil {
			c.refused.Store(true) // the client may have sent more than was read
		}
	}
	server.ErrorHandler = func(rc *fasthttp.RequestCtx, err error) {
		g.log.Debug("request not read", "err", err)
		rc.SetConnectionClose()
		refuse(rc, g.unreadable(err))
		g.complete(rc)
	}
}

// unreadable returns the answer to a request that could not be parsed. The answer repeats nothing of the request.
func (g *Gateway) unreadable(err error) error {
	broken, timed := errors.AsType[net.Error](err)
	switch {
	case errors.As(err, new(*fasthttp.ErrSmallBuffer)):
		return fiber.NewError(fiber.StatusRequestHeaderFieldsTooLarge, fmt.Sprintf("the request's line and headers are too large: they may have %d bytes", g.cfg.Limits.Header))
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		return objects.Errorf(objects.TooLarge, "the request's body is too large: it may have %d bytes", g.cfg.Limits.Body)
	case errors.Is(err, errCrowded):
		return objects.Errorf(objects.Overloaded, "too many large requests are being received")
	case timed && broken.Timeout():
		return fiber.ErrRequestTimeout
	}
	return objects.Errorf(objects.Invalid, "this is not a well-formed HTTP request")
}

// framing reports whether the body is chunked, and the body's length otherwise. It refuses requests about whose end two
// servers could disagree. fasthttp 1.78 refuses most of them itself: two lengths, a length that is no number, two
// encodings, an unknown encoding, space around a header's name. framing also refuses versions other than 1.0 and 1.1,
// headers that are folded over lines or end with a lone LF, the encoding identity, and a length beside an encoding.
func framing(h *fasthttp.RequestHeader) (chunked bool, length int64, err error) {
	if version := string(h.Protocol()); version != "HTTP/1.1" && version != "HTTP/1.0" {
		return false, 0, objects.Errorf(objects.Invalid, "the gateway speaks HTTP/1.1 and HTTP/1.0 only")
	}
	sized := false
	for line := range bytes.Lines(h.RawHeaders()) {
		if line[0] == ' ' || line[0] == '\t' || !bytes.HasSuffix(line, []byte("\r\n")) {
			return false, 0, objects.Errorf(objects.Invalid, "a header must be one line and end with CR LF")
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch value = bytes.TrimSpace(value); {
		case bytes.EqualFold(name, []byte("Content-Length")):
			sized = true
			length, _ = lengthOf(value)
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			if chunked = bytes.EqualFold(value, []byte("chunked")); !chunked {
				return false, 0, objects.Errorf(objects.Invalid, "the gateway knows no transfer encoding but chunked")
			}
		}
	}
	if chunked && sized {
		return false, 0, objects.Errorf(objects.Invalid, "the request's length is ambiguous")
	}
	return chunked, length, nil
}

// catch turns a panic in a worker into an error: fail logs the error under a reference, and no client sees the text,
// not even of an *objects.Error. A worker that has read a large body is an exception: the client gets TooLarge.
func catch(c *fiber.Ctx) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case tooMuch:
			err = p.err()
		default:
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return c.Next()
}

// ownName refuses requests for other names on a gateway that listens on loopback: see package loopback.
func (g *Gateway) ownName(c *fiber.Ctx) error {
	host := utils.UnsafeString(c.Request().Host())
	if !g.loopback || loopback.Host(host) || slices.ContainsFunc(g.names, func(name string) bool {
		return strings.EqualFold(name, loopback.Name(host))
	}) {
		return c.Next()
	}
	name := fmt.Sprintf("%.80q", loopback.Name(host))
	return objects.Errorf(objects.Forbidden, "the gateway listens on loopback and does not answer to the name %s: if that is a name of this gateway, add it with --host example.org or --origin https://example.org", name)
}

// handshake refuses a WebSocket handshake that cannot be completed, before the object is asked.
func handshake(c *fiber.Ctx) error {
	key, err := base64.StdEncoding.DecodeString(c.Get("Sec-WebSocket-Key"))
	switch {
	case c.Method() != fiber.MethodGet:
		return objects.Errorf(objects.Invalid, "a WebSocket is opened with GET")
	case c.Get("Sec-WebSocket-Version") != "13":
		c.Set("Sec-WebSocket-Version", "13")
		return objects.Errorf(objects.Invalid, "a WebSocket must be of version 13")
	case err != nil || len(key) != 16:
		return objects.Errorf(objects.Invalid, "the Sec-WebSocket-Key must be 16 bytes in base64")
	}
	return nil
}
