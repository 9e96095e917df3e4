package demo

import (
	"mime"
	"path"
	"regexp"

	"github.com/gofiber/fiber/v2"

	"holdfast/examples/demo/web"
	"holdfast/examples/ticket"
	"holdfast/kvfoil"
	"holdfast/objects"
)

// policy lets the page load nothing but what this gateway serves, and talk to
// nobody else. Not every browser takes 'self' for WebSockets too, so the host by which
// the page was asked for is named.
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

type region struct {
	Code string `json:"code"`
	City string `json:"city,omitempty"`
	URL  string `json:"url"`
}

// config tells the page where it is, and the code that it shows.
func (d *demo) config(c *fiber.Ctx) error {
	regions := []region{}
	for _, peer := range d.env.Peers() {
		regions = append(regions, region{peer.Region, peer.City, peer.URL})
	}
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.JSON(fiber.Map{
		"version": d.env.Version(),
		"region":  d.env.Region(),
		"regions": regions,
		"gapMs":   kvfoil.DefaultGap.Milliseconds(),
		"sources": fiber.Map{"object": ticket.Source, "naive": kvfoil.Source("naive"), "cas": kvfoil.Source("cas")},
	})
}
