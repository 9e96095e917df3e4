// Package scope holds the part of a request's context that authors do not see: the idempotency key, and how
// often each call was made under it.
//
// A client's key covers its whole request. A request may ask several objects, or one object several times, so
// each object gets a derived key: from the principal or client, the key, the call, and the number of equal
// calls before. A client that repeats its request repeats the calls in the same order.
//
// A derived key is <who>.<what>. Who is the principal or, without one, the client's address: so no client
// gets another's answer, and no client's keys displace another's.
package scope

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/netip"
	"strconv"
	"sync"
)

type contextKey struct{}

type keyed struct {
	key string

	mu   sync.Mutex // guards what follows
	made map[string]int
}

// WithKey returns a context whose calls are made under an idempotency key.
func WithKey(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, contextKey{}, &keyed{key: key, made: make(map[string]int)})
}

// HasKey reports whether calls of ctx are made under an idempotency key.
func HasKey(ctx context.Context) bool {
	_, ok := ctx.Value(contextKey{}).(*keyed)
	return ok
}

// NextKey returns the key for the next request to the object, "" if ctx has none. principal names the sender;
// without one, client does. client is invalid for a program.
func NextKey(ctx context.Context, principal string, client netip.Addr, object, call string) string {
	k, ok := ctx.Value(contextKey{}).(*keyed)
	if !ok {
		return ""
	}
	k.mu.Lock()
	n := k.made[object+" "+call]
	k.made[object+" "+call] = n + 1
	k.mu.Unlock()
	who := "principal " + principal
	if principal == "" {
		who = "client " + network(client)
	}
	return digest(6, who) + "." + digest(18, principal, k.key, call, strconv.Itoa(n))
}

// network returns the network that counts as one client: for an IPv6 address its /64, because one user has
// all of it.
func network(client netip.Addr) string {
	if client.Is6() && !client.Is4In6() {
		if all, err := client.Prefix(64); err == nil {
			return all.String()
		}
	}
	return client.String()
}

// digest returns the first bytes of a hash of all parts, as text.
func digest(bytes int, parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		h.Write(strconv.AppendInt(nil, int64(len(part)), 10))
		h.Write([]byte{' '})
		h.Write([]byte(part))
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:bytes])
}
