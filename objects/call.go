package objects

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
)

// None is the input or output of a call that has none.
type None struct{}

// Call is something an object can be asked, typed from both ends. It holds no
// code, so a package may call objects that it does not link.
type Call[In, Out any] struct{ name string }

// NewCall names a call. Input and output travel as JSON.
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

// fromJSON is json.Unmarshal, with a short way for what counters are made of.
func fromJSON(data []byte, v any) error {
	switch v := v.(type) {
	case *None:
		if string(data) == "{}" {
			return nil
		}
	case *int:
		if n, ok := smallInt(data); ok {
			*v = n
			return nil
		}
	}
	return json.Unmarshal(data, v)
}

// toJSON is json.Marshal, with the same short way.
func toJSON(v any) ([]byte, error) {
	switch v := v.(type) {
	case None:
		return []byte("{}"), nil
	case int:
		return strconv.AppendInt(nil, int64(v), 10), nil
	}
	return json.Marshal(v)
}

// smallInt reads a JSON number without a sign that certainly is an int.
func smallInt(data []byte) (n int, ok bool) {
	if len(data) == 0 || len(data) > 18 || data[0] == '0' && len(data) > 1 {
		return 0, false
	}
	for _, digit := range data {
		if digit < '0' || digit > '9' {
			return 0, false
		}
		n = 10*n + int(digit-'0')
	}
	return n, true
}
