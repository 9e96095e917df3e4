package acceptance

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/nats-io/nats.go"

	"holdfast/objects"
)

// line is a connection to a server that can be cut.
type line struct {
	on *substrate

	mu    sync.Mutex // guards what follows
	down  bool
	conns []net.Conn
}

// InProcessConn dials the server.
func (l *line) InProcessConn() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil, errors.New("the line is down")
	}
	conn, err := l.on.servers[0].InProcessConn()
	l.conns = append(l.conns, conn)
	return conn, err
}

// cut ends every connection, and lets none through until mend.
func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = true
	for _, conn := range l.conns {
		conn.Close()
	}
	l.conns = nil
}

func (l *line) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = false
}

// reset cuts the line for 20 ms.
func (l *line) reset() {
	l.cut()
	time.Sleep(20 * time.Millisecond)
	l.mend()
}

// through returns the server at the end of a line.
func (on *substrate) through(l *line) *substrate {
	far := *on
	l.on = on
	far.dial = func(t testing.TB, opts ...nats.Option) *nats.Conn {
		opts = append(opts, nats.InProcessServer(l), nats.ReconnectWait(20*time.Millisecond), nats.MaxReconnects(-1), nats.ReconnectJitter(0, 0))
		return dialed(t)(nats.Connect("", opts...))
	}
	return &far
}

// hall sends a message of one socket to all, and notes sockets that have ended.
type hall struct {
	log *hallLog
}

// hallLog is what all instances of a hall note.
type hallLog struct {
	mu   sync.Mutex
	ends map[string][]int // codes, by the socket's tag
}

func (l *hallLog) of(tag string) []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.ends[tag])
}

func hallObjects(l *hallLog) *objects.Implementation {
	return objects.Implement("hall", func(*objects.Tx) *hall { return &hall{l} })
}

func (h *hall) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, err := objects.TxOf(r).Accept(objects.Tags(r.URL.Query().Get("tag"))); err != nil {
		fmt.Fprint(w, "hall")
	}
}

func (h *hall) WebSocketMessage(tx *objects.Tx, _ objects.Socket, m objects.Message) error {
	if string(m.Data) == "large" {
		for i := range 3 {
			for _, s := range tx.Sockets() {
				s.Send(objects.Text(fmt.Sprint(i, s.Tags()[0], strings.Repeat("x", objects.MaxMessage-2))))
			}
		}
		return nil
	}
	tx.Broadcast(m)
	return nil
}

func (h *hall) WebSocketClose(_ *objects.Tx, s objects.Socket, end objects.Close) error {
	h.log.mu.Lock()
	defer h.log.mu.Unlock()
	tag := s.ID()
	if tags := s.Tags(); len(tags) > 0 {
		tag = tags[0]
	}
	h.log.ends[tag] = append(h.log.ends[tag], end.Code)
	return nil
}

// listener is a client in a hall.
type listener struct {
	t    testing.TB
	conn *websocket.Conn

	mu  sync.Mutex
	got []string
	end error
}

func (d *door) listen(t testing.TB, tag string) *listener {
	t.Helper()
	return d.listenAt(t, "/objects/hall/h?tag="+tag)
}

func (d *door) listenAt(t testing.TB, path string) *listener {
	t.Helper()
	conn, res, err := websocket.Dial(t.Context(), strings.Replace(d.url, "http", "ws", 1)+path, nil)
	if err != nil {
		body := make([]byte, 1024)
		if res != nil {
			n, _ := res.Body.Read(body)
			body = body[:n]
		}
		t.Fatalf("%v: %s", err, body)
	}
	t.Cleanup(func() { conn.CloseNow() })
	conn.SetReadLimit(1 << 20)
	l := &listener{t: t, conn: conn}
	go func() {
		for {
			_, data, err := conn.Read(context.Background())
			l.mu.Lock()
			if err != nil {
				l.end = err
				l.mu.Unlock()
				return
			}
			l.got = append(l.got, string(data))
			l.mu.Unlock()
		}
	}()
	return l
}

func (l *listener) say(text string) {
	l.t.Helper()
	if err := l.conn.Write(l.t.Context(), websocket.MessageText, []byte(text)); err != nil {
		_, end := l.heard()
		l.t.Fatalf("%v; the socket ended with %v", err, end)
	}
}

func (l *listener) heard() (got []string, end error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.got), l.end
}

