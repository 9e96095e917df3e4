package objects

import (
	"context"
	"time"

	"holdfast/internal/scope"
	"holdfast/objects/internal/engine"
)

// Principal is the asking user, as the worker says: a client cannot set it. The zero Principal is nobody in particular. A
// principal has at most MaxPrincipal bytes as JSON.
type Principal struct {
	ID     string            `json:"id,omitempty"`
	Claims map[string]string `json:"claims,omitempty"` // what the worker vouches for: a role, a display name
}

// MaxPrincipal is the largest principal, in bytes of JSON. The use of a larger one is TooLarge.
const MaxPrincipal = 4 << 10

type principalKey struct{}

// WithPrincipal returns a context in which p asks. Do, Fetch and a worker's Forward pass p on; a socket's messages have the
// principal that opened the socket; an alarm has none.
func WithPrincipal(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// PrincipalOf returns the asking principal: in a worker that of WithPrincipal, in an event that of the Tx.
func PrincipalOf(ctx context.Context) Principal {
	p, _ := ctx.Value(principalKey{}).(Principal)
	return p
}

// EventID returns a unique name of the context's event, the same wherever and however often the event runs, also after a
// crash or a retry of an alarm. Use it as an idempotency key for other systems, such as a payment provider. Outside of
// events, and in a constructor, it is "".
func EventID(ctx context.Context) string {
	if e, ok := ctx.Value(engine.EventKey{}).(engine.Event); ok {
		return e.ID()
	}
	return ""
}

// EventTime returns the time at which the context's event was caused: when a worker asked, when a frame came, when an alarm
// was due. Unlike Tx.Now it is the same wherever and however often the event runs; only the end of a socket that was lost with
// its gateway has another time at each owner. Outside of events, and in a constructor, it is the zero time.
func EventTime(ctx context.Context) time.Time {
	if e, ok := ctx.Value(engine.EventKey{}).(engine.Event); ok {
		return e.Time()
	}
	return time.Time{}
}

// WithIdempotencyKey returns a context whose calls have one effect however often they are repeated. For a day a repeated call
// gets the first answer, if principal, key, object, call, and position among the context's equal calls are the same. Another
// input under the same key is Conflict; Done means that the answer was too large to keep. A call that wrote nothing runs
// again. A gateway sets the key from the header Idempotency-Key. A key has 1 to 255 bytes of printable ASCII.
func WithIdempotencyKey(ctx context.Context, key string) context.Context {
	return scope.WithKey(ctx, key)
}
