package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"holdfast/internal/ask"
	"holdfast/internal/resume"
	"holdfast/internal/sockets"
	"holdfast/internal/wire"
	"holdfast/objects"
)

const (
	queue     = 1 << 20 // bytes that wait for the program; beyond it the socket is closed with 1013
	inbox     = 64      // messages that can wait in the channel to Receive
	firstWait = 50 * time.Millisecond
	lastWait  = 2 * time.Second // between tries to come back
)

// Socket is a WebSocket of an object, held by this program. Call Receive in a loop: Receive also brings a lost socket
// back, if the class lets sockets come back (objects.Settings.Resume). One goroutine may receive; any may send.
type Socket struct {
	c         *Client
	to        wire.Address
	request   wire.Request // of the upgrade
	principal []byte

	receiving sync.Mutex    // held by Receive
	sending   chan struct{} // holds one value while something is sent; locked before mu, never the other way
	life      context.Context
	over      context.CancelFunc // of life: the socket has ended

	mu       sync.Mutex // guards what follows; no goroutine waits while it holds it
	session  resume.Client
	time     time.Duration // how long the session may be away
	protocol string
	at       *pipe
	gap      error // the error that Receive returns next; nil: none
	end      error // how the socket has ended; nil: it has not
}

// Closed is the error of a socket that has ended.
type Closed struct {
	Code   int
	Reason string
}

// Error returns the code and the reason.
func (c *Closed) Error() string {
	return strings.TrimSpace(fmt.Sprintf("the socket was closed: %d %s", c.Code, c.Reason))
}

// Gap is the error of Receive when the socket has come back and messages are missing. The socket goes on.
type Gap struct {
	Missed uint64 // messages that were not received; 0: their number is not known
	New    bool   // the session came back too late: to its object this is a new socket
	Unsure int    // sent messages that the object may or may not have handled
}

// Error returns the counts in words.
func (g *Gap) Error() string {
	missed := "an unknown number of messages was missed"
	if g.Missed > 0 {
		missed = fmt.Sprint(g.Missed, " messages were missed")
	}
	if g.New {
		missed = "the socket is a new one, because it came back too late"
	}
	if g.Unsure > 0 {
		missed += fmt.Sprint("; ", g.Unsure, " sent messages may or may not have been handled")
	}
	return missed
}

// Connect asks the object for a WebSocket with a GET of r's path, as Fetch does, and with r's headers. The program's
// subprotocols are in Sec-WebSocket-Protocol. ctx counts only until the socket is open; its principal is the socket's
// opener. If the object does not accept, the error is an *objects.Error with the code for the status of the answer, or
// Invalid.
func (c *Client) Connect(to objects.Ref, r *http.Request) (*Socket, error) {
	if err := to.Err(); err != nil {
		return nil, err
	}
	if err := c.run(); err != nil {
		return nil, err
	}
	s := &Socket{c: c, to: ask.AddressOf(to), sending: make(chan struct{}, 1)}
	s.life, s.over = context.WithCancel(context.Background())
	header := r.Header.Clone()
	if header == nil {
		header = make(http.Header)
	}
	header.Set("Connection", "Upgrade")
	header.Set("Upgrade", "websocket")
	s.request = wire.Request{Kind: wire.Fetch, Method: http.MethodGet, URL: r.URL.RequestURI(), Host: cmp.Or(r.Host, r.URL.Host), Header: header, Region: c.region}
	var err error
	if s.principal, err = ask.Principal(r.Context()); err != nil {
		return nil, err
	}
	if err := s.open(r.Context()); err != nil {
		s.over()
		return nil, err
	}
	if !c.keep(s) {
		return nil, s.finish(&Closed{1000, "the client is closed"})
	}
	return s, nil
}

// keep registers the socket, so that Close closes it. It reports false if the client is closed already.
func (c *Client) keep(s *Socket) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	if c.open == nil {
		c.open = make(map[*Socket]struct{})
	}
	c.open[s] = struct{}{}
	return true
}

// finish ends the socket; only the first end counts, and is returned.
func (s *Socket) finish(how error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end != nil {
		return s.end
	}
	s.end = how
	s.over()
	if closed, is := errors.AsType[*Closed](how); is {
		s.at.finish(closed.Code, closed.Reason) // the reader closes the socket, behind the sent messages
	}
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	delete(s.c.open, s)
	return how
}

