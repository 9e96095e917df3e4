package auth

import (
	_ "embed"
	"html/template"
	"net/http"
	"regexp"
	"strings"

	"github.com/gofiber/fiber/v2"
)

var (
	//go:embed web/page.html
	pageHTML string
	//go:embed web/page.js
	pageJS string

	pageTemplate = template.Must(template.New("page").Parse(pageHTML))
)

// policy allows a page only its own script, and connections to one gateway.
func policy(gateway string) string {
	return "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; img-src data:; connect-src " + gateway +
		"; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
}

var plainHost = regexp.MustCompile(`^[A-Za-z0-9.-]+(:[0-9]+)?$`)

// page serves the gateway's own page: the browser keeps the proof as a cookie.
func (d *door) page(c *fiber.Ctx) error {
	c.Set(fiber.HeaderContentType, "text/html; charset=utf-8")
	self := "'self'"
	if host := string(c.Request().Host()); plainHost.MatchString(host) { // some browsers do not apply 'self' to WebSockets
		self += " ws://" + host + " wss://" + host
	}
	c.Set(fiber.HeaderContentSecurityPolicy, policy(self))
	return pageTemplate.Execute(c, "")
}

func (d *door) script(c *fiber.Ctx) error {
	c.Set(fiber.HeaderContentType, "text/javascript; charset=utf-8")
	return c.SendString(pageJS)
}

// Elsewhere serves the same page from another origin than the gateway's, such as "https://example.org": the page holds
// a bearer token itself. The gateway has to list the page's origin, with --origin.
func Elsewhere(gateway string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", policy(gateway+" "+strings.Replace(gateway, "http", "ws", 1)))
		_ = pageTemplate.Execute(w, gateway) // fails when the client has left
	})
	mux.HandleFunc("GET /auth/page.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
		_, _ = w.Write([]byte(pageJS)) // likewise
	})
	return mux
}
