// Package auth is a login, and rooms that belong to who has logged in.
//
// A worker finds out who asks, and says so once: gateway.SetPrincipal. Objects read it, objects.PrincipalOf, and decide. No
// client can say it, whatever headers it sends. There are two proofs, and both are JSON Web Tokens:
//
//	a cookie   of the gateway's own page, which its script cannot read
//	a bearer   of a page on another origin and of programs, in the header Authorization; for a WebSocket, where browsers let
//	           a page set no header, as a subprotocol: new WebSocket(url, ["room", "bearer." + token])
//
// A token of one kind is none of the other. A token is believed until it ends, also after a logout elsewhere: it ends soon.
package auth

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/golang-jwt/jwt/v5"

	"holdfast/gateway"
	"holdfast/objects"
)

// Objects are the classes with their code.
var Objects = []*objects.Implementation{accounts, rooms}

const (
	tokenLife  = time.Hour
	sessionKey = 32 // bytes at the least
	issuer     = "holdfast-example"

	cookie = "session"
	bearer = "bearer"
)

// Worker adds the login's routes, below /auth. All gateways have the same key, and nobody else has it: whoever has can be
// anybody. It panics over a key of less than 32 bytes.
func Worker(key []byte) gateway.Worker {
	if len(key) < sessionKey {
		panic("auth: the key is too short to be secret")
	}
	return func(r fiber.Router, env *gateway.Env) {
		d := &door{key: key, env: env}
		r.Get("/auth", d.page)
		r.Get("/auth/page.js", d.script)

		r.Use("/auth", d.who)
		r.Post("/auth/signup", d.enter(signUp, d.session))
		r.Post("/auth/login", d.enter(logIn, d.session))
		r.Post("/auth/token", d.enter(logIn, d.token))
		r.Post("/auth/logout", d.logOut)
		r.Get("/auth/me", known, func(c *fiber.Ctx) error {
			return c.JSON(fiber.Map{"name": objects.PrincipalOf(c.UserContext()).ID})
		})

		r.Use("/auth/rooms", known)
		r.Post("/auth/rooms/:name/guests", gateway.Handle(env, Invite, gateway.Param("name")))
		r.Delete("/auth/rooms/:name/guests", gateway.Handle(env, Remove, gateway.Param("name")))
		env.Mount(r, "/auth/rooms/:name", Rooms)
	}
}

// door is the worker of one gateway.
type door struct {
	key []byte
	env *gateway.Env
}

// who finds out who asks. A request without a proof is nobody's; one with a wrong proof goes no further. Objects do not see
// proofs.
func (d *door) who(c *fiber.Ctx) error {
	token, kind := proof(c)
	if token == "" {
		return c.Next()
	}
	name, err := d.verify(token, kind)
	if err != nil {
		return err
	}
	gateway.SetPrincipal(c, objects.Principal{ID: name})
	return c.Next()
}

// known lets in those who have logged in.
func known(c *fiber.Ctx) error {
	if objects.PrincipalOf(c.UserContext()).ID == "" {
		return objects.Errorf(objects.Unauthorized, "log in first")
	}
	return c.Next()
}

// proof takes the token out of a request. What a program says itself goes before the cookie, which a browser adds.
func proof(c *fiber.Ctx) (token, kind string) {
	header := &c.Request().Header
	if token = string(header.Cookie(cookie)); token != "" {
		kind = cookie
		header.DelCookie(cookie)
	}
	if authorization := string(header.Peek(fiber.HeaderAuthorization)); authorization != "" {
		scheme, said, _ := strings.Cut(authorization, " ")
		if token, kind = said, bearer; !strings.EqualFold(scheme, bearer) || said == "" {
			token = "none" // it is no proof, and the cookie does not make up for it
		}
		header.Del(fiber.HeaderAuthorization)
	}
	var left []string
	for _, line := range header.PeekAll("Sec-WebSocket-Protocol") {
		for protocol := range strings.SplitSeq(string(line), ",") {
			protocol = strings.TrimSpace(protocol)
			if said, ok := strings.CutPrefix(protocol, bearer+"."); ok {
				token, kind = said, bearer
			} else if protocol != "" {
				left = append(left, protocol)
			}
		}
	}
	header.Del("Sec-WebSocket-Protocol")
	if len(left) > 0 {
		header.Set("Sec-WebSocket-Protocol", strings.Join(left, ", "))
	}
	return token, kind
}

