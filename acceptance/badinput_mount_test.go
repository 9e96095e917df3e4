package acceptance

import (
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gofiber/fiber/v2"

	"holdfast/gateway"
	"holdfast/objects"
)

// site is an object made of net/http's own parts.
type site struct{ mux *http.ServeMux }

func newSite(*objects.Tx) *site {
	mux := http.NewServeMux()
	files := fstest.MapFS{"index.html": {Data: []byte("the index")}, "sub/a b.txt": {Data: []byte("a file")}, "sub/index.html": {Data: []byte("below")}}
	mux.Handle("/static/", http.StripPrefix("/static", http.FileServerFS(files)))
	mux.HandleFunc("/dir/", func(w http.ResponseWriter, r *http.Request) { tellPath(w, r) })
	mux.HandleFunc("GET /files/{name}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Name", r.PathValue("name"))
		tellPath(w, r)
	})
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/dir/after", http.StatusSeeOther) })
	mux.HandleFunc("/relative", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "dir/after", http.StatusSeeOther) })
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://example.org/x", http.StatusSeeOther)
	})
	mux.HandleFunc("/forge", func(w http.ResponseWriter, _ *http.Request) {
		for _, name := range []string{"Holdfast-Owner", "holdfast-epoch", "HOLDFAST-REGION"} {
			w.Header()[name] = []string{"forged"}
		}
		w.Header()["keep-alive"], w.Header()["UPGRADE"] = []string{"timeout=99"}, []string{"h2c"}
	})
	mux.HandleFunc("/length", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "12345") })
	mux.HandleFunc("/", tellPath)
	return &site{mux}
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

type told struct{ Method, URI, Path, Query, Prefix, Remote string }

func tellPath(w http.ResponseWriter, r *http.Request) {
	_ = json.NewEncoder(w).Encode(told{r.Method, r.RequestURI, r.URL.Path, r.URL.RawQuery, r.Header.Get("X-Forwarded-Prefix"), r.RemoteAddr}) // into memory
}

func newSitePlace(t *testing.T) *place {
	t.Helper()
	class := objects.Implement("site", newSite)
	p := newPlace(t, func(cfg *gateway.Config) {
		inner := cfg.Worker
		cfg.Classes = append(cfg.Classes, "site")
		cfg.Worker = func(r fiber.Router, env *gateway.Env) {
			env.Mount(r.Group("/api"), "/sites/:name", "site")
			env.Mount(r, "/sites/:name", "site")
			inner(r, env)
		}
	}, class)
	return p
}

func TestAPathArrivesAsItWasSent(t *testing.T) {
	beside(t, places)
	p := newSitePlace(t)
	for _, row := range []struct{ sent, prefix, uri string }{
		{"/sites/a", "/sites/a", "/"},
		{"/sites/a/", "/sites/a", "/"},
		{"/sites/a/dir/", "/sites/a", "/dir/"},
		{"/sites/a/dir/x//", "/sites/a", "/dir/x//"},
		{"/sites/a/dir/a%2Fb", "/sites/a", "/dir/a%2Fb"},
		{"/sites/a/dir/%2e%2e/b", "/sites/a", "/dir/%2e%2e/b"},
		{"/sites/a/dir/%41", "/sites/a", "/dir/%41"},
		{"/sites/a%2Fb/dir/", "/sites/a%2Fb", "/dir/"},
		{"/sites/a/dir/?", "/sites/a", "/dir/?"},
		{"/sites/a/dir/?a=1&b=%2F?", "/sites/a", "/dir/?a=1&b=%2F?"},
		{"/api/sites/a/dir/x/", "/api/sites/a", "/dir/x/"},
		{"http://localhost/sites/a/dir/x/?y", "/sites/a", "/dir/x/?y"},
	} {
		a := p.once(t, "GET", row.sent, "", "X-Forwarded-Prefix", "/forged")
		// ServeMux cleans paths by a redirect: what it would be asked next is not the question here.
		if a.StatusCode == http.StatusMovedPermanently || a.StatusCode == http.StatusTemporaryRedirect {
			if clean := strings.Contains(row.sent, "//") || strings.Contains(row.sent, "%2e"); !clean || !strings.HasPrefix(a.Header.Get("Location"), row.prefix+"/") {
				t.Errorf("%s: %d to %s", row.sent, a.StatusCode, a.Header.Get("Location"))
			}
			continue
		}
		var got told
		decode(t, a.body, &got)
		if got.URI != row.uri || got.Prefix != row.prefix {
			t.Errorf("%s: the object sees %q below %q, want %q below %q", row.sent, got.URI, got.Prefix, row.uri, row.prefix)
		}
		if _, port, err := net.SplitHostPort(got.Remote); err != nil || port == "0" {
			t.Errorf("RemoteAddr %q has no port", got.Remote)
		}
	}
}

