package objects

import (
	"context"
	"fmt"
)

// None is the input or output of a call that has none.
type None struct{}

// Call is something an object can be asked, typed from both ends. It holds no
// code, so a package may call objects that it does not link.
type Call[In, Out any] struct{ name string }

// Limits of requests.
const (
	MaxCall = 512 << 10 // bytes of a call's input, and of its output, as JSON
	MaxBody = 512 << 10 // bytes of an HTTP request's body, and of a response's
)

// NewCall names a call. Input and output travel as JSON, of at most MaxCall bytes each.
func NewCall[In, Out any](name string) Call[In, Out] { return Call[In, Out]{name} }

// Name is the call's name, as On registers it.
func (c Call[In, Out]) Name() string { return c.name }

// Do asks the object and waits for its answer. On success the effects are
// durable. On an error CodeOf tells what happened: Unknown means that it cannot
// be known, every other code that nothing did.
func (c Call[In, Out]) Do(ctx context.Context, to Ref, in In) (Out, error) {
	var out Out
	if to.caller == nil {
		return out, Errorf(Invalid, "call %s: the reference is empty", c.name)
	}
	input, err := toJSON(in)
	if err != nil {
		return out, Errorf(Invalid, "call %s: encode the input: %v", c.name, err)
	}
	if len(input) > MaxCall {
		return out, Errorf(TooLarge, "call %s: the input has %d bytes, at most %d are allowed", c.name, len(input), MaxCall)
	}
	output, err := to.caller.Call(ctx, to.id, c.name, input)
	if err != nil {
		return out, err
	}
	if err := fromJSON(output, &out); err != nil {
		return out, fmt.Errorf("call %s: decode the answer: %w", c.name, err)
	}
	return out, nil
}

// Caller carries a call to an object. A gateway's Env is one, and so is objectstest's World.
type Caller interface {
	// Call returns the JSON answer. Its errors follow Do.
	Call(ctx context.Context, id ID, call string, input []byte) ([]byte, error)
}

// Ref is an object and the way to reach it. Making one does no I/O.
type Ref struct {
	id     ID
	caller Caller
}

// NewRef joins an id and a way to reach it.
func NewRef(id ID, via Caller) Ref { return Ref{id, via} }

// ID is the object's id.
func (r Ref) ID() ID { return r.id }
