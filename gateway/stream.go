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

// commentEvery is the pause after which a stream of server-sent events gets a comment: writing it fails if the client
// has gone, and proxies see that the connection is in use.
const commentEvery = 15 * time.Second

// streams are the responses that are written while they are read.
type streams struct {
	limit int

	mu   sync.Mutex // guards what follows
	open map[*response]struct{}
}

// full reports whether the limit of streams is reached.
func (s *streams) full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open) >= s.limit
}

// leave cuts streams of server-sent events: their clients connect again by themselves. Other streams have as much time
// as requests.
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
	events  bool   // the response is server-sent events
	last    byte   // the last byte that was read
}

// stream writes a streamed response. From now on each write on the connection has a deadline of its own.
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

// Read reads the next bytes for the client. When server-sent events pause, and only between lines, it returns a
// comment.
func (r *response) Read(b []byte) (int, error) {
	if len(r.first) > 0 {
		n := copy(b, r.first)
		r.first, r.last = r.first[n:], b[n-1]
		return n, nil
	}
	for {
		timed, can := r.rest.(interface{ SetReadDeadline(t time.Time) error })
		if r.events && can {
			_ = timed.SetReadDeadline(time.Now().Add(commentEvery)) // never fails
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

// fasthttp calls Close when the response is written, or cannot be.
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
