package objects

import (
	"context"
	"errors"
	"io"
	"net/http"

	"holdfast/internal/scope"
	"holdfast/objects/internal/engine"
)

// inEvent is an event's transport: the event of the context asks.
type inEvent struct{}

// wayOf returns the transport of a question: in an event's context the event's own; in a task's context, with a Ref that an
// event has made, the task's; otherwise the Ref's.
func wayOf(ctx context.Context, via Transport) Transport {
	if _, in := ctx.Value(engine.FaceKey{}).(*Tx); in {
		return inEvent{}
	}
	if via == (inEvent{}) {
		if task, in := ctx.Value(taskKey{}).(*taskWay); in {
			return task
		}
	}
	return via
}

// errKeyed refuses a key that would be ignored.
var errKeyed = Errorf(Invalid, "an event asks under an idempotency key: what it asks has one effect by itself, however often the event runs; for one effect of several events make a key part of the input")

var errOutside = Errorf(Invalid, "a Ref that an event has made is used with the context of no event: give Do the Tx, or a context derived from it")

// asking returns the event of ctx.
func asking(ctx context.Context) (*Tx, error) {
	tx, in := ctx.Value(engine.FaceKey{}).(*Tx)
	switch {
	case !in:
		return nil, errOutside
	case scope.HasKey(ctx):
		return nil, errKeyed
	}
	return tx, nil
}

// Call asks another object for the event.
func (inEvent) Call(ctx context.Context, to Ref, call string, input []byte) ([]byte, error) {
	tx, err := asking(ctx)
	if err != nil {
		return nil, err
	}
	answer, err := tx.t.Ask(ctx, engine.Question{Key: to.id.key, Name: to.name, Near: to.near, Call: call, Input: input})
	return answer.Output, err
}

// Fetch has another object answer an HTTP request for the event.
func (inEvent) Fetch(to Ref, r *http.Request) (*http.Response, error) {
	tx, err := asking(r.Context())
	if err != nil {
		return nil, err
	}
	return fetch(tx.t.Ask, to, r)
}

// fetch has an object answer an HTTP request through ask.
func fetch(ask engine.Asker, to Ref, r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		body, err = io.ReadAll(http.MaxBytesReader(nil, r.Body, MaxBody))
		if _, long := errors.AsType[*http.MaxBytesError](err); long {
			return nil, Errorf(TooLarge, "the request's body has more than %d bytes", MaxBody)
		}
		if err != nil {
			return nil, Errorf(Invalid, "read the request's body: %w", err)
		}
	}
	answer, err := ask(r.Context(), engine.Question{Key: to.id.key, Name: to.name, Near: to.near, Request: r, Input: body})
	if err != nil {
		return nil, err
	}
	return answer.Response.HTTP(r), nil
}