// run starts the hub with the first socket.
func (c *Client) run() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return objects.Errorf(objects.Unavailable, "the client is closed")
	}
	if c.running != nil {
		return nil
	}
	if err := c.hub.Listen(c.nc, c.owners); err != nil {
		return objects.Errorf(objects.Unavailable, "no socket can be opened: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.running, c.stop = make(chan struct{}), cancel
	running := c.running
	go func() { // Close waits for it
		defer close(running)
		c.hub.Run(ctx)
	}()
	return nil
}

// Close closes all sockets with 1000, and returns when their objects know of it or ctx has ended. A Client that has
// opened no socket needs no Close. Calls still work afterwards.
func (c *Client) Close(ctx context.Context) {
	c.mu.Lock()
	running, open := c.running, c.open
	first := !c.closed
	c.closed, c.open = true, nil
	c.mu.Unlock()
	if running == nil || !first {
		return
	}
	for s := range open {
		s.Close(1000, "the program ends")
	}
	c.mu.Lock()
	pipes := c.pipes
	c.pipes = nil
	c.mu.Unlock()
	for p := range pipes {
		select {
		case <-p.left:
		case <-ctx.Done():
		}
	}
	c.hub.Drain(ctx)
	c.hub.Close()
	c.hub.Bye()
	c.stop()
	<-running
}

// open asks the object for a socket, and sends the messages again that the object has not taken on the connection
// before. One goroutine at a time calls it.
func (s *Socket) open(ctx context.Context) error {
	s.mu.Lock()
	lost := s.session.Token != ""
	offer, _, err := resume.Offered(s.session.Subprotocols())
	s.mu.Unlock()
	if err != nil {
		return err
	}
	held, ok := s.c.hub.Add(s.to, s.principal, true)
	if !ok {
		return objects.Errorf(objects.Unavailable, "the client is closed")
	}
	req := s.request
	req.Socket, req.Principal = held.ID(), s.principal
	req.Resumes, req.Session, req.Secret, req.Received = true, offer.Session, offer.Secret, offer.Received
	reply, err := s.c.owners.Do(ctx, s.to, &req)
	if err == nil {
		err = reply.Err()
	}
	switch {
	case err != nil:
		held.Abandon()
		return err
	case reply.Status != http.StatusSwitchingProtocols:
		held.Abandon()
		return objects.Errorf(codeOf(reply.Status), "the object answers %d and does not open the socket: %.200s", reply.Status, reply.Body)
	case !held.AwaitOpen(ctx):
		return objects.Errorf(objects.Unknown, "the object's host was lost as the socket opened; connect again")
	}
	at := newPipe(held)
	s.c.serve(at)
	if err := s.greet(ctx, at); err != nil {
		if !lost { // the session has ended: no client can come back to it
			held.Close(sockets.End{Code: 1000, Discard: true})
		}
		at.Close()
		return err
	}
	return nil
}

// serve has the hub serve a connection. Close waits until the hub is done with it.
func (c *Client) serve(at *pipe) {
	at.leave = sync.OnceFunc(func() {
		close(at.left)
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.pipes, at)
	})
	c.mu.Lock()
	if c.pipes == nil {
		c.pipes = make(map[*pipe]struct{})
	}
	c.pipes[at] = struct{}{}
	c.mu.Unlock()
	c.hub.Serve(at.held, at)
}

// codeOf returns the code for the status with which an object refuses a socket.
func codeOf(status int) objects.Code {
	for _, code := range []objects.Code{objects.Unauthorized, objects.Forbidden, objects.NotFound, objects.Conflict, objects.TooMany, objects.Unavailable} {
		if code.HTTPStatus() == status {
			return code
		}
	}
	return objects.Invalid
}

// greet receives the hello, which is the first message, and moves the socket to this connection.
func (s *Socket) greet(ctx context.Context, at *pipe) error {
	m, err := at.next(ctx)
	if err != nil {
		return err
	}
	kind, data := resume.Read(m.Data)
	var hello resume.Hello
	if kind != resume.HelloKind || json.Unmarshal(data, &hello) != nil {
		return objects.Errorf(objects.Internal, "a socket begins without a greeting")
	}
	select {
	case s.sending <- struct{}{}: // earlier messages go first
		defer func() { <-s.sending }()
	case <-ctx.Done():
		return ctx.Err()
	}
	again, err := s.moveTo(at, hello)
	if err != nil {
		return err
	}
	for _, m := range again {
		if err := at.send(ctx, objects.Message{Binary: m.Binary, Data: resume.Escape(m.Data)}); err != nil {
			return err
		}
	}
	return nil
}

