package auth

import (
	"errors"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/golang-jwt/jwt/v5"

	"holdfast/objects"
)

// Proofs: tokens, the places where requests carry them, and the cookie.

const (
	tokenLife  = time.Hour
	sessionKey = 32 // bytes at the least
	issuer     = "holdfast-example"

	cookie = "session"
	bearer = "bearer"
)

// proof returns the token of a request. A token that a program sends goes before the cookie, which browsers add by
// themselves.
func proof(c *fiber.Ctx) (token, kind string) {
	header := &c.Request().Header
	if token = string(header.Cookie(cookie)); token != "" {
		kind = cookie
		header.DelCookie(cookie)
	}
	if authorization := string(header.Peek(fiber.HeaderAuthorization)); authorization != "" {
		scheme, said, _ := strings.Cut(authorization, " ")
		if token, kind = said, bearer; !strings.EqualFold(scheme, bearer) || said == "" {
			token = "none" // a header without a token is no proof, and the cookie does not replace it
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

// verify returns the name of the token's user.
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

// session sets the cookie for a page of the gateway's.
func (d *door) session(c *fiber.Ctx, name string) error {
	token, err := d.sign(name, cookie, time.Now())
	if err != nil {
		return err
	}
	d.set(c, token, int(tokenLife/time.Second))
	return c.JSON(fiber.Map{"name": name})
}

// set sets the cookie. Only the gateway can read it. A browser does not send it with requests of another site that
// change anything, and the gateway refuses these as well.
func (d *door) set(c *fiber.Ctx, token string, seconds int) {
	c.Cookie(&fiber.Cookie{
		Name: cookie, Value: token, Path: "/auth", MaxAge: seconds,
		HTTPOnly: true, Secure: c.Protocol() == "https", SameSite: fiber.CookieSameSiteLaxMode,
	})
}

// token returns a bearer token to a program, or to a page on another origin.
func (d *door) token(c *fiber.Ctx, name string) error {
	token, err := d.sign(name, bearer, time.Now())
	if err != nil {
		return err
	}
	return c.JSON(fiber.Map{"name": name, "token": token, "seconds": int(tokenLife / time.Second)})
}

// logOut removes the cookie.
func (d *door) logOut(c *fiber.Ctx) error {
	d.set(c, "", -1)
	return c.SendStatus(fiber.StatusNoContent)
}
