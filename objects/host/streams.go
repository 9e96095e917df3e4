package host

import (
	"context"
	"errors"
	"strings"

	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/internal/engine"
)

// streaming is a response that is written when its event is durable.
type streaming struct {
	at     *wire.StreamAt
	reader string // who has asked
	write  engine.Stream
	body   *engine.LargeBody // of the request; nil: it was there when the event began
}

// streamOf is what an event wants written; nil: nothing. The reply says where it is to be read.
func (in *incarnation) streamOf(ev event, out engine.Outcome, reply *wire.Reply) *streaming {
	if out.Response == nil || out.Response.Stream == nil || out.Err != nil || reply == nil {
		return nil
	}
	reply.Stream = wire.NewStream(in.id)
	return &streaming{at: reply.Stream, reader: ev.req.Gateway, write: out.Response.Stream, body: ev.large}
}

// takes is what whoever has made the request can do with a response. A stream goes only where the answer goes.
func (in *incarnation) takes(ev event) engine.Takes {
	if in.bodies == nil || !strings.HasPrefix(ev.reply, wire.InboxPrefix+ev.req.Gateway+".") {
		return engine.TakesWhole
	}
	return engine.Takes(ev.req.Takes)
}

// beginStreaming starts a stream. Its reader may come from now on. With mu held.
func (o *object) beginStreaming(s *streaming) {
	body := o.in.bodies.Begin(s.at, s.reader)
	if s.body != nil {
		s.body.Begin(body)
	}
	o.beginTask(func(ctx context.Context, ask engine.Asker) error { return s.run(ctx, ask, body) }, true)
}

// errFailed is what the reader is told of a stream that has failed in a way that only the log may tell.
var errFailed = errors.New("the object failed")

// run writes the stream. That its reader has left is no failure.
func (s *streaming) run(ctx context.Context, ask engine.Asker, body *wire.Body) error {
	within, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	body.Watch(func(why error) { cancel(why) })
	told := errFailed // after a panic, or runtime.Goexit
	defer func() {
		body.Finish(told)
		body.Sent(ctx)
	}()
	err := s.write(within, ask, body)
	switch _, refusal := errors.AsType[*objects.Error](err); {
	case err == nil || refusal:
		told = err
	case errors.Is(context.Cause(within), wire.ErrLeft):
		return nil
	}
	return err
}
