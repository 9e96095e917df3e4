package acceptance

import (
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/embedded"
	"holdfast/examples/ticket"
	"holdfast/internal/wire"
	"holdfast/objects"
)

// ice freezes connections: while they are frozen, nothing is read from them and nothing
// written, as when a process is stopped or its network swallows everything.
type ice struct {
	mu     sync.Mutex
	frozen chan struct{} // closed when it thaws; nil: it is not frozen
}

func (i *ice) freeze() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.frozen = make(chan struct{})
}

func (i *ice) thaw() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.frozen != nil {
		close(i.frozen)
		i.frozen = nil
	}
}

func (i *ice) wait() {
	i.mu.Lock()
	frozen := i.frozen
	i.mu.Unlock()
	if frozen != nil {
		<-frozen
	}
}

// Dial makes a connection that can be frozen.
func (i *ice) Dial(network, address string) (net.Conn, error) {
	i.wait()
	conn, err := net.Dial(network, address)
	return &iced{conn, i}, err
}

type iced struct {
	net.Conn
	ice *ice
}

func (c *iced) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.ice.wait() // what has come while it was frozen is not seen before it thaws
	return n, err
}

func (c *iced) Write(p []byte) (int, error) {
	c.ice.wait()
	return c.Conn.Write(p)
}