func TestServeMuxAndFileServerBehaveBehindAMount(t *testing.T) {
	beside(t, places)
	p := newSitePlace(t)
	for _, row := range []struct {
		target   string
		status   int
		location string
	}{
		{"/sites/a/dir", 307, "/sites/a/dir/"},
		{"/sites/a/static", 307, "/sites/a/static/"},
		{"/sites/a/static/", 200, ""},
		{"/sites/a/static/index.html", 301, "./"},
		{"/sites/a/static/sub", 301, "sub/"},
		{"/sites/a/static/sub/", 200, ""},
		{"/sites/a/static/sub/a%20b.txt", 200, ""},
		{"/sites/a/static/nothing", 404, ""},
		{"/sites/a/login", 303, "/sites/a/dir/after"},
		{"/sites/a/relative", 303, "/sites/a/dir/after"},
		{"/sites/a/away", 303, "https://example.org/x"},
		{"/sites/a/files/x%2Fy", 200, ""},
	} {
		a := p.once(t, "GET", row.target, "")
		if a.StatusCode != row.status || a.Header.Get("Location") != row.location {
			t.Errorf("%s: %d to %q, want %d to %q: %s", row.target, a.StatusCode, a.Header.Get("Location"), row.status, row.location, a.body)
		}
		if strings.HasSuffix(row.target, "x%2Fy") && a.Header.Get("X-Name") != "x/y" {
			t.Errorf("the path's value is %q, want x/y", a.Header.Get("X-Name"))
		}
	}
}

func TestRegisteredMethodsPassAndHeadKeepsItsLength(t *testing.T) {
	beside(t, places)
	p := newSitePlace(t)
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "QUERY", "REPORT", "MKCOL", "LOCK"} {
		a := p.once(t, method, "/sites/a/dir/", "")
		var got told
		if decode(t, a.body, &got); a.StatusCode != http.StatusOK || got.Method != method {
			t.Errorf("%s: %d %s", method, a.StatusCode, a.body)
		}
	}
	if status, header, _, err := try("HEAD", p.url+"/sites/a/length", ""); err != nil || status != http.StatusOK || header.Get("Content-Length") != "12345" {
		t.Errorf("HEAD: %d, Content-Length %q, %v", status, header.Get("Content-Length"), err)
	}
	if status, header, _, err := try("HEAD", p.url+"/sites/a/dir/", ""); err != nil || status != http.StatusOK {
		t.Errorf("HEAD of what GET writes: %d, %v, %v", status, header, err)
	}
}

func TestAnObjectSpeaksForItselfOnly(t *testing.T) {
	beside(t, places)
	p := newSitePlace(t)
	a := p.once(t, "GET", "/sites/a/forge", "")
	for name, values := range a.Header {
		if strings.Contains(strings.Join(values, " "), "forged") {
			t.Errorf("%s: %q", name, values)
		}
	}
	if a.Header.Get("Holdfast-Region") != "fra" || a.Header.Get("Keep-Alive") != "" || a.Header.Get("Upgrade") != "" {
		t.Errorf("headers %v", a.Header)
	}
}

// Nobody can reach a class that no worker mounts.
func TestNoClassIsReachableUnlessAWorkerMountsIt(t *testing.T) {
	beside(t, places)
	p := newPlace(t, func(cfg *gateway.Config) { cfg.Worker = nil })
	for _, target := range []string{"/objects/probe/x", "/objects/probe/x/y", "/probe/x", "/"} {
		e := refusal(t, p.once(t, "GET", target, ""), http.StatusNotFound, "not_found")
		if !strings.Contains(e["message"], "env.Mount(") {
			t.Errorf("%s: %q does not say which line mounts a class", target, e["message"])
		}
	}
	conn := p.dial(t)
	if _, a := p.handshake(t, conn, "GET", "/objects/probe/x"); a.StatusCode != http.StatusNotFound {
		t.Errorf("an upgrade: %d", a.StatusCode)
	}
}

func TestMiddlewareStandsInFrontOfAMount(t *testing.T) {
	beside(t, places)
	p := newPlace(t, func(cfg *gateway.Config) {
		cfg.Worker = func(r fiber.Router, env *gateway.Env) {
			r.Use(func(c *fiber.Ctx) error {
				if c.Get("Authorization") != "Bearer good" {
					return objects.Errorf(objects.Unauthorized, "who are you?")
				}
				return c.Next()
			})
			env.Mount(r, "/app/:name", "probe")
		}
	})
	for _, target := range []string{"/app/x", "/app/x/", "/app/x/whoami", "/APP/x/", "//app/x"} {
		if a := p.once(t, "POST", target, ""); a.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s without a token: %d %s", target, a.StatusCode, a.body)
		}
	}
	if a := p.once(t, "POST", "/app/x/y", "", "Authorization", "Bearer good"); a.StatusCode != http.StatusOK {
		t.Errorf("with one: %d %s", a.StatusCode, a.body)
	}
}

func TestAMountThatCannotBeIsTheAuthorsFault(t *testing.T) {
	beside(t, places)
	p := newPlace(t, func(cfg *gateway.Config) {
		cfg.Worker = func(r fiber.Router, env *gateway.Env) {
			for _, row := range [][2]string{{"/x/:name", "nothing"}, {"/x", "probe"}, {":name", "probe"}, {"/x/:name/", "probe"}, {"/x/:", "probe"}, {"/x/*", "probe"}} {
				func() {
					defer func() {
						if recover() == nil {
							t.Errorf("mount %s of %s: no panic", row[0], row[1])
						}
					}()
					env.Mount(r, row[0], objects.Class(row[1]))
				}()
			}
		}
	})
	_ = p
}
