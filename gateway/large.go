package gateway

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http/httputil"
	"net/textproto"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"holdfast/objects"
)

// fasthttp reads the bodies of known lengths up to Limits.Body. All other bodies are read here, past fasthttp, which is
// told that there is none. A chunked body that is not larger than Limits.Body is then given to the request. Anything
// larger is a large body, which only Forward and Mount pass on; a worker's route that reads it ends with TooLarge.

// takesBody reports whether a body is read here.
func (g *Gateway) takesBody(length int) bool { return length == -1 || length > g.cfg.Limits.Body }

// large is a request's body that is larger than Limits.Body. In the request it is a body whose reading panics.
type large struct {
	conn   *conn
	body   io.Reader
	length int64 // -1: not known
}

// tooMuch is the value with which reading a large body panics, outside of Forward. catch turns it into an answer.
type tooMuch struct{ limit int }

func (t tooMuch) err() error {
	return objects.Errorf(objects.TooLarge, "the request's body is too large: it may have %d bytes", t.limit)
}

// held is a large body in a request.
type held struct{ *large }

func (h held) Read([]byte) (int, error) { panic(tooMuch{h.conn.among.limits.Body}) }

// receive reads the body that was kept from fasthttp, up to Limits.Body. A larger one stays in the request as a large
// body.
func (g *Gateway) receive(rc *fasthttp.RequestCtx, length int64, chunked bool) error {
	c, ours := rc.Conn().(*conn)
	if !ours || !c.atBody() {
		return tooMuch{g.cfg.Limits.Body}.err()
	}
	if !chunked {
		l := &large{conn: c, body: &exactly{past{c}, length}, length: length}
		rc.Request.SetBodyStream(held{l}, int(length))
		return nil
	}
	defer c.among.bodies.giveBack(c)
	in := newChunks(past{c})
	body, err := readSome(c, in, g.cfg.Limits.Body+1)
	switch {
	case err != nil:
		return g.unreadable(err)
	case len(body) <= g.cfg.Limits.Body:
		rc.Request.SetBodyRaw(body)
		rc.Request.Header.SetContentLength(len(body))
	default:
		l := &large{conn: c, body: io.MultiReader(bytes.NewReader(body), in), length: -1}
		rc.Request.SetBodyStream(held{l}, -1)
	}
	return nil
}

// readSome reads up to most bytes. If they do not fit into a buffer, it reserves memory for all of them.
func readSome(c *conn, in io.Reader, most int) (body []byte, err error) {
	until := time.Now().Add(bodyTime)
	for size := min(most, 4<<10); ; size = most {
		if size > 4<<10 && !c.among.bodies.reserve(c, most, time.Now()) {
			return nil, errCrowded
		}
		grown := make([]byte, size)
		n := copy(grown, body)
		for n < size {
			some, err := in.Read(grown[n:])
			n += some
			switch {
			case errors.Is(err, io.EOF):
				return grown[:n], nil
			case err != nil:
				return nil, err
			case c.late.Load() || time.Now().After(until):
				return nil, os.ErrDeadlineExceeded
			}
			c.among.bodies.noteProgress(c, time.Now())
		}
		if body = grown; size == most {
			return body, nil
		}
	}
}

// chunks reads a body in chunks, and its trailer.
type chunks struct {
	from *bufio.Reader
	body io.Reader
}

func newChunks(from io.Reader) *chunks {
	in := bufio.NewReaderSize(from, 4<<10)
	return &chunks{in, httputil.NewChunkedReader(in)}
}

func (c *chunks) Read(b []byte) (int, error) {
	n, err := c.body.Read(b)
	if errors.Is(err, io.EOF) {
		if wrong := c.trailer(); wrong != nil {
			err = wrong
		}
	}
	return n, err
}

var errTrailer = errors.New("the trailer cannot be read, or says what no trailer may")

// trailer reads and drops the fields after the last chunk. It refuses a trailer with fields that say where the body
// ends.
func (c *chunks) trailer() error {
	for left := 16 << 10; left > 0; {
		line, err := c.from.ReadSlice('\n')
		if err != nil {
			return errors.Join(errTrailer, err)
		}
		left -= len(line)
		if line = bytes.TrimSpace(line); len(line) == 0 {
			return nil
		}
		name, _, colon := bytes.Cut(line, []byte(":"))
		if odd := textproto.CanonicalMIMEHeaderKey(string(name)); !colon || odd == "Content-Length" || odd == "Host" || slices.Contains(hops, odd) {
			return errTrailer
		}
	}
	return errTrailer
}

// past reads the part of a body that fasthttp does not read.
type past struct{ *conn }

func (p past) Read(b []byte) (int, error) { return p.readLarge(b) }

// exactly reads a body of a known length. A body that ends earlier is an error: its client has left.
type exactly struct {
	from io.Reader
	left int64
}

func (e *exactly) Read(b []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n, err := e.from.Read(b[:min(int64(len(b)), e.left)])
	if e.left -= int64(n); errors.Is(err, io.EOF) && e.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// largeOf returns the request's large body; nil: it has none.
func largeOf(r *fasthttp.Request) *large {
	if h, is := r.BodyStream().(held); is {
		return h.large
	}
	return nil
}

// Read reads for Forward.
func (l *large) Read(b []byte) (int, error) { return l.body.Read(b) }

// Close ends a Read. The connection can be used for no further request.
func (l *large) Close() error {
	return l.conn.Conn.SetReadDeadline(time.Now())
}

// lengthOf returns the length that a request's header claims, as it was sent.
func lengthOf(value []byte) (int64, bool) {
	n, err := strconv.ParseUint(string(value), 10, 63)
	return int64(n), err == nil
}
