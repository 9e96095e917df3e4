package objects

import (
	"context"

	"holdfast/internal/scope"
)

// Principal is who is asking, as the worker says: a client cannot set it. The zero Principal is nobody in particular. It has
// at most MaxPrincipal bytes as JSON.
type Principal struct {
	ID     string            `json:"id,omitempty"`
	Claims map[string]string `json:"claims,omitempty"` // what the worker vouches for: a role, a display name
}

// MaxPrincipal is the most that a principal takes, in bytes of JSON. One that is larger is TooLarge where it is used.
const MaxPrincipal = 4 << 10

type principalKey struct{}

// WithPrincipal is a context in which p asks. Do, Fetch and a worker's Forward pass it on; a socket's messages have the
// principal that opened it; an alarm has none.
func WithPrincipal(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// PrincipalOf is who asks: in a worker after WithPrincipal, in an event by its Tx.
func PrincipalOf(ctx context.Context) Principal {
	p, _ := ctx.Value(principalKey{}).(Principal)
	return p
}

// WithIdempotencyKey is a context whose calls have one effect however often they are repeated. For a day the first answer
// is given again to the same principal, key, object, call, and place among the context's equal calls. Other input under the
// same key is Conflict; Done if the answer was too large to keep. What wrote nothing runs again. A gateway sets it from the
// header Idempotency-Key. A key has 1 to 255 bytes of printable ASCII.
func WithIdempotencyKey(ctx context.Context, key string) context.Context {
	return scope.WithKey(ctx, key)
}
