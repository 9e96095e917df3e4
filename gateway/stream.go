package gateway

import (
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"holdfast/internal/wire"
)

// commentEvery is how often a stream of server-sent events that says nothing has a comment written: a client that has gone
// is noticed by that, and proxies see that the connection is in use.
const commentEvery = 15 * time.Second

// streams are the responses that are being written while they are read.
type streams struct {
	limit int

	mu   sync.Mutex // guards what follows
	open map[*response]struct{}
}

// full reports whether there are as many as there may be.
func (s *streams) full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open) >= s.limit
}

// leave cuts those that are server-sent events: their clients come back by themselves. Others have as long as requests
// have.
func (s *streams) leave() {
	s.mu.Lock()
	all := slices.Collect(maps.Keys(s.open))
	s.mu.Unlock()
	for _, r := range all {
		if r.events {
			_ = r.rest.Close() // its reader sees it
		}
	}
}

// takes returns which responses the client can take.
func (g *Gateway) takes(c *fiber.Ctx) wire.Takes {
	switch {
	case !c.Request().Header.IsHTTP11():
		return wire.TakesWhole
	case c.Method() != fiber.MethodHead && g.streams.full():
		return wire.TakesNoMore
	}
	return wire.TakesStream
}

// response is the body of a streamed response, as fasthttp reads it.
type response struct {
	streams *streams
	conn    *conn
	rest    io.ReadCloser
	first   []byte // bytes that come before rest
	events  bool   // they are server-sent events
	last    byte   // that was read
}

// stream writes a streamed response. The connection's writes have time of their own from now on.
func (g *Gateway) stream(c *fiber.Ctx, reply *wire.Reply, prefix string) error {
	header := http.Header(reply.Header)
	length := header.Get(fiber.HeaderContentLength)
	copyHeader(c, header, prefix)
	c.Status(reply.Status)
	r := &response{streams: &g.streams, rest: reply.Rest, first: reply.Body, last: '\n'}
	kind, _, _ := strings.Cut(string(c.Response().Header.ContentType()), ";")
	r.events = strings.TrimSpace(kind) == "text/event-stream"
	if held, ours := c.Context().Conn().(*conn); ours {
		r.conn, held.streaming = held, true
	}
	g.streams.mu.Lock()
	g.streams.open[r] = struct{}{}
	g.streams.mu.Unlock()
	size := -1
	if n, err := strconv.Atoi(length); err == nil && n >= 0 && !r.events {
		size = n
	}
	c.Context().SetBodyStream(r, size)
	// Proxies as nginx stop passing on a request's body once its response has begun.
	c.Context().Response.ImmediateHeaderFlush = largeOf(c.Request()) == nil
	return nil
}

// Read reads what the client is to get next. Where server-sent events pause it is a comment, between lines alone.
func (r *response) Read(b []byte) (int, error) {
	if len(r.first) > 0 {
		n := copy(b, r.first)
		r.first, r.last = r.first[n:], b[n-1]
		return n, nil
	}
	for {
		timed, can := r.rest.(interface{ SetReadDeadline(t time.Time) error })
		if r.events && can {
			_ = timed.SetReadDeadline(time.Now().Add(commentEvery)) // it has no error
		}
		n, err := r.rest.Read(b)
		switch {
		case n > 0:
			r.last = b[n-1]
		case !errors.Is(err, os.ErrDeadlineExceeded):
		case r.last == '\n' && len(b) > 1:
			return copy(b, ":\n"), nil
		default:
			continue // in the midst of a line
		}
		return n, err
	}
}

// Close is called when the response is written, or cannot be.
func (r *response) Close() error {
	r.streams.mu.Lock()
	delete(r.streams.open, r)
	r.streams.mu.Unlock()
	err := r.rest.Close()
	if r.conn != nil {
		r.conn.streaming = false
	}
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