// moveTo moves the socket to another connection. It returns the messages to send again.
func (s *Socket) moveTo(at *pipe, hello resume.Hello) ([]resume.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end != nil {
		return nil, s.end
	}
	s.at, s.time, s.protocol = at, time.Duration(hello.Time)*time.Millisecond, hello.Subprotocol
	again, gap := s.session.Hello(hello)
	if gap != nil {
		g := Gap(*gap)
		s.gap = &g
	}
	return slices.Clone(again), nil
}

// Subprotocol returns the agreed subprotocol, "" for none.
func (s *Socket) Subprotocol() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.protocol
}

// Receive returns the next message. If the socket was lost, Receive first brings it back, if the class allows that;
// missed messages are reported as a *Gap, after which the socket goes on. The end of the socket is a *Closed. When ctx
// ends, only this wait ends.
func (s *Socket) Receive(ctx context.Context) (objects.Message, error) {
	s.receiving.Lock()
	defer s.receiving.Unlock()
	for {
		at, err := s.current()
		if err != nil {
			return objects.Message{}, err
		}
		m, err := at.next(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return objects.Message{}, ctx.Err()
			}
			if err := s.comeBack(ctx, err); err != nil {
				return objects.Message{}, err
			}
			continue
		}
		switch kind, data := resume.Read(m.Data); kind {
		case resume.Escaped:
			s.mu.Lock()
			s.session.Message()
			s.mu.Unlock()
			return objects.Message{Binary: m.Binary, Data: data}, nil
		case resume.Uncounted:
			return objects.Message{Binary: m.Binary, Data: data}, nil
		}
	}
}

// current returns the socket's present connection, and the error that Receive must return first.
func (s *Socket) current() (*pipe, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gap != nil {
		gap := s.gap
		s.gap = nil
		return nil, gap
	}
	return s.at, s.end
}

// comeBack tries to open the lost socket again, until that succeeds, ctx ends, or the socket is closed.
func (s *Socket) comeBack(ctx context.Context, lost error) error {
	s.mu.Lock()
	can, long, end := s.session.Token != "", s.time, s.end
	s.mu.Unlock()
	closed, is := errors.AsType[*Closed](lost)
	switch {
	case end != nil:
		return end
	case !is || !can || !comesBack(closed.Code):
		return s.finish(lost)
	}
	tries, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(s.life, stop)()
	until := time.Now().Add(long)
	for wait := firstWait; ; wait = min(2*wait, lastWait) {
		err := s.open(tries)
		switch {
		case err == nil:
			return nil
		case s.life.Err() != nil:
			return s.finish(lost) // it has ended before, and the first end counts
		case ctx.Err() != nil:
			return ctx.Err() // the next Receive goes on
		}
		_, again := errors.AsType[*Closed](err)
		if code := objects.CodeOf(err); !again && !code.Retryable() && code != objects.Unknown || time.Now().After(until) {
			return s.finish(lost)
		}
		wire.Pause(tries, wait)
	}
}

// comesBack reports whether a socket was lost, rather than closed.
func comesBack(code int) bool {
	return code == 1006 || code == 1012 || code == 1013
}

// Send sends a message. It waits, until ctx ends, for the object to take enough of the messages before. If the socket
// is lost, the message is sent when Receive has brought the socket back.
func (s *Socket) Send(ctx context.Context, m objects.Message) error {
	if len(m.Data) > objects.MaxFrame {
		return objects.Errorf(objects.TooLarge, "a message has %d bytes, at most %d are allowed", len(m.Data), objects.MaxFrame)
	}
	select {
	case s.sending <- struct{}{}:
		defer func() { <-s.sending }()
	case <-s.life.Done():
	case <-ctx.Done():
		return ctx.Err()
	}
	noted := resume.Message{Binary: m.Binary, Data: m.Data}
	at, err := s.note(noted)
	if err != nil {
		return err
	}
	err = at.send(ctx, objects.Message{Binary: m.Binary, Data: resume.Escape(m.Data)})
	s.mu.Lock()
	defer s.mu.Unlock()
	_, lost := errors.AsType[*Closed](err)
	switch {
	case lost && s.end == nil && s.session.Token != "":
		return nil // it is sent when the socket is back
	case err != nil:
		s.session.Unsend(noted)
	}
	return err
}

