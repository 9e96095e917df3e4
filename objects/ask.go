package objects

import (
	"context"
	"errors"
	"io"
	"net/http"

	"holdfast/objects/internal/engine"
)

// inEvent is how an event asks objects. The event is that of the context.
type inEvent struct{}

// wayOf is the way that a question takes: that of its Ref, but of an event's context always the event's own, and of a task's
// the task's, if an event has made the Ref.
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

var errOutside = Errorf(Invalid, "a Ref that an event has made is used with the context of no event: give Do the Tx, or a context derived from it")

// Call asks another object for the event.
func (inEvent) Call(ctx context.Context, to Ref, call string, input []byte) ([]byte, error) {
	tx, in := ctx.Value(engine.FaceKey{}).(*Tx)
	if !in {
		return nil, errOutside
	}
	answer, err := tx.t.Ask(ctx, engine.Question{Key: to.id.key, Name: to.name, Call: call, Input: input})
	return answer.Output, err
}

// Fetch has another object answer an HTTP request for the event.
func (inEvent) Fetch(to Ref, r *http.Request) (*http.Response, error) {
	tx, in := r.Context().Value(engine.FaceKey{}).(*Tx)
	if !in {
		return nil, errOutside
	}
	return fetch(tx.t.Ask, to, r)
}

// fetch has an object answer an HTTP request for who asks.
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
	answer, err := ask(r.Context(), engine.Question{Key: to.id.key, Name: to.name, Request: r, Input: body})
	if err != nil {
		return nil, err
	}
	return answer.Response.HTTP(r), nil
}
