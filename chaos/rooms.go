package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"holdfast/chaos/history"
)

const (
	usualRate  = 20 // messages a second of a busy socket
	greetTime  = 20 * time.Second
	writeTime  = 30 * time.Second // a gateway may be frozen for a while
	visitWords = 3                // messages of a visitor, and of a herald
)

// said is a message of a room: a greeting, news of a user, or a message of this program.
type said struct {
	Type   string `json:"type"` // hello, join, leave, owner, or n for ours
	UserID string `json:"userId"`
	Owner  string `json:"owner"`
	Peers  []struct {
		UserID string `json:"userId"`
	} `json:"peers"`
	From int `json:"from"` // number of the sending socket
	N    int `json:"n"`
}

// seat is a place in a room. Its socket is opened again when it was closed.
type seat struct {
	w       *world
	room    string
	gateway *member
	role    history.Role
}

// fill opens all sockets.
func (w *world) fill(ctx context.Context) {
	for i := range roomCount {
		room := fmt.Sprintf("r%d", i)
		for _, g := range w.gateways {
			for range idlePerGateway {
				w.sitDown(ctx, seat{w, room, g, history.Idle})
			}
			for range w.busy {
				w.sitDown(ctx, seat{w, room, g, history.Busy})
			}
		}
		w.load.Go(func() {
			for n := 0; !has(w.quiet) && ctx.Err() == nil; n++ {
				visitor := seat{w, room, w.gateways[n%gatewayCount], history.Visitor}
				visitor.visit(ctx)
				pause(ctx, w.quiet, 500*time.Millisecond)
			}
		})
	}
}

// sitDown keeps a socket open until the world ends.
func (w *world) sitDown(ctx context.Context, s seat) {
	w.load.Go(func() {
		for !has(w.leave) && ctx.Err() == nil {
			g, err := s.enter(ctx)
			if err != nil {
				pause(ctx, w.leave, 200*time.Millisecond)
				continue
			}
			g.stay(ctx)
		}
	})
}

// guest is an open socket.
type guest struct {
	seat
	number int
	conn   *websocket.Conn
	ended  chan struct{} // closed when the socket has ended; receive closes it
	goes   atomic.Bool   // the client is about to close the socket
}

// enter opens a socket and waits until the room has greeted it.
func (s seat) enter(ctx context.Context) (*guest, error) {
	dialed := s.w.now()
	within, cancel := context.WithTimeout(ctx, greetTime)
	defer cancel()
	conn, _, err := websocket.Dial(within, "ws://"+s.gateway.listen+"/room/"+s.room, nil)
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(1 << 20)
	g := &guest{seat: s, conn: conn, ended: make(chan struct{})}
	var early []said // messages that came before the greeting
	for {
		m, err := g.read(within)
		if err != nil {
			conn.CloseNow()
			return nil, err
		}
		if m.Type == "hello" {
			g.open(m, dialed)
			for _, m := range early {
				g.record(m)
			}
			return g, nil
		}
		early = append(early, m)
	}
}

// open records that the room has greeted the socket.
func (g *guest) open(m said, dialed time.Duration) {
	peers := make([]string, len(m.Peers))
	for i, p := range m.Peers {
		peers[i] = p.UserID
	}
	w := g.w
	w.owns(g.room, m.Owner)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.numbers++
	g.number = w.numbers
	if g.role == history.Idle || g.role == history.Busy {
		w.open[g.number] = g.gateway.name
	}
	w.writer.Add(history.Record{Opened: &history.Opened{
		Conn: g.number, Room: g.room, Gateway: g.gateway.name, Role: g.role, User: m.UserID, Peers: peers, Dialed: dialed, At: w.now(),
	}})
}

// read receives one message.
func (g *guest) read(ctx context.Context) (m said, err error) {
	_, data, err := g.conn.Read(ctx)
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	return m, err
}

// record records a message of the room.
func (g *guest) record(m said) {
	w := g.w
	switch m.Type {
	case "n":
		w.writer.Hear(g.number, m.From, m.N, w.now())
	case "join", "leave":
		w.writer.Add(history.Record{Told: &history.Told{Conn: g.number, User: m.UserID, End: m.Type == "leave", At: w.now()}})
	case "owner":
		w.owns(g.room, m.Owner)
	}
}

// receive records all messages of the room, and how the socket ends, until all must leave: whoever leaves last hears of
// the ends of the others.
func (g *guest) receive(ctx context.Context) {
	defer close(g.ended)
	for {
		m, err := g.read(ctx)
		if err == nil {
			if !has(g.w.leave) {
				g.record(m)
			}
			continue
		}
		end := &history.Closed{Conn: g.number, Code: 1006, Reason: "", At: g.w.now()}
		if closed, ok := errors.AsType[websocket.CloseError](err); ok {
			end.Code, end.Reason = int(closed.Code), closed.Reason
		}
		g.conn.CloseNow()
		g.w.mu.Lock()
		delete(g.w.open, g.number)
		g.w.mu.Unlock()
		if !has(g.w.leave) && ctx.Err() == nil {
			end.Client = g.goes.Load() && (end.Code == int(websocket.StatusNormalClosure) || end.Code == 1006)
			g.w.writer.Add(history.Record{Closed: end})
		}
		return
	}
}

// stay keeps the socket until it ends or all must leave. A busy socket sends.
func (g *guest) stay(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g.w.load.Go(func() { g.receive(ctx) })
	if g.role == history.Busy {
		every := time.Second / time.Duration(g.w.rate)
		for n := 1; pause(ctx, g.w.quiet, every) && !has(g.ended); n++ {
			if g.send(ctx, n) != nil {
				break // receive records how the socket ended
			}
		}
	}
	select {
	case <-g.ended:
	case <-g.w.leave:
	case <-ctx.Done():
	}
	cancel()
	<-g.ended
}

// send sends the n-th message.
func (g *guest) send(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	g.w.writer.Add(history.Record{Sent: &history.Sent{Conn: g.number, N: n, At: g.w.now()}})
	return g.conn.Write(ctx, websocket.MessageText, fmt.Appendf(nil, `{"type":"n","from":%d,"n":%d}`, g.number, n))
}

// visit opens a socket, sends a few messages, and closes it.
func (s seat) visit(ctx context.Context) {
	g, err := s.enter(ctx)
	if err != nil {
		return // the gateway or the room cannot be reached: the gaps of other sockets show for how long
	}
	hearing, cancel := context.WithCancel(ctx)
	defer cancel()
	s.w.load.Go(func() { g.receive(hearing) })
	for n := range visitWords {
		if g.send(ctx, n+1) != nil {
			break // receive records how the socket ended
		}
		pause(ctx, g.ended, 50*time.Millisecond)
	}
	g.goes.Store(true)
	_ = g.conn.Close(websocket.StatusNormalClosure, "") // a gateway that does not answer in time has ended or is frozen
	<-g.ended
}

// callRoll makes a new client send a few messages in every room.
func (w *world) callRoll(ctx context.Context) {
	for i := range roomCount {
		s := seat{w, fmt.Sprintf("r%d", i), w.gateways[i%gatewayCount], history.Herald}
		entered := func() bool {
			g, err := s.enter(ctx)
			if err != nil {
				return false
			}
			w.load.Go(func() { g.stay(ctx) })
			for n := range visitWords {
				if g.send(ctx, n+1) != nil {
					break // stay records how the socket ended
				}
			}
			return true
		}
		if until(ctx, backTime, "somebody enters "+s.room, entered) != nil {
			say("   nobody can enter %s", s.room)
		}
	}
}
