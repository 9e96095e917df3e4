package objectstest

import (
	"context"
	"errors"
	"io"

	"holdfast/objects/internal/engine"
)

// stream starts the stream of a response, which the caller reads from Rest. With mu held.
func (o *object) stream(response *engine.Response) {
	if o.large != nil {
		o.large.Begin(o.rest)
	}
	read, write := io.Pipe()
	response.Rest = read
	o.world.begin(o, func(ctx context.Context, ask engine.Asker) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(ctx, func() { write.CloseWithError(errCut) })() // it waits for no reader then
		whole := false
		defer func() {
			if !whole { // after a panic too
				write.CloseWithError(errCut)
			}
		}()
		err := response.Stream(ctx, ask, leaving{write, cancel})
		if whole = err == nil; whole {
			write.Close()
		}
		if errors.Is(err, io.ErrClosedPipe) {
			return nil // the reader has left
		}
		return err
	}, &o.streams)
}

// errCut is the error of reading a stream that was cut.
var errCut = errors.New("the stream was cut: the object failed")

// leaving is a writer that notices when the reader has left.
type leaving struct {
	*io.PipeWriter
	left context.CancelFunc
}

func (w leaving) Write(p []byte) (int, error) {
	n, err := w.PipeWriter.Write(p)
	if err != nil {
		w.left()
	}
	return n, err
}
