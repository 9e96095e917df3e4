package objects

import (
	"context"
	"fmt"
)

// None is the input or output of a call that has none; its value is nil.
type None *struct{}

// Call is a typed question to objects of a class.
type Call[In, Out any] struct {
	class Class
	name  string
	err   *Error
}

// Limits of requests.
const (
	MaxCall = 512 << 10 // bytes of a call's input or output
	MaxBody = 512 << 10 // bytes of an HTTP request's body, and of a response's
)

// NewCall declares a call. Its name, of 1 to 63 of a-z, A-Z, 0-9, - and _, and its types are the contract: rename neither
// while older callers are about; add fields, do not change them. Input and output travel as JSON, []byte as it is; each has
// at most MaxCall bytes.
func NewCall[In, Out any](class Class, name string) Call[In, Out] {
	c := Call[In, Out]{class: class, name: name, err: class.check()}
	if c.err == nil && !validCall(name) {
		c.err = Errorf(Invalid, "call name %.80q: want 1 to 63 of a-z, A-Z, 0-9, - and _", name)
	}
	return c
}

// Class returns the class whose objects can be asked.
func (c Call[In, Out]) Class() Class { return c.class }

// Name returns the call's name.
func (c Call[In, Out]) Name() string { return c.name }

func validCall(name string) bool {
	for i := range len(name) {
		b := name[i]
		if ('a' > b || b > 'z') && ('A' > b || b > 'Z') && ('0' > b || b > '9') && b != '-' && b != '_' {
			return false
		}
	}
	return 1 <= len(name) && len(name) <= 63
}

// Do asks the object now and waits for its answer, until ctx ends. On success the call's effects are durable. On an error
// CodeOf says whether the call ran: for Unknown it cannot be known, for Done it ran earlier, for all other codes it had no
// effect. A bad name, or a Ref of another class, is Invalid.
//
// Within an event ctx is the Tx, and Do is outside the transaction: the call is sent when the writes of earlier events are
// durable and before this event's own, and its effects stay if this event fails. If this event runs again at another owner,
// an equal call (object, call and input) gets the first answer and does not run again; so the event must ask the same. A chain
// of calls that comes back to a waiting object is Conflict at once, and the message shows the chain. The event's deadline is
// also that of its calls. While the event waits, nothing else of its object runs. An idempotency key within an event is
// Invalid.
func (c Call[In, Out]) Do(ctx context.Context, to Ref, in In) (out Out, err error) {
	switch {
	case c.err != nil:
		return out, c.err
	case to.err != nil:
		return out, to.err
	case to.via == nil:
		return out, Errorf(Invalid, "call %s: the reference is empty", c.name)
	case to.id.class != c.class:
		return out, Errorf(Invalid, "call %s is of class %s, and the object of class %s", c.name, c.class, to.id.class)
	}
	input, err := encode(in)
	if err != nil {
		return out, Errorf(Invalid, "call %s: encode the input: %w", c.name, err)
	}
	if len(input) > MaxCall {
		return out, Errorf(TooLarge, "call %s: the input has %d bytes, at most %d are allowed", c.name, len(input), MaxCall)
	}
	output, err := wayOf(ctx, to.via).Call(ctx, to, c.name, input)
	if err != nil {
		return out, err
	}
	out, err = decode[Out](output)
	if err != nil {
		return out, fmt.Errorf("call %s: decode the answer: %w", c.name, err)
	}
	return out, nil
}

// encode encodes an input or output: bytes as they are, everything else as JSON.
func encode(v any) ([]byte, error) {
	if raw, ok := v.([]byte); ok {
		return raw, nil
	}
	return toJSON(v)
}

// decode undoes encode. The receiver gets a copy of bytes.
func decode[V any](data []byte) (v V, err error) {
	if raw, ok := any(&v).(*[]byte); ok {
		*raw = append([]byte(nil), data...)
		return v, nil
	}
	return v, fromJSON(data, &v)
}
