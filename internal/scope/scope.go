// Package scope is what a request brings along in its context and authors do not see: the idempotency key, and how often
// each call was made under it.
//
// A client's key covers its whole request, and a request may ask several objects, or one object several times. So what an
// object gets is derived: from who asks, the key, the call, and its place among the request's equal calls. A client that
// repeats its request repeats all of them in the same order.
package scope

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"sync"
)

type contextKey struct{}

type keyed struct {
	key string

	mu   sync.Mutex // guards what follows
	made map[string]int
}

// WithKey is a context whose calls are made under an idempotency key.
func WithKey(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, contextKey{}, &keyed{key: key, made: make(map[string]int)})
}

// NextKey is the key under which the object is asked now, "" if ctx has none. principal names who asks.
func NextKey(ctx context.Context, principal, object, call string) string {
	k, ok := ctx.Value(contextKey{}).(*keyed)
	if !ok {
		return ""
	}
	k.mu.Lock()
	n := k.made[object+" "+call]
	k.made[object+" "+call] = n + 1
	k.mu.Unlock()
	h := sha256.New()
	for _, part := range []string{principal, k.key, call, strconv.Itoa(n)} {
		h.Write(strconv.AppendInt(nil, int64(len(part)), 10))
		h.Write([]byte{' '})
		h.Write([]byte(part))
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:18])
}