// note notes a message before it is sent, and returns the connection to send it on.
func (s *Socket) note(m resume.Message) (*pipe, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end != nil {
		return nil, s.end
	}
	s.session.Taken(s.at.held.Taken())
	if !s.session.Send(m) {
		return nil, objects.Errorf(objects.Overloaded, "too many sent messages are not taken yet: wait until the object has taken some")
	}
	return s.at, nil
}

// Close closes the socket behind all sent messages, with a code and a reason, as a client does: 1000, or one of 3000 to
// 4999. It does not wait; Client.Close does.
func (s *Socket) Close(code int, reason string) {
	_ = s.finish(&Closed{code, reason}) // that is what Receive returns
}

// pipe is one connection of a Socket: the client's end as the hub sees it, without a network between.
type pipe struct {
	held *sockets.Socket
	in   chan objects.Message // to the program
	out  chan objects.Message // from the program
	over chan struct{}        // closed when the connection has ended
	left chan struct{}        // closed when the hub has finished with the connection, after the messages that the program had sent

	leave func() // closes left, once

	mu  sync.Mutex // guards what follows
	end *Closed    // nil: it has not
}

func newPipe(held *sockets.Socket) *pipe {
	return &pipe{
		held: held, in: make(chan objects.Message, inbox), out: make(chan objects.Message), over: make(chan struct{}), left: make(chan struct{}),
	}
}

// next returns the next message to the program. Messages come before the end.
func (p *pipe) next(ctx context.Context) (objects.Message, error) {
	select {
	case m := <-p.in:
		return m, nil
	default:
	}
	select {
	case m := <-p.in:
		return m, nil
	case <-p.over:
	case <-ctx.Done():
		return objects.Message{}, ctx.Err()
	}
	select {
	case m := <-p.in:
		return m, nil
	default:
		return objects.Message{}, p.closed()
	}
}

func (p *pipe) send(ctx context.Context, m objects.Message) error {
	select {
	case p.out <- m:
		return nil
	case <-p.over:
		return p.closed()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *pipe) closed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.end
}

// finish ends the connection. Only the first end counts.
func (p *pipe) finish(code int, reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.end == nil {
		p.end = &Closed{code, reason}
		close(p.over)
	}
}

// Receive returns the next message of the program.
func (p *pipe) Receive() (binary bool, data []byte, err error) {
	select {
	case m := <-p.out:
		return m.Binary, m.Data, nil
	case <-p.over:
		return false, nil, p.closed()
	}
}

// Ended returns how the program has closed the socket.
func (p *pipe) Ended(err error) sockets.End {
	if closed, is := errors.AsType[*Closed](err); is {
		return sockets.End{Code: closed.Code, Reason: closed.Reason, Discard: true}
	}
	return sockets.End{Code: 1006, Discard: true}
}

// ReadUntil does nothing: the program is there as long as the connection is.
func (p *pipe) ReadUntil(time.Time) {}

// Discard does nothing: nothing is on its way.
func (p *pipe) Discard() {}

// Write gives the program messages.
func (p *pipe) Write(frames []byte) error {
	timer := time.NewTimer(sockets.WriteTime)
	defer timer.Stop()
	for kind, data := range sockets.Frames(frames) {
		if kind != sockets.TextFrame && kind != sockets.BinaryFrame {
			continue // a ping: a program that reads this is alive
		}
		select {
		case p.in <- objects.Message{Binary: kind == sockets.BinaryFrame, Data: data}:
		case <-p.over:
			return nil // the program has stopped reading; the reader reports the end
		case <-timer.C:
			p.finish(1006, "the program does not receive")
			return p.closed()
		}
	}
	return nil
}

// WriteClose tells the program that the socket is closed.
func (p *pipe) WriteClose(code int, reason string) { p.finish(code, reason) }

// Close ends the connection. The hub calls it last.
func (p *pipe) Close() {
	p.finish(1006, "")
	p.leave()
}