// verify returns whose token it is.
func (d *door) verify(token, kind string) (name string, err error) {
	var claims jwt.RegisteredClaims
	_, err = jwt.ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) { return d.key, nil },
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithIssuer(issuer), jwt.WithAudience(kind), jwt.WithExpirationRequired())
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return "", objects.Errorf(objects.Unauthorized, "your session has ended; log in again")
	case err != nil || !validName(claims.Subject):
		return "", objects.Errorf(objects.Unauthorized, "this proves nothing; log in again")
	}
	return claims.Subject, nil
}

// sign makes a token of a kind.
func (d *door) sign(name, kind string, now time.Time) (string, error) {
	return jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
		Issuer: issuer, Subject: name, Audience: jwt.ClaimStrings{kind}, IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(tokenLife)),
	}).SignedString(d.key)
}

// credentials are what somebody types.
type credentials struct {
	Name     string `json:"name"`
	Password string `json:"password"`
}

// enter has an account judge a password, and hands out a proof.
func (d *door) enter(judge func(ctx context.Context, account objects.Ref, password string) error, give func(c *fiber.Ctx, name string) error) fiber.Handler {
	return func(c *fiber.Ctx) error {
		var said credentials
		if err := json.Unmarshal(c.BodyRaw(), &said); err != nil {
			return objects.Errorf(objects.Invalid, `want {"name":"...","password":"..."}`)
		}
		if !validName(said.Name) {
			return objects.Errorf(objects.Invalid, "a name has 1 to %d of a-z, 0-9 and -", maxName)
		}
		if err := judge(c.UserContext(), d.env.Object(Accounts, said.Name), said.Password); err != nil {
			return err
		}
		c.Set(fiber.HeaderCacheControl, "no-store")
		return give(c, said.Name)
	}
}

func signUp(ctx context.Context, account objects.Ref, password string) error {
	_, err := SignUp.Do(ctx, account, password)
	return err
}

func logIn(ctx context.Context, account objects.Ref, password string) error {
	right, err := LogIn.Do(ctx, account, password)
	if err == nil && !right {
		return objects.Errorf(objects.Unauthorized, "the name or the password is wrong")
	}
	return err
}

// session gives a page of the gateway's its cookie.
func (d *door) session(c *fiber.Ctx, name string) error {
	token, err := d.sign(name, cookie, time.Now())
	if err != nil {
		return err
	}
	d.set(c, token, int(tokenLife/time.Second))
	return c.JSON(fiber.Map{"name": name})
}

// set sets the cookie. Only the gateway reads it; a page on another site does not make a browser send it with what changes
// anything, and the gateway would refuse that besides.
func (d *door) set(c *fiber.Ctx, token string, seconds int) {
	c.Cookie(&fiber.Cookie{
		Name: cookie, Value: token, Path: "/auth", MaxAge: seconds,
		HTTPOnly: true, Secure: c.Protocol() == "https", SameSite: fiber.CookieSameSiteLaxMode,
	})
}

// token gives a program, or a page on another origin, its bearer token.
func (d *door) token(c *fiber.Ctx, name string) error {
	token, err := d.sign(name, bearer, time.Now())
	if err != nil {
		return err
	}
	return c.JSON(fiber.Map{"name": name, "token": token, "seconds": int(tokenLife / time.Second)})
}

// logOut takes the cookie away.
func (d *door) logOut(c *fiber.Ctx) error {
	d.set(c, "", -1)
	return c.SendStatus(fiber.StatusNoContent)
}
