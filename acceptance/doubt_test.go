package acceptance

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"github.com/gofiber/fiber/v2"
	"github.com/nats-io/nats.go"

	"holdfast/gateway"
	"holdfast/internal/wire"
	"holdfast/objects"
)

// sieve connects to a server and loses messages from it.
type sieve struct {
	on    *substrate
	loses func(subject string, data []byte) bool // is told of every message
}

// through returns the server behind the sieve.
func (s *sieve) through() *substrate {
	far := *s.on
	far.dial = func(t testing.TB, opts ...nats.Option) *nats.Conn {
		return dialed(t)(nats.Connect("", append(opts, nats.InProcessServer(s))...))
	}
	return &far
}

// InProcessConn dials the server.
func (s *sieve) InProcessConn() (net.Conn, error) {
	conn, err := s.on.servers[0].InProcessConn()
	if err != nil {
		return nil, err
	}
	return &sieved{Conn: conn, sieve: s, in: bufio.NewReader(conn)}, nil
}

type sieved struct {
	net.Conn
	sieve *sieve
	in    *bufio.Reader
	rest  []byte // of what comes through
}

func (c *sieved) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// next reads one line of the protocol of NATS, with the message that follows it, if there is one.
func (c *sieved) next() error {
	line, err := c.in.ReadBytes('\n')
	if err != nil {
		return err
	}
	fields := bytes.Fields(line)
	if len(fields) < 2 || !bytes.HasSuffix(fields[0], []byte("MSG")) {
		c.rest = line
		return nil
	}
	size, err := strconv.Atoi(string(fields[len(fields)-1]))
	if err != nil {
		return err
	}
	data := make([]byte, size+len("\r\n"))
	if _, err := io.ReadFull(c.in, data); err != nil {
		return err
	}
	if !c.sieve.loses(string(fields[1]), data[:size]) {
		c.rest = append(line, data...)
	}
	return nil
}

// A diary stores what is said before anybody hears it.
const diaries objects.Class = "diary"

var (
	diaryWrite   = objects.NewCall[string, objects.None](diaries, "write")
	diaryKey     = objects.NewKey[[]string]("all")
	diaryObjects = objects.Implement(diaries, objects.New[diary], objects.On(diaryWrite, (*diary).write))
)

type diary struct{}

func (*diary) write(tx *objects.Tx, text string) (objects.None, error) {
	diaryKey.Set(tx, append(diaryKey.Get(tx), text))
	tx.Broadcast(objects.Text(text))
	return nil, nil
}

func (*diary) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	tx := objects.TxOf(r)
	if _, err := tx.Accept(); err != nil {
		tx.Refuse(err)
	}
}

func (*diary) WebSocketMessage(*objects.Tx, objects.Socket, objects.Message) error { return nil }

// lane is a stream, by its number and its gateway's inbox.
type lane struct {
	inbox  string
	number uint32
}

// deafness is what is known of the streams to gateways behind a sieve, and what was lost of them.
type deafness struct {
	mu    sync.Mutex
	deaf  bool           // messages of owners are lost
	quiet map[lane]bool  // whether the owner has said, since the last push, that every gateway has everything
	lost  map[string]int // pushes with the text that is lost, by inbox
}

const lostText = "is anybody there?"

func (d *deafness) loses(subject string, data []byte) bool {
	at := strings.LastIndexByte(subject, '.') + 1
	inbox, kind := subject[:at], subject[at:]
	if !strings.HasPrefix(inbox, wire.InboxPrefix+"h.") {
		return false
	}
	var push wire.LanePush
	var heads wire.LaneHeads
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case kind == wire.Pushes && wire.Decode(data, &push) == nil:
		d.quiet[lane{inbox, push.Lane}] = false
		if d.deaf && bytes.Contains(data, []byte(lostText)) {
			d.lost[inbox]++
		}
	case kind == wire.Heads && wire.Decode(data, &heads) == nil:
		for _, r := range heads.Quiet {
			d.quiet[lane{inbox, r.Of}] = true
		}
	}
	return d.deaf
}

func (d *deafness) set(deaf bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.deaf = deaf
}

// allQuiet reports whether there are so many streams, all of them quiet.
func (d *deafness) allQuiet(n int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.quiet) == n && !slices.Contains(slices.Collect(maps.Values(d.quiet)), false)
}

func (d *deafness) losers() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.lost)
}

// A room said something after it had been quiet. That was lost on its way to every gateway, and the room's host died. The
// sockets stayed open without it.
func TestASocketInAQuietRoomWhoseLastMessageWasLostWithItsHostIsClosed(t *testing.T) {
	beside(t, waiters)
	on := single(t)
	d := &deafness{quiet: make(map[lane]bool), lost: make(map[string]int)}
	far := (&sieve{on, d.loses}).through()
	a := on.startHost(t, "a", "fra", quick, nil, diaryObjects)
	doors := []*door{far.startGateway(t, "fra", steady, "diary"), far.startGateway(t, "fra", steady, "diary")}
	var env *gateway.Env
	on.startWorker(t, "fra", steady, func(_ fiber.Router, e *gateway.Env) { env = e }, "diary")
	write := func(name, text string) {
		t.Helper()
		surely(t, env.Object(diaries, name), diaryWrite, text)
	}
	other := doors[0].listenAt(t, "/objects/diary/other")
	var all []*listener
	for range 2 {
		all = append(all, doors[0].listenAt(t, "/objects/diary/room"), doors[1].listenAt(t, "/objects/diary/room"))
	}
	write("room", "first")
	write("other", "first")
	for i, l := range append(all, other) {
		l.hears(fmt.Sprint("listener ", i), []string{"first"})
	}
	await(t, "all is quiet", func() bool { return d.allQuiet(3) })
	on.startHost(t, "b", "fra", steady, nil, diaryObjects)

	d.set(true)
	write("room", lostText)
	await(t, "it is lost on its way to both gateways", func() bool { return d.losers() == 2 })
	a.cut()
	d.set(false)

	for i, l := range all {
		await(t, fmt.Sprintf("listener %d has everything or is closed", i), func() bool {
			got, end := l.heard()
			return end != nil || slices.Equal(got, []string{"first", lostText})
		})
		if got, end := l.heard(); end != nil && (websocket.CloseStatus(end) != websocket.StatusServiceRestart || len(got) > 1) {
			t.Errorf("listener %d heard %q and was closed with %v, want 1012", i, got, end)
		}
	}
	write("other", "last")
	other.hears("the room that lacks nothing", []string{"first", "last"})
}
