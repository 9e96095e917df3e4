package gateway

import (
	"bytes"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"holdfast/internal/loopback"
	"holdfast/objects"
)

// CheckOrigin refuses a web origin that no browser can send. An origin is a scheme, a host and, unless it is the
// scheme's default, a port.
func CheckOrigin(origin string) error {
	u, err := url.Parse(origin)
	web := err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != ""
	own := web && (u.Scheme == "http" && u.Port() == "80" || u.Scheme == "https" && u.Port() == "443")
	odd := func(r rune) bool { return r <= ' ' || r > '~' || r == '*' || r == ',' } // browsers write other letters in ASCII
	if !web || own || strings.ContainsFunc(u.Host, odd) || strings.HasSuffix(u.Host, ":") || !strings.EqualFold(origin, u.Scheme+"://"+u.Host) {
		return fmt.Errorf("%s can never match: an origin is a scheme, a host and a port that is not the usual one, as https://example.org", shown(origin))
	}
	return nil
}

// shown returns an origin without user and password, so that it may be shown.
func shown(origin string) string {
	if at := strings.LastIndexByte(origin, '@'); at >= 0 {
		origin = "…" + origin[at:]
	}
	return fmt.Sprintf("%.80q", origin)
}

// origins are the web origins that are listed.
type origins []string

func (o origins) list(origin []byte) bool {
	return slices.ContainsFunc(o, func(listed string) bool {
		return len(listed) == len(origin) && strings.EqualFold(listed, string(origin))
	})
}

// names returns the hosts of the origins, without their ports.
func (o origins) names() (names []string) {
	for _, origin := range o {
		_, host, _ := strings.Cut(origin, "://")
		names = append(names, loopback.Name(host))
	}
	return names
}

// ownOrigin reports whether an origin is that of the gateway's own pages.
func ownOrigin(origin, host string, secure bool) bool {
	scheme := "http://"
	if secure {
		scheme = "https://"
	}
	return host != "" && len(origin) > len(scheme) && strings.EqualFold(origin[:len(scheme)], scheme) && strings.EqualFold(origin[len(scheme):], host)
}

// sameOrigin keeps other sites' pages from opening sockets and changing things
// through a visitor's browser, and answers the preflights of those that are listed.
func (g *Gateway) sameOrigin(c *fiber.Ctx) error {
	origin := c.Request().Header.Peek(fiber.HeaderOrigin)
	if len(origin) == 0 {
		return c.Next()
	}
	secure := g.trusted.secure(c.Context())
	alone := len(c.Request().Header.PeekAll(fiber.HeaderOrigin)) == 1
	may := alone && (g.origins.list(origin) || ownOrigin(string(origin), string(c.Request().Host()), secure))
	asks := c.Method() == fiber.MethodOptions && c.Get(fiber.HeaderAccessControlRequestMethod) != ""
	harmless := (c.Method() == fiber.MethodGet || c.Method() == fiber.MethodHead || c.Method() == fiber.MethodOptions) && !asks && !upgrades(c)
	switch {
	case asks && may:
		return g.preflight(c)
	case may || harmless:
		return c.Next()
	case !secure && ownOrigin(string(origin), string(c.Request().Host()), true):
		return objects.Errorf(objects.Forbidden, "the page was loaded over TLS, which ends before the gateway: name the proxy with --trusted-proxy and have it set X-Forwarded-Proto, or list the origin with --origin %.80s", origin)
	}
	return objects.Errorf(objects.Forbidden, "this origin may not use the gateway: list it with --origin")
}

// preflight answers a browser's question whether a page may send a request. No object is asked for it. The worker's
// middleware sees the question; if the middleware gives a valid answer, that is sent.
func (g *Gateway) preflight(c *fiber.Ctx) error {
	scopeOf(c.UserContext()).preflight = true
	err := c.Next()
	response := &c.Response().Header
	if err == nil && len(response.Peek(fiber.HeaderAccessControlAllowOrigin)) > 0 {
		return nil
	}
	c.Response().Reset()
	c.Status(fiber.StatusNoContent)
	response.SetBytesV(fiber.HeaderAccessControlAllowMethods, headerBytes(c.Request().Header.Peek(fiber.HeaderAccessControlRequestMethod)))
	if wants := c.Request().Header.Peek(fiber.HeaderAccessControlRequestHeaders); len(wants) > 0 {
		response.SetBytesV(fiber.HeaderAccessControlAllowHeaders, headerBytes(wants))
	}
	response.Set(fiber.HeaderAccessControlMaxAge, "600")
	c.Vary(fiber.HeaderAccessControlRequestMethod, fiber.HeaderAccessControlRequestHeaders)
	return nil
}

// headerBytes returns a header's value that may be sent back.
func headerBytes(value []byte) []byte { return []byte(headerValue(string(value))) }

// exposed are the response headers that a page of a listed origin may read beside the standard ones.
const exposed = "Holdfast-Object, Holdfast-Owner, Holdfast-Epoch, Holdfast-Region, Holdfast-Woke, Retry-After, Location, ETag"

// share lets a page of a listed origin read the response, unless the worker has set its own rule.
func (g *Gateway) share(rc *fasthttp.RequestCtx) {
	if len(g.origins) == 0 {
		return
	}
	response := &rc.Response.Header
	if !bytes.Contains(bytes.ToLower(response.Peek(fiber.HeaderVary)), []byte("origin")) {
		response.Add(fiber.HeaderVary, fiber.HeaderOrigin)
	}
	origin := rc.Request.Header.Peek(fiber.HeaderOrigin)
	if len(origin) == 0 || !g.origins.list(origin) || len(response.Peek(fiber.HeaderAccessControlAllowOrigin)) > 0 {
		return
	}
	response.SetBytesV(fiber.HeaderAccessControlAllowOrigin, origin)
	response.Set(fiber.HeaderAccessControlAllowCredentials, "true")
	response.Set(fiber.HeaderAccessControlExposeHeaders, exposed)
}
