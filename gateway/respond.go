package gateway

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"holdfast/internal/wire"
	"holdfast/objects"
)

// ownHeaders begins the names of the response headers that only the gateway sets.
const ownHeaders = "Holdfast-"

// copyHeader gives the response the object's headers, but for those that end here and
// those that are the gateway's to set. Names are compared without regard to case: an
// object may write into its header map as it likes. A redirect to a path of the
// object's own site leads below the prefix under which the object is reached.
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

// copyHandshake gives a 101 the object's headers, less those of the handshake itself. It
// returns the subprotocol that the object has chosen, which the client hears of if it
// has offered it.
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

// below returns a redirect's target with the prefix in front, if it is a path without a
// host that does not begin with the prefix already.
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
		c.Response().Header.SetContentLength(n) // of what a GET would bring
		return nil
	}
	return c.Send(reply.Body)
}

// fail writes an error as a client may see it. What is not an objects.Error is
// logged under a reference and not shown.
func (g *Gateway) fail(c *fiber.Ctx, err error) error {
	e, ok := errors.AsType[*objects.Error](err)
	if fault, is := errors.AsType[*fiber.Error](err); is && !ok {
		e, ok = &objects.Error{Code: codeOf(fault.Code), Message: strings.ToLower(fault.Message)}, true
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

// complete gives any response the headers that all have: the region, who
// else may read it, and what keeps browsers from making more of it than it says. What the
// worker or the object has said itself stands.
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

// browserHeaders are set where nobody else has: no guessing of types, no frame of another
// site, no address told to others.
var browserHeaders = []struct{ name, value []byte }{
	{[]byte(fiber.HeaderXContentTypeOptions), []byte("nosniff")},
	{[]byte(fiber.HeaderXFrameOptions), []byte("SAMEORIGIN")},
	{[]byte(fiber.HeaderReferrerPolicy), []byte("no-referrer")},
}

// codeOf names a status that Fiber itself gives.
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

// headerValue returns an object's header value, less what would end the header or have
// clients refuse the response.
func headerValue(value string) string {
	clean := []byte(value)
	for i, b := range clean {
		if b < ' ' && b != '\t' || b == 0x7f {
			clean[i] = ' '
		}
	}
	return string(clean)
}
