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

// streamOf returns the stream that an event wants written; nil: none. The reply says where to read it.
func (in *incarnation) streamOf(ev event, out engine.Outcome, reply *wire.Reply) *streaming {
	if out.Response == nil || out.Response.Stream == nil || out.Err != nil || reply == nil {
		return nil
	}
	reply.Stream = wire.NewStream(in.id)
	return &streaming{at: reply.Stream, reader: ev.req.Gateway, write: out.Response.Stream, body: ev.large}
}

// takes returns the kinds of response that the request's sender can receive. A stream is possible only where the reply
// goes directly to the reader.
func (in *incarnation) takes(ev event) engine.Takes {
	if in.bodies == nil || !strings.HasPrefix(ev.reply, wire.InboxPrefix+ev.req.Gateway+".") {
		return engine.TakesWhole
	}
	return engine.Takes(ev.req.Takes)
}

// beginStreaming starts a stream. From now on the reader may come. With mu held.
func (o *object) beginStreaming(s *streaming) {
	body := o.in.bodies.Begin(s.at, s.reader)
	if s.body != nil {
		s.body.Begin(body)
	}
	o.beginTask(func(ctx context.Context, ask engine.Asker) error { return s.run(ctx, ask, body) }, true)
}

// errFailed is what a stream's reader is told of a failure whose cause only the log may have.
var errFailed = errors.New("the object failed")

// run writes the stream. A reader that leaves is no failure.
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
