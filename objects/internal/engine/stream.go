package engine

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
)

// Stream writes the rest of a response, once the event is durable, outside of events: it is a Task with a writer.
type Stream func(ctx context.Context, ask Asker, out io.Writer) error

// Takes says which responses the sender of a request can receive.
type Takes uint8

// The kinds of responses that a sender can receive.
const (
	TakesWhole  Takes = iota // a response that is complete
	TakesStream              // also one that is written while it is read
	TakesNoMore              // likewise, but too many of those are running
)

// Fetching is what a host adds to an HTTP request.
type Fetching struct {
	Socket *SocketInfo // that the gateway would hold; nil: the request does not want to open one
	Takes  Takes
}

// Stream writes the rest of the response when the event has committed.
func (t *Tx) Stream(s Stream) {
	t.use()
	switch {
	case !t.fetches:
		t.Abort(errors.New("Stream was called in an event that answers no HTTP request"))
	case t.takes == TakesWhole:
		t.Abort(t.errorf(invalid, "the response is a stream, which whoever asks cannot take: an event, or a client of HTTP/1.0"))
	case t.takes == TakesNoMore:
		t.Abort(t.errorf(overloaded, "the gateway carries as many streams as it can"))
	case len(t.streams) > 0:
		t.Abort(errors.New("Stream was called twice for one response"))
	case t.run.world.Object.FreeStreams() <= 0:
		t.Abort(t.errorf(overloaded, "too many streams run for this object, or on its host"))
	}
	t.streams = append(t.streams, s)
}

// streamOf returns the stream of a response, if one has to run: a response to HEAD has no body.
func (t *Tx) streamOf(r *http.Request) Stream {
	if len(t.streams) == 0 || r.Method == http.MethodHead {
		return nil
	}
	return t.streams[0]
}

// LargeBody is the body of a request that is still to be received when the event begins. Only a Stream reads it. The
// zero LargeBody is usable.
type LargeBody struct {
	tx   *Tx   // of the event
	most int64 // bytes

	mu   sync.Mutex // guards what follows
	from io.Reader  // nil: the stream has not begun
	read int64
	err  error
}

// Begin makes the body readable.
func (b *LargeBody) Begin(from io.Reader) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.from = from
}

// Read reads for a Stream. It aborts an event that reads.
func (b *LargeBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.err != nil:
		return 0, b.err
	case b.from == nil && b.tx != nil && !b.tx.ended.Load():
		b.tx.use()
		b.tx.Abort(b.tx.errorf(tooLarge, "the request's body is too large for what is asked"))
	case b.from == nil:
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.from.Read(p)
	if b.read += int64(n); b.read > b.most {
		n, err = 0, b.tx.errorf(tooLarge, "the request's body is too large: it may have %d bytes", b.most)
	}
	b.err = err
	return n, err
}

// Close does nothing: the stream's end ends the body.
func (b *LargeBody) Close() error { return nil }

// large refuses a body that is too large for the class.
func (t *Tx) large(b *LargeBody, length int64) error {
	b.tx, b.most = t, t.limits().Upload
	switch {
	case b.most == 0:
		return t.errorf(tooLarge, "the request's body is too large: objects of this class take no uploads")
	case length > b.most:
		return t.errorf(tooLarge, "the request's body is too large: it may have %d bytes", b.most)
	}
	return nil
}