// hears waits until the listener has received exactly these messages, and is still connected.
func (l *listener) hears(what string, want []string) {
	l.t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		got, end := l.heard()
		switch {
		case end != nil:
			l.t.Fatalf("%s: closed after %d messages: %v", what, len(got), end)
		case slices.Equal(got, want):
			return
		case len(got) > len(want) || time.Now().After(deadline):
			i := 0
			for i < min(len(got), len(want)) && got[i] == want[i] {
				i++
			}
			l.t.Fatalf("%s: heard %d messages, want %d; the first that differs is number %d", what, len(got), len(want), i)
		}
	}
}

// Forty resets of 20 ms cost 4,980 messages on 28 of 28 sockets, all of which stayed open.
func TestAResetOfAConnectionLosesNothingAndClosesNothing(t *testing.T) {
	t.Parallel()
	for _, whose := range []string{"gateway", "host"} {
		t.Run(whose, func(t *testing.T) {
			beside(t, waiters)
			on, l := single(t), new(line)
			far := on.through(l)
			hosts, doors := on, far
			if whose == "host" {
				hosts, doors = far, on
			}
			hosts.startHost(t, "a", "fra", steady, nil, hallObjects(&hallLog{ends: make(map[string][]int)}))
			near := on.startGateway(t, "fra", steady, "hall")
			d := doors.startGateway(t, "fra", steady, "hall")
			var all []*listener
			for i := range 5 {
				all = append(all, d.listen(t, fmt.Sprint("far", i)), near.listen(t, fmt.Sprint("near", i)))
			}
			var want []string
			for i := range 400 {
				if i%40 == 20 {
					go l.reset()
				}
				want = append(want, fmt.Sprint(i))
				all[1].say(want[i]) // at the gateway whose line is never cut
				time.Sleep(5 * time.Millisecond)
			}
			for i, l := range all {
				l.hears(fmt.Sprint("listener ", i), want)
			}
		})
	}
}

func TestTheDeathOfAnOwnerClosesNoSocketThatHasHeardEverything(t *testing.T) {
	beside(t, waiters)
	on := single(t)
	log := &hallLog{ends: make(map[string][]int)}
	a := on.startHost(t, "a", "fra", quick, nil, hallObjects(log))
	d1, d2 := on.startGateway(t, "fra", quick, "hall"), on.startGateway(t, "fra", quick, "hall")
	all := []*listener{d1.listen(t, "1"), d2.listen(t, "2"), d1.listen(t, "3")}
	all[0].say("before")
	for i, l := range all {
		l.hears(fmt.Sprint("listener ", i), []string{"before"})
	}
	on.startHost(t, "b", "fra", steady, nil, hallObjects(log))
	a.cut()
	all[1].say("after")
	for i, l := range all {
		l.hears(fmt.Sprint("listener ", i), []string{"before", "after"})
	}
}

// An owner gave a gateway up, and its sockets stayed open and deaf for ever.
func TestAGatewayThatWasGivenUpAndComesBackHasItsSocketsClosedAndTheirEndsAreToldOnce(t *testing.T) {
	beside(t, waiters)
	on, l := single(t), new(line)
	log := &hallLog{ends: make(map[string][]int)}
	on.startHost(t, "a", "fra", brief, nil, hallObjects(log))
	d := on.through(l).startGateway(t, "fra", brief, "hall")
	near := on.startGateway(t, "fra", brief, "hall")
	lost, stays := d.listen(t, "lost"), near.listen(t, "stays")
	stays.say("hello")
	lost.hears("the one", []string{"hello"})
	l.cut()
	await(t, "the object hears of the end", func() bool { return len(log.of("lost")) > 0 })
	l.mend()
	await(t, "the socket is closed", func() bool { _, end := lost.heard(); return end != nil })
	if _, end := lost.heard(); websocket.CloseStatus(end) != websocket.StatusServiceRestart {
		t.Errorf("closed with %v, want 1012", end)
	}
	await(t, "the gateway is heard again", func() bool {
		conn, _, err := websocket.Dial(t.Context(), strings.Replace(d.url, "http", "ws", 1)+"/objects/hall/h?tag=early", nil)
		if err == nil {
			conn.Close(websocket.StatusNormalClosure, "")
		}
		return err == nil
	})
	again := d.listen(t, "again")
	stays.say("and on")
	again.hears("who comes back", []string{"and on"})
	stays.hears("who stays", []string{"hello", "and on"})
	if ends := log.of("lost"); !slices.Equal(ends, []int{1006}) {
		t.Errorf("the object heard of the ends %v, want 1006 once", ends)
	}
}

