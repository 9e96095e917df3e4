// Package auth is a login, with rooms that belong to the users who have logged in.
//
// A worker finds out who sends a request, and says so once: gateway.SetPrincipal. Objects read that with
// objects.PrincipalOf, and decide. No client can set the principal, whatever headers it sends. There are two kinds of
// proof, and both are JSON Web Tokens:
//
//	a cookie   of the gateway's own page, which its script cannot read
//	a bearer   of a page on another origin and of programs, in the header Authorization; for a WebSocket, where browsers let
//	           a page set no header, as a subprotocol: new WebSocket(url, ["room", "bearer." + token])
//
// A token of one kind is not accepted as the other. A token is valid until it expires, also after a logout elsewhere,
// so it expires soon.
package auth

import (
	"context"
	"encoding/json"

	"github.com/gofiber/fiber/v2"

	"holdfast/gateway"
	"holdfast/objects"
)

// Objects are the classes with their code.
var Objects = []*objects.Implementation{accounts, rooms}

// Worker adds the login's routes, below /auth. All gateways share the key, which must be secret: with it anybody can be
// any user. Worker panics over a key of less than 32 bytes.
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

// who sets the principal of a request. A request without a proof has none; one with a wrong proof is refused. Objects
// do not see proofs.
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

// known refuses requests without a principal.
func known(c *fiber.Ctx) error {
	if objects.PrincipalOf(c.UserContext()).ID == "" {
		return objects.Errorf(objects.Unauthorized, "log in first")
	}
	return c.Next()
}

// credentials are a name and a password.
type credentials struct {
	Name     string `json:"name"`
	Password string `json:"password"`
}

// enter lets an account check a password, and gives the client a proof.
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
