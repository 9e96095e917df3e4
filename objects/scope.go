package objects

import (
	"context"
	"time"

	"holdfast/internal/scope"
	"holdfast/objects/internal/engine"
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

// EventID names the event in whose context it is asked for: the same wherever and however often the event runs, after a crash
// or a retry of an alarm too, and no other event's. It is what a payment provider wants as its idempotency key. Outside of
// events, and in a constructor, it is "".
func EventID(ctx context.Context) string {
	if e, ok := ctx.Value(engine.EventKey{}).(engine.Event); ok {
		return e.ID()
	}
	return ""
}

// EventTime is when the event in whose context it is asked for began for whoever began it: when a worker asked, when a frame
// came, when an alarm was set for. It is the same wherever and however often the event runs, as Tx.Now is not; only the end of
// a socket that was lost with its gateway has another time for every owner that tells of it. Outside of events, and in a
// constructor, it is the zero time.
func EventTime(ctx context.Context) time.Time {
	if e, ok := ctx.Value(engine.EventKey{}).(engine.Event); ok {
		return e.Time()
	}
	return time.Time{}
}

// WithIdempotencyKey is a context whose calls have one effect however often they are repeated. For a day the first answer
// is given again to the same principal, key, object, call, and place among the context's equal calls. Other input under the
// same key is Conflict; Done if the answer was too large to keep. What wrote nothing runs again. A gateway sets it from the
// header Idempotency-Key. A key has 1 to 255 bytes of printable ASCII.
func WithIdempotencyKey(ctx context.Context, key string) context.Context {
	return scope.WithKey(ctx, key)
}