// stock returns one nats-server with the settings that it has when nobody sets any: it
// believes in a frozen client for minutes.
func stock(t *testing.T) *substrate {
	t.Helper()
	s, err := embedded.Start(t.Context(), embedded.Config{Store: t.TempDir(), Port: -1, PingInterval: 2 * time.Minute, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return &substrate{name: "stock", replicas: 1, servers: []*embedded.Server{s}, dial: func(t testing.TB, opts ...nats.Option) *nats.Conn {
		return dialed(t)(nats.Connect(s.URL(), opts...))
	}}
}

// behind returns the same servers, reached over connections that can be frozen.
func (on *substrate) behind(i *ice) *substrate {
	iced := *on
	iced.dial = func(t testing.TB, opts ...nats.Option) *nats.Conn {
		return on.dial(t, append(opts, nats.SetCustomDialer(i))...)
	}
	return &iced
}

// On a plain nats-server an owner that froze went on getting half of its objects'
// requests after the takeover, for minutes: they had to be sent again.
func TestAFrozenOwnerKeepsNoRequestsFromItsSuccessor(t *testing.T) {
	beside(t, waiters)
	on, winter := stock(t), new(ice)
	on.behind(winter).startHost(t, "first", "fra", quick, nil)
	t.Cleanup(winter.thaw)
	asker := on.asker(t, quick)
	id, err := ticket.Tickets.ID("frozen")
	if err != nil {
		t.Fatal(err)
	}
	last := 0
	claim := func() (by string) {
		reply, err := asker.Do(t.Context(), wire.Address{ID: id}, &wire.Request{Kind: wire.Call, Call: "claim", Body: []byte("null")})
		if err != nil || reply.Err() != nil {
			t.Fatalf("after ticket %d: %v, %v", last, err, reply.Err())
		}
		n, err := strconv.Atoi(string(reply.Body))
		if err != nil || n <= last {
			t.Fatalf("ticket %q, %v; the last one was %d", reply.Body, err, last)
		}
		last = n
		return reply.Owner.Host
	}
	claim()
	on.startHost(t, "second", "fra", steady, nil)
	winter.freeze()
	if by := claim(); by != "second" { // the wait for the lease
		t.Fatalf("answered by %s, want the second host", by)
	}
	nc := on.dial(t)
	copies, err := nc.SubscribeSync(wire.OwnerSubject(id))
	if err != nil {
		t.Fatal(err)
	}
	sent := func() (n int) { // so far: nobody takes them
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		n, _, err := copies.Pending()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	count := func(what string) {
		const all = 300
		before := sent()
		for range all {
			if by := claim(); by != "second" {
				t.Errorf("%s: answered by %s, want the second host", what, by)
			}
		}
		if again := sent() - before - all; again > 10 { // one for each second that the machine stands still
			t.Errorf("%s: %d of %d requests were sent again", what, again, all)
		}
	}
	count("the first owner frozen")
	winter.thaw() // with a copy of every request
	count("the first owner thawed")
	asker.Close()
}

// asker returns a client as a gateway has one.
func (on *substrate) asker(t *testing.T, timing wire.Timing) *wire.Client {
	t.Helper()
	c, err := wire.NewClient(wire.ClientConfig{
		NATS: on.dial(t, nats.ReconnectBufSize(-1)), Nearby: on.near, Name: "asker" + strconv.Itoa(int(time.Now().UnixNano())), Region: "fra", Timing: timing, Log: testLog(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// One request that kills its host killed all five of a fleet, one after the other.
func TestARequestThatEndsItsHostEndsTwoAtMost(t *testing.T) {
	beside(t, waiters)
	on := single(t)
	ended := make(chan string, 5)
	hosts := make([]member, 5)
	for i := range hosts {
		name := fmt.Sprint("host", i)
		poison := objects.NewCall[objects.None, objects.None]("probe", "poison")
		class := objects.Implement("probe", objects.New[struct{}],
			objects.On(poison, func(_ *struct{}, tx *objects.Tx, _ objects.None) (objects.None, error) {
				ended <- name
				hosts[i].cut()
				<-tx.Done()
				return nil, tx.Err()
			}))
		hosts[i] = on.startHost(t, name, "fra", quick, nil, class)
	}
	id, err := objects.Class("probe").ID("poisoned")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	_, err = on.asker(t, quick).Do(t.Context(), wire.Address{ID: id}, &wire.Request{Kind: wire.Call, Call: "poison", Body: []byte("null")})
	if objects.CodeOf(err) != objects.Unknown {
		t.Errorf("err = %v, want unknown", err)
	}
	t.Logf("after %v, with %d hosts ended: %v", time.Since(began), len(ended), err)
	if n := len(ended); n > 2 {
		t.Errorf("%d hosts ended, want two at most", n)
	}
}

// An event that takes longer than a gateway is silent for is run once, and its answer is
// the answer to the copies that came meanwhile, also if it changed nothing. A copy that
// comes when the event is over, and its answer on its way, runs again, which changes nothing
// either: so one of some objects has to have run it once.
func TestASlowReadIsAnsweredOnce(t *testing.T) {
	onAll(t, func(t *testing.T, on *substrate) {
		var runs atomic.Int64
		slow := objects.NewCall[objects.None, int]("probe", "slow")
		class := objects.Implement("probe", objects.New[struct{}],
			objects.On(slow, func(_ *struct{}, tx *objects.Tx, _ objects.None) (int, error) {
				runs.Add(1)
				wire.Pause(tx, time.Second)
				return 7, nil
			}))
		timing := steady
		timing.Silence = 400 * time.Millisecond
		on.startHost(t, "slow", "fra", timing, nil, class)
		asker := on.asker(t, timing)
		var ran []int64
		for n := range 10 {
			id, err := objects.Class("probe").ID(fmt.Sprint("slow-", n))
			if err != nil {
				t.Fatal(err)
			}
			runs.Store(0)
			reply, err := asker.Do(t.Context(), wire.Address{ID: id}, &wire.Request{Kind: wire.Call, Call: "slow", Body: []byte("null")})
			if err != nil || string(reply.Body) != "7" {
				t.Fatalf("reply %+v, %v", reply, err)
			}
			if ran = append(ran, runs.Load()); ran[n] == 1 {
				return
			}
		}
		t.Errorf("it ran %d times, never once", ran)
	})
}

// A copy of a request that was answered long ago ran again when it reached the object's
// next owner, which did not know that the gateway no longer waits for it.
func TestALateCopyIsNotRunByTheNextOwner(t *testing.T) {
	beside(t, waiters)
	on := single(t)
	first := on.startHost(t, "first", "fra", steady, nil)
	id, err := ticket.Tickets.ID("late")
	if err != nil {
		t.Fatal(err)
	}
	asker := on.asker(t, steady)
	claim := func(asker *wire.Client, want string) (sent wire.Request, token uint64) {
		sent = wire.Request{Kind: wire.Call, Call: "claim", Body: []byte("null")}
		reply, err := asker.Do(t.Context(), wire.Address{ID: id}, &sent)
		if err != nil || string(reply.Body) != want {
			t.Fatalf("reply %+v, %v, want ticket %s", reply, err, want)
		}
		return sent, reply.Token
	}
	late, token := claim(asker, "1")
	claim(asker, "2") // the answer to the first is not kept after this
	first.stop()
	on.startHost(t, "second", "fra", steady, nil)
	other := on.asker(t, steady)
	claim(other, "3")

	nc := on.dial(t)
	inbox := wire.InboxPrefix + "late.1.1"
	answers, err := nc.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	for _, owner := range []uint64{0, token} {
		late.For, late.Timeout = owner, 10_000
		if err := wire.Ask(nc, wire.ObjectSubject(id), inbox, &late); err != nil {
			t.Fatal(err)
		}
		msg, err := answers.NextMsg(patience)
		var reply wire.Reply
		if err != nil || wire.Decode(msg.Data, &reply) != nil || !reply.Moved {
			t.Errorf("a copy for owner %d: %+v, %v, want it told to ask the owner that it names", owner, reply, err)
		}
	}
	claim(other, "4")
}
