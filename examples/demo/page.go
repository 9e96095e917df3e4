package demo

import (
	"mime"
	"path"
	"regexp"

	"github.com/gofiber/fiber/v2"

	"holdfast/examples/demo/web"
	"holdfast/examples/room"
	"holdfast/examples/ticket"
	"holdfast/kvfoil"
	"holdfast/objects"
)

// policy allows the page only what this gateway serves, and only connections to this gateway. Some browsers do not
// apply 'self' to WebSockets, so policy names the host of the request.
func policy(c *fiber.Ctx) string {
	sockets := ""
	if host := string(c.Request().Host()); hostPattern.MatchString(host) {
		sockets = " ws://" + host + " wss://" + host
	}
	return "default-src 'self'; connect-src 'self'" + sockets + "; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
}

var hostPattern = regexp.MustCompile(`^[A-Za-z0-9.-]+(:[0-9]+)?$`)

func (d *demo) page(c *fiber.Ctx) error { return serve(c, "index.html") }

func (d *demo) file(c *fiber.Ctx) error { return serve(c, c.Params("*")) }

// serve sends a file of the page. The files are part of the binary, so a newer
// binary must be able to replace them at once.
func serve(c *fiber.Ctx, name string) error {
	data, err := web.Files.ReadFile(name)
	if err != nil {
		return objects.Errorf(objects.NotFound, "the page has no such file")
	}
	c.Set(fiber.HeaderContentSecurityPolicy, policy(c))
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	c.Set(fiber.HeaderReferrerPolicy, "no-referrer")
	c.Set(fiber.HeaderCacheControl, "no-cache")
	c.Set(fiber.HeaderContentType, mime.TypeByExtension(path.Ext(name)))
	return c.Send(data)
}

// region is a gateway that a visitor may use.
type region struct {
	Code  string  `json:"code"`
	City  string  `json:"city,omitempty"`
	URL   string  `json:"url,omitempty"`
	RTTMs float64 `json:"rttMs"` // from the gateway that was asked
}

// regions returns the present gateways to the page.
func (d *demo) regions(c *fiber.Ctx) error {
	members, err := d.members(c.UserContext())
	if err != nil {
		return err
	}
	all := make([]region, len(members))
	for i, m := range members {
		all[i] = region{m.Region, m.City, m.URL, float64(m.RTT.Microseconds()) / 1000}
	}
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.JSON(all)
}

// config returns to the page its region, and the code that it shows.
func (d *demo) config(c *fiber.Ctx) error {
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.JSON(fiber.Map{
		"version": d.env.Version(),
		"region":  d.env.Region(),
		"faults":  d.env.Faults() != nil,
		"gapMs":   kvfoil.DefaultGap.Milliseconds(),
		"sources": fiber.Map{"object": ticket.Source, "room": room.Source, "naive": kvfoil.Source("naive"), "cas": kvfoil.Source("cas")},
		"panels":  d.panels,
	})
}