// 0 of 1,681 ends were told: the record named gateways, not sockets.
func TestTheEndsOfSocketsAreToldOnceWhenGatewayAndOwnerDieTogether(t *testing.T) {
	beside(t, waiters)
	on := single(t)
	log := &hallLog{ends: make(map[string][]int)}
	a := on.startHost(t, "a", "fra", quick, nil, hallObjects(log))
	d, near := on.startGateway(t, "fra", quick, "hall"), on.startGateway(t, "fra", quick, "hall")
	stays := near.listen(t, "stays")
	for i := range 5 {
		d.listen(t, fmt.Sprint("lost", i))
	}
	stays.say("hello")
	stays.hears("who stays", []string{"hello"})
	on.startHost(t, "b", "fra", steady, nil, hallObjects(log))
	d.cut()
	a.cut()
	stays.say("anybody there?")
	stays.hears("who stays", []string{"hello", "anybody there?"})
	told := func() (n int) {
		log.mu.Lock()
		defer log.mu.Unlock()
		for _, ends := range log.ends {
			n += len(ends)
		}
		return n
	}
	await(t, "the object hears of five ends", func() bool { return told() >= 5 })
	stays.say("still there?")
	stays.hears("who stays", []string{"hello", "anybody there?", "still there?"})
	log.mu.Lock()
	defer log.mu.Unlock()
	if len(log.ends) != 5 {
		t.Errorf("ends of %d sockets were told, want 5: %v", len(log.ends), log.ends)
	}
	for i := range 5 {
		if ends := log.ends[fmt.Sprint("lost", i)]; !slices.Equal(ends, []int{1006}) {
			t.Errorf("the ends of the socket with tag lost%d are %v, want 1006 once; all are %v", i, ends, log.ends)
		}
	}
}

// 24 busy sockets were closed although their host left in order.
func TestAPlannedRestartClosesNoBusySocket(t *testing.T) {
	beside(t, waiters)
	on := single(t)
	log := &hallLog{ends: make(map[string][]int)}
	old := on.startHost(t, "host-0", "fra", steady, nil, hallObjects(log))
	d1, d2 := on.startGateway(t, "fra", steady, "hall"), on.startGateway(t, "fra", steady, "hall")
	all := []*listener{d1.listen(t, "1"), d2.listen(t, "2"), d1.listen(t, "3"), d2.listen(t, "4")}
	var want []string
	var restarts sync.WaitGroup
	for i := range 450 {
		if i%150 == 75 {
			restarts.Wait()
			before := old
			old = on.startHost(t, fmt.Sprint("host-", i), "fra", steady, nil, hallObjects(log))
			restarts.Go(before.stop)
		}
		want = append(want, fmt.Sprint(i))
		all[0].say(want[i])
		time.Sleep(3 * time.Millisecond)
	}
	restarts.Wait()
	for i, l := range all {
		l.hears(fmt.Sprint("listener ", i), want)
	}
}

// The messages of one event were larger than a NATS message may be, and were lost.
func TestWhatOneEventSendsMayBeLargerThanANATSMessage(t *testing.T) {
	beside(t, waiters)
	on := single(t)
	on.startHost(t, "a", "fra", steady, nil, hallObjects(&hallLog{ends: make(map[string][]int)}))
	d := on.startGateway(t, "fra", steady, "hall")
	all := []*listener{d.listen(t, "a"), d.listen(t, "b")}
	all[0].say("large") // 1.5 MiB
	all[0].say("small")
	for i, l := range all {
		var want []string
		for n := range 3 {
			want = append(want, fmt.Sprint(n, string("ab"[i]), strings.Repeat("x", objects.MaxMessage-2)))
		}
		l.hears(fmt.Sprint("client ", i), append(want, "small"))
	}
}

func TestAQuietRoomSendsNothing(t *testing.T) {
	beside(t, waiters)
	on := single(t)
	timing := steady
	timing.TTL = 20 * time.Second
	on.startHost(t, "a", "fra", timing, nil, hallObjects(&hallLog{ends: make(map[string][]int)}))
	l := on.startGateway(t, "fra", timing, "hall").listen(t, "l")
	l.say("hello")
	l.hears("the client", []string{"hello"})
	nc := on.dial(t)
	var mu sync.Mutex
	var last time.Time
	for _, subject := range []string{"_HF.>", "hf.o.>", "hf.claim.>"} {
		if _, err := nc.Subscribe(subject, func(*nats.Msg) {
			mu.Lock()
			defer mu.Unlock()
			last = time.Now()
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	await(t, "three seconds have passed without a message", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return time.Since(last) > 3*time.Second && time.Since(began) > 3*time.Second
	})
}
