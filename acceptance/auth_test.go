package acceptance

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/golang-jwt/jwt/v5"

	"holdfast/examples/auth"
	"holdfast/gateway"
)

var authKey = bytes.Repeat([]byte("s"), 32)

func init() { auth.Iterations = 1000 } // the race detector makes a hash take seconds

// newAuth returns a place with the example's login, and with accounts of ada and bob.
func newAuth(t *testing.T, origins ...string) *place {
	t.Helper()
	p := newPlace(t, func(cfg *gateway.Config) {
		cfg.Origins = origins
		for _, class := range auth.Objects {
			cfg.Classes = append(cfg.Classes, string(class.Class()))
		}
		other := cfg.Worker
		cfg.Worker = func(r fiber.Router, env *gateway.Env) { auth.Worker(authKey)(r, env); other(r, env) }
	}, auth.Objects...)
	for _, name := range []string{"ada", "bob"} {
		if a := p.once(t, "POST", "/auth/signup", `{"name":"`+name+`","password":"password of `+name+`"}`); a.StatusCode != http.StatusOK {
			t.Fatalf("%s cannot sign up: %d %s", name, a.StatusCode, a.body)
		}
	}
	return p
}

// cookieOf logs a user in and returns the cookie.
func (p *place) cookieOf(t *testing.T, name string) string {
	t.Helper()
	a := p.once(t, "POST", "/auth/login", `{"name":"`+name+`","password":"password of `+name+`"}`)
	if a.StatusCode != http.StatusOK || len(a.Cookies()) != 1 {
		t.Fatalf("login = %d %s", a.StatusCode, a.body)
	}
	return a.Cookies()[0].Value
}

func (p *place) bearerOf(t *testing.T, name string) string {
	t.Helper()
	a := p.once(t, "POST", "/auth/token", `{"name":"`+name+`","password":"password of `+name+`"}`)
	if a.StatusCode != http.StatusOK {
		t.Fatalf("token = %d %s", a.StatusCode, a.body)
	}
	var answer struct{ Token string }
	decode(t, a.body, &answer)
	return answer.Token
}

// upgraded requests the WebSocket of a room and returns the answer.
func (p *place) upgraded(t *testing.T, target string, header ...string) answered {
	t.Helper()
	_, a := p.handshake(t, p.dial(t), "GET", target, append([]string{"Sec-WebSocket-Protocol", "room"}, header...)...)
	return a
}

func TestWhoIsLoggedInIsLetIn(t *testing.T) {
	beside(t, places)
	const friend = "http://friend.example"
	p := newAuth(t, friend)
	cookie, bearer := "session="+p.cookieOf(t, "ada"), p.bearerOf(t, "ada")
	for what, header := range map[string][]string{
		"by a cookie":                    {"Cookie", cookie},
		"by a cookie among others":       {"Cookie", "a=b; " + cookie + "; c=d"},
		"by a cookie, from its page":     {"Cookie", cookie, "Origin", "http://" + p.addr},
		"by a cookie, of a listed page":  {"Cookie", cookie, "Origin", friend},
		"by a bearer token":              {"Authorization", "Bearer " + bearer},
		"by a bearer token, in any case": {"authorization", "bEARER " + bearer},
	} {
		if a := p.once(t, "GET", "/auth/me", "", header...); a.StatusCode != http.StatusOK || a.body != `{"name":"ada"}` {
			t.Errorf("%s: %d %s", what, a.StatusCode, a.body)
		}
		if a := p.upgraded(t, "/auth/rooms/ada", header...); a.StatusCode != http.StatusSwitchingProtocols || a.Header.Get("Sec-WebSocket-Protocol") != "room" {
			t.Errorf("%s: socket %d %s", what, a.StatusCode, a.body)
		}
	}
	for _, protocols := range []string{"room, bearer." + bearer, "bearer." + bearer + ",room"} {
		if a := p.upgraded(t, "/auth/rooms/ada", "Sec-WebSocket-Protocol", protocols, "Origin", friend); a.StatusCode != http.StatusSwitchingProtocols || a.Header.Get("Sec-WebSocket-Protocol") != "room" {
			t.Errorf("by a subprotocol: %d %q %s", a.StatusCode, a.Header.Get("Sec-WebSocket-Protocol"), a.body)
		}
	}
}

