package gateway

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"
	"github.com/valyala/fasthttp"

	"holdfast/internal/wire"
	"holdfast/objects"
)

// ownHeaders is the prefix of the response headers that only the gateway sets.
const ownHeaders = "Holdfast-"

// copyHeader copies the object's headers to the response, except headers for the next hop and headers that only the
// gateway sets. Names are compared without regard to case, because an object may write any into its header map. A
// redirect to a path of the object's own site leads below the prefix under which the object is reached.
func copyHeader(c *fiber.Ctx, header http.Header, prefix string) {
	dropHops(header)
	for _, name := range slices.Sorted(maps.Keys(header)) {
		own := len(name) >= len(ownHeaders) && strings.EqualFold(name[:len(ownHeaders)], ownHeaders)
		if own || strings.EqualFold(name, fiber.HeaderContentLength) || !headerName(name) {
			continue
		}
		for i, value := range header[name] {
			value = headerValue(value)
			if strings.EqualFold(name, fiber.HeaderLocation) {
				value = below(prefix, value)
			}
			if i == 0 {
				c.Set(name, value)
			} else {
				c.Response().Header.Add(name, value)
			}
		}
	}
}

// copyHandshake copies the object's headers to a 101 response, except those of the handshake itself. It returns the
// subprotocol that the object has chosen; the client gets it if the client has offered it.
func copyHandshake(c *fiber.Ctx, header http.Header, prefix string) (subprotocols []string) {
	const handshake = "Sec-WebSocket-"
	for name, values := range header {
		if len(name) < len(handshake) || !strings.EqualFold(name[:len(handshake)], handshake) {
			continue
		}
		if strings.EqualFold(name, handshake+"Protocol") {
			subprotocols = values[:min(1, len(values))]
		}
		delete(header, name)
	}
	copyHeader(c, header, prefix)
	return subprotocols
}

// below returns a redirect's target with the prefix in front, if the target is a path without a host and does not begin
// with the prefix.
func below(prefix, target string) string {
	if !strings.HasPrefix(target, "/") || strings.HasPrefix(target, "//") {
		return target
	}
	if rest, inside := strings.CutPrefix(target, prefix); inside && (rest == "" || strings.ContainsRune("/?#", rune(rest[0]))) {
		return target
	}
	return prefix + target
}

// respond writes the object's answer.
func respond(c *fiber.Ctx, reply *wire.Reply, prefix string) error {
	if reply.Status < fiber.StatusOK || reply.Status > 999 {
		return fmt.Errorf("the object's owner answered with status %d, which cannot be sent", reply.Status)
	}
	header := http.Header(reply.Header)
	length := header.Get(fiber.HeaderContentLength)
	copyHeader(c, header, prefix)
	if reply.Status == fiber.StatusUpgradeRequired { // this status needs an Upgrade header
		c.Set(fiber.HeaderConnection, "Upgrade")
		c.Set(fiber.HeaderUpgrade, "websocket")
	}
	c.Status(reply.Status)
	if n, err := strconv.Atoi(length); err == nil && n >= 0 && c.Method() == fiber.MethodHead {
		c.Response().SkipBody = true
		c.Response().Header.SetContentLength(n) // the length of what a GET would return
		return nil
	}
	return c.Send(reply.Body)
}

// fail writes an error as a client may see it. An error that is no *objects.Error is logged under a reference and not
// shown.
func (g *Gateway) fail(c *fiber.Ctx, err error) error {
	e, ok := errors.AsType[*objects.Error](err)
	if fault, is := errors.AsType[*fiber.Error](err); is && !ok {
		e, ok = &objects.Error{Code: codeOf(fault.Code), Message: uncapitalized(fault)}, true
		c.Status(fault.Code)
		if fault.Code == fiber.StatusNotFound && len(g.mounts) == 0 {
			e.Message += `: no class is mounted; the worker does it with env.Mount(r, "/rooms/:name", room.Rooms)`
		}
	} else if ok {
		c.Status(e.Code.HTTPStatus())
	}
	if !ok {
		e = &objects.Error{Code: objects.Internal, Message: "the gateway failed", Reference: wire.NewReference()}
		g.log.Error("request failed", "ref", e.Reference, "method", c.Method(), "route", c.Route().Path, "err", err)
		c.Status(e.Code.HTTPStatus())
	}
	if e.Code == objects.Unavailable || e.Code == objects.Overloaded {
		c.Set(fiber.HeaderRetryAfter, "1")
	}
	c.Set(fiber.HeaderContentSecurityPolicy, "default-src 'none'; frame-ancestors 'none'")
	return c.JSON(e)
}

// uncapitalized returns the text of one of Fiber's errors as ours are written. What it repeats of the request stays as
// it was sent.
func uncapitalized(fault *fiber.Error) string {
	if fault.Message == utils.StatusMessage(fault.Code) {
		return strings.ToLower(fault.Message)
	}
	if rest, is := strings.CutPrefix(fault.Message, "Cannot "); is {
		return "cannot " + rest
	}
	return fault.Message
}

// complete gives a response the headers that every response has: the region, the origins that may read it, and headers
// that restrict browsers. Headers that the worker or the object has set stay.
func (g *Gateway) complete(rc *fasthttp.RequestCtx) {
	h := &rc.Response.Header
	h.Set("Holdfast-Region", g.cfg.Region)
	for _, one := range browserHeaders {
		if len(h.PeekBytes(one.name)) == 0 {
			h.SetCanonical(one.name, one.value)
		}
	}
	g.share(rc)
}

// browserHeaders are set unless the worker or the object has: no content sniffing, no frame of another site, no
// referrer.
var browserHeaders = []struct{ name, value []byte }{
	{[]byte(fiber.HeaderXContentTypeOptions), []byte("nosniff")},
	{[]byte(fiber.HeaderXFrameOptions), []byte("SAMEORIGIN")},
	{[]byte(fiber.HeaderReferrerPolicy), []byte("no-referrer")},
}

// codeOf returns the code for a status that Fiber itself gives.
func codeOf(status int) objects.Code {
	switch status {
	case fiber.StatusNotFound, fiber.StatusMethodNotAllowed:
		return objects.NotFound
	case fiber.StatusForbidden:
		return objects.Forbidden
	case fiber.StatusRequestEntityTooLarge, fiber.StatusRequestHeaderFieldsTooLarge:
		return objects.TooLarge
	case fiber.StatusServiceUnavailable:
		return objects.Unavailable
	}
	if status < 500 || status == fiber.StatusNotImplemented {
		return objects.Invalid
	}
	return objects.Internal
}

// headerName reports whether an object's header can be sent.
func headerName(name string) bool {
	const others = "!#$%&'*+-.^_`|~"
	odd := func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && !strings.ContainsRune(others, r)
	}
	return name != "" && !strings.ContainsFunc(name, odd)
}

// headerValue returns an object's header value without bytes that would end the header or make clients refuse the
// response.
func headerValue(value string) string {
	clean := []byte(value)
	for i, b := range clean {
		if b < ' ' && b != '\t' || b == 0x7f {
			clean[i] = ' '
		}
	}
	return string(clean)
}
