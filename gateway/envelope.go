package gateway

import (
	"bytes"
	"net/http"
	"net/netip"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"
	"github.com/valyala/fasthttp"

	"holdfast/internal/wire"
	"holdfast/objects"
)

// forwardedPrefix is the request header with the part of the path that stands before the path which the object sees.
// Only the gateway sets it.
const forwardedPrefix = "X-Forwarded-Prefix"

// place is where on the gateway a request reaches its object: the client asked for prefix + path. Both are escaped, as
// in a URL.
type place struct {
	prefix string // empty where the worker chose the path
	path   string
}

// placeOf splits the path, as the client sent it, after the given number of segments: nothing is decoded, cleaned or
// trimmed.
func placeOf(c *fiber.Ctx, segments int) place {
	sent := string(c.Request().URI().PathOriginal())
	at := 0
	for range segments {
		next := strings.IndexByte(sent[min(at+1, len(sent)):], '/')
		if next < 0 {
			return place{prefix: sent, path: "/"}
		}
		at += 1 + next
	}
	return place{prefix: sent[:at], path: sent[at:]}
}

// envelope copies the request for its object: Fiber takes its own memory back when
// the handler returns. The headers are those that the worker has left, and the body
// is passed as it was sent.
func envelope(c *fiber.Ctx, client netip.Addr, at place) (*wire.Request, error) {
	target := at.path
	if _, query, asks := bytes.Cut(c.Request().Header.RequestURI(), []byte("?")); asks {
		query, _, _ = bytes.Cut(query, []byte("#"))
		target += "?" + string(query)
	}
	if _, err := url.ParseRequestURI(target); err != nil {
		return nil, objects.Errorf(objects.Invalid, "the path cannot be decoded")
	}
	header := make(http.Header)
	for name, value := range c.Request().Header.All() {
		if string(name) == fiber.HeaderCookie {
			value = cookies(&c.Request().Header, value)
		}
		header.Add(string(name), string(value))
	}
	for name, values := range header {
		if len(values) > 1 {
			header[name] = leftOf(rawValues(&c.Request().Header, name), values)
		}
	}
	header.Del("Host") // the host travels on its own, as in net/http
	if upgrades(c) {
		header.Del("Trailer")
	} else {
		dropHops(header)
	}
	header.Del(forwardedPrefix)
	if at.prefix != "" {
		header.Set(forwardedPrefix, at.prefix)
	}
	remote := c.Context().RemoteAddr().String()
	if client.IsValid() && client != ipOf(c.Context().RemoteAddr()) {
		remote = netip.AddrPortFrom(client, 0).String() // a proxy does not report the port
	}
	req := &wire.Request{
		Kind: wire.Fetch, Method: utils.CopyString(c.Method()), URL: target,
		Host: string(c.Request().Host()), Header: header, Remote: remote,
	}
	if l := largeOf(c.Request()); l != nil {
		req.Large, req.Length, req.Upload = true, max(0, l.length), l
	} else {
		req.Body = slices.Clone(c.BodyRaw())
	}
	return req, nil
}

// cookies returns the request's cookies as the client sent them, or as the worker has left them if it changed any.
// fasthttp writes them in its own way: it removes quotes.
func cookies(h *fasthttp.RequestHeader, now []byte) []byte {
	all := strings.Join(rawValues(h, fiber.HeaderCookie), "; ")
	var unchanged fasthttp.RequestHeader
	unchanged.Set(fiber.HeaderCookie, all)
	if bytes.Equal(unchanged.Peek(fiber.HeaderCookie), now) {
		return []byte(all)
	}
	return now
}

// rawValues returns a header's values as the client sent them.
func rawValues(h *fasthttp.RequestHeader, name string) (values []string) {
	for line := range bytes.Lines(h.RawHeaders()) {
		if n, value, _ := bytes.Cut(line, []byte(":")); strings.EqualFold(string(bytes.TrimSpace(n)), name) {
			values = append(values, string(bytes.TrimSpace(value)))
		}
	}
	return values
}

// leftOf returns the values that a worker has left of a header. fasthttp keeps the order of values only while none is
// deleted, and its Set replaces only the first of them: a value that a worker adds comes after the client's, and one
// that the worker sets replaces the client's.
func leftOf(sent, now []string) []string {
	added, replaced := slices.Clone(now), false
	for _, value := range sent {
		if i := slices.Index(added, value); i >= 0 {
			added = slices.Delete(added, i, i+1)
		} else {
			replaced = true
		}
	}
	switch {
	case !replaced:
		return append(slices.Clone(sent), added...)
	case len(added) > 0:
		return added
	default:
		return now
	}
}

// hops are the headers that are meant for the next proxy only.
var hops = []string{
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// dropHops removes the headers that are meant for the next hop only, in any case.
func dropHops(header http.Header) {
	named := hops
	for name, values := range header {
		if textproto.CanonicalMIMEHeaderKey(name) != "Connection" {
			continue
		}
		for _, line := range values {
			for one := range strings.SplitSeq(line, ",") {
				named = append(slices.Clip(named), textproto.CanonicalMIMEHeaderKey(textproto.TrimString(one)))
			}
		}
	}
	for name := range header {
		if slices.Contains(named, textproto.CanonicalMIMEHeaderKey(name)) {
			delete(header, name)
		}
	}
}