func TestNobodyComesInWithoutAProof(t *testing.T) {
	beside(t, places)
	p := newAuth(t)
	asAda := [][]string{
		{},
		{"Holdfast-Principal", `{"id":"ada"}`},
		{"X-Holdfast-Principal", "ada", "Principal", "ada", "X-User", "ada", "X-Forwarded-User", "ada", "Remote-User", "ada"},
		{"Authorization", "Basic YWRhOnBhc3N3b3JkIG9mIGFkYQ=="},
		{"Authorization", "Bearer ada"},
		{"Authorization", "Bearer"},
		{"Cookie", "session="},
		{"Cookie", "session=ada"},
		{"Cookie", `session={"id":"ada"}`},
		{"Cookie", "Session=" + p.cookieOf(t, "ada")},
	}
	for _, header := range asAda {
		if a := p.once(t, "GET", "/auth/me", "", header...); a.StatusCode != http.StatusUnauthorized {
			t.Errorf("me with %v = %d %s", header, a.StatusCode, a.body)
		}
		if a := p.once(t, "POST", "/auth/rooms/ada/guests", `{"name":"bob"}`, header...); a.StatusCode != http.StatusUnauthorized {
			t.Errorf("invite with %v = %d %s", header, a.StatusCode, a.body)
		}
		if a := p.upgraded(t, "/auth/rooms/ada", header...); a.StatusCode != http.StatusUnauthorized {
			t.Errorf("socket with %v = %d %s", header, a.StatusCode, a.body)
		}
	}
	for _, target := range []string{"/objects/private-room/ada", "/auth/private-room/ada", "/private-room/ada", "//auth/rooms/ada", "/auth/rooms/", "/auth/rooms/ada/../ada", "/AUTH/ROOMS/ada", "/auth/rooms/ada/", "/auth%2Frooms/ada", "/auth/rooms%2Fada"} {
		if a := p.upgraded(t, target); a.StatusCode < 400 || a.StatusCode >= 500 {
			t.Errorf("socket at %s = %d %s", target, a.StatusCode, a.body)
		}
	}
}

func TestAnothersRoomStaysClosed(t *testing.T) {
	beside(t, places)
	p := newAuth(t)
	cookie := "session=" + p.cookieOf(t, "bob")
	forged := []string{"Cookie", cookie, "Holdfast-Principal", `{"id":"ada"}`, "X-User", "ada", "X-Forwarded-Prefix", "/auth/rooms/bob"}
	if a := p.once(t, "GET", "/auth/me", "", forged...); a.body != `{"name":"bob"}` {
		t.Errorf("bob, who says that he is ada, is %d %s", a.StatusCode, a.body)
	}
	for _, target := range []string{"/auth/rooms/ada", "/auth/rooms/ada/", "/auth/rooms/ada/bob", "/auth/rooms/%61da", "/auth/rooms/ada?name=bob", "/auth/rooms/ada#bob", "/Auth/Rooms/ada", "/auth/rooms/bob%2F..%2Fada"} {
		a := p.upgraded(t, target, forged...)
		if a.StatusCode != http.StatusForbidden && a.StatusCode != http.StatusNotFound && a.StatusCode != http.StatusBadRequest {
			t.Errorf("bob at %s = %d %s", target, a.StatusCode, a.body)
		}
	}
	for _, method := range []string{"POST", "DELETE"} {
		if a := p.once(t, method, "/auth/rooms/ada/guests?name=bob", `{"name":"bob"}`, forged...); a.StatusCode != http.StatusForbidden && a.StatusCode != http.StatusBadRequest {
			t.Errorf("%s of ada's guests by bob = %d %s", method, a.StatusCode, a.body)
		}
	}
	if a := p.upgraded(t, "/auth/rooms/ada", forged...); a.StatusCode != http.StatusForbidden {
		t.Errorf("bob is let in after all: %d", a.StatusCode)
	}
	// Dots are the object's to read: this is a path in bob's own room.
	bobs, err := auth.Rooms.ID("bob")
	if err != nil {
		t.Fatal(err)
	}
	if a := p.upgraded(t, "/auth/rooms/bob/../ada", forged...); a.Header.Get("Holdfast-Object") != bobs.Key() {
		t.Errorf("bob, by a path with dots, is at %q: %d", a.Header.Get("Holdfast-Object"), a.StatusCode)
	}
	if a := p.upgraded(t, "/auth/rooms/bob", forged...); a.StatusCode != http.StatusSwitchingProtocols {
		t.Errorf("bob's own room is closed for him: %d %s", a.StatusCode, a.body)
	}
}

func TestAPageOfAnotherOriginDoesNotActForItsVisitor(t *testing.T) {
	beside(t, places)
	p := newAuth(t, "http://friend.example")
	cookie := "session=" + p.cookieOf(t, "ada")
	for _, origin := range []string{"http://evil.example", "null", "https://friend.example", "http://friend.example.evil.example", "http://friend.example:81", "https://" + p.addr, "http://" + p.addr + ".evil.example"} {
		if a := p.upgraded(t, "/auth/rooms/ada", "Cookie", cookie, "Origin", origin); a.StatusCode != http.StatusForbidden {
			t.Errorf("socket of a page at %s = %d %s", origin, a.StatusCode, a.body)
		}
		for _, target := range []string{"/auth/rooms/ada/guests", "/auth/logout", "/auth/login", "/auth/token"} {
			if a := p.once(t, "POST", target, `{"name":"bob"}`, "Cookie", cookie, "Origin", origin, "Content-Type", "text/plain"); a.StatusCode != http.StatusForbidden {
				t.Errorf("POST %s of a page at %s = %d %s", target, origin, a.StatusCode, a.body)
			}
		}
		a := p.once(t, "GET", "/auth/me", "", "Cookie", cookie, "Origin", origin)
		if got := a.Header.Get("Access-Control-Allow-Origin"); got != "" {
			t.Errorf("a page at %s may read who is logged in: %q", origin, got)
		}
	}
}

func TestATokenThatWasTamperedWithProvesNothing(t *testing.T) {
	beside(t, places)
	p := newAuth(t)
	cookie, bearer := p.cookieOf(t, "bob"), p.bearerOf(t, "bob")
	claims := func(change func(*jwt.RegisteredClaims)) *jwt.RegisteredClaims {
		c := &jwt.RegisteredClaims{
			Issuer: "holdfast-example", Subject: "ada", Audience: jwt.ClaimStrings{"bearer", "session"},
			IssuedAt: jwt.NewNumericDate(time.Now()), ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour)),
		}
		change(c)
		return c
	}
	signed := func(method jwt.SigningMethod, key any, change func(*jwt.RegisteredClaims)) string {
		token, err := jwt.NewWithClaims(method, claims(change)).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	as := func(*jwt.RegisteredClaims) {}
	parts := strings.Split(bearer, ".")
	adas := base64.RawURLEncoding.EncodeToString(bytes.ReplaceAll(unbased(t, parts[1]), []byte(`"bob"`), []byte(`"ada"`)))
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`))
	if token := signed(jwt.SigningMethodHS256, authKey, as); p.once(t, "GET", "/auth/me", "", "Authorization", "Bearer "+token).StatusCode != http.StatusOK {
		t.Fatal("a token that is made here as the worker makes it is not taken: the others would prove nothing")
	}
	for what, token := range map[string]string{
		"another's name":            parts[0] + "." + adas + "." + parts[2],
		"no signature":              parts[0] + "." + adas + ".",
		"no algorithm":              none + "." + adas + ".",
		"no algorithm, a signature": none + "." + adas + "." + parts[2],
		"the library's none":        signed(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, as),
		"another key":               signed(jwt.SigningMethodHS256, bytes.Repeat([]byte("x"), 32), as),
		"an empty key":              signed(jwt.SigningMethodHS256, []byte{}, as),
		"another algorithm":         signed(jwt.SigningMethodHS512, authKey, as),
		"it has ended":              signed(jwt.SigningMethodHS256, authKey, func(c *jwt.RegisteredClaims) { c.ExpiresAt = jwt.NewNumericDate(time.Now().Add(-time.Minute)) }),
		"it never ends":             signed(jwt.SigningMethodHS256, authKey, func(c *jwt.RegisteredClaims) { c.ExpiresAt = nil }),
		"another issuer":            signed(jwt.SigningMethodHS256, authKey, func(c *jwt.RegisteredClaims) { c.Issuer = "evil" }),
		"no kind":                   signed(jwt.SigningMethodHS256, authKey, func(c *jwt.RegisteredClaims) { c.Audience = nil }),
		"no name":                   signed(jwt.SigningMethodHS256, authKey, func(c *jwt.RegisteredClaims) { c.Subject = "" }),
		"a name that cannot be":     signed(jwt.SigningMethodHS256, authKey, func(c *jwt.RegisteredClaims) { c.Subject = "ada\r\nX: y" }),
		"something behind it":       bearer + "x",
		"two in one":                bearer + "." + bearer,
		"no token":                  strings.Repeat(".", 9000),
	} {
		for by, header := range map[string][]string{
			"cookie": {"Cookie", "session=" + token}, "header": {"Authorization", "Bearer " + token}, "subprotocol": {"Sec-WebSocket-Protocol", "room, bearer." + token},
			"header, beside a good cookie":      {"Authorization", "Bearer " + token, "Cookie", "session=" + cookie},
			"subprotocol, beside a good cookie": {"Sec-WebSocket-Protocol", "room, bearer." + token, "Cookie", "session=" + cookie},
		} {
			if a := p.upgraded(t, "/auth/rooms/bob", header...); a.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s, by %s: %d %s", what, by, a.StatusCode, a.body)
			}
		}
	}
	for what, header := range map[string][]string{
		"a bearer token as a cookie": {"Cookie", "session=" + bearer},
		"a cookie as a bearer token": {"Authorization", "Bearer " + cookie},
		"a cookie as a subprotocol":  {"Sec-WebSocket-Protocol", "room, bearer." + cookie},
	} {
		if a := p.upgraded(t, "/auth/rooms/bob", header...); a.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", what, a.StatusCode, a.body)
		}
	}
}

func unbased(t *testing.T, part string) []byte {
	t.Helper()
	data, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
