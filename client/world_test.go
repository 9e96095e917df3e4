package client_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/embedded"
	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host"
)

// Counters add their input, and report the principal.
const Counters objects.Class = "counter"

var (
	add   = objects.NewCall[int, int](Counters, "add")
	who   = objects.NewCall[objects.None, objects.Principal](Counters, "who")
	stall = objects.NewCall[objects.None, objects.None](Counters, "stall")
	bytes = objects.NewCall[[]byte, []byte](Counters, "bytes")

	sum = objects.NewKey[int]("sum")
)

type counter struct{ release <-chan struct{} }

func (*counter) add(tx *objects.Tx, n int) (int, error) {
	if n < 0 {
		return 0, objects.Errorf("negative", "counters do not count down").With("least", 0)
	}
	n += sum.Get(tx)
	sum.Set(tx, n)
	return n, nil
}

func (*counter) who(tx *objects.Tx, _ objects.None) (objects.Principal, error) {
	return objects.PrincipalOf(tx), nil
}

func (c *counter) stall(*objects.Tx, objects.None) (objects.None, error) {
	<-c.release
	return nil, nil
}

func (*counter) bytes(_ *objects.Tx, in []byte) ([]byte, error) { return in, nil }

func (*counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	tx := objects.TxOf(r)
	if r.Header.Get("Upgrade") != "" {
		if _, err := tx.Accept(); err != nil {
			tx.Refuse(err)
		}
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		tx.Refuse(err)
		return
	}
	w.Header().Set("X-Who", objects.PrincipalOf(tx).ID)
	w.WriteHeader(http.StatusAccepted)
	_ = json.NewEncoder(w).Encode(fmt.Sprintf("%s %s %s at %s, %d", r.Method, r.URL, body, r.Host, sum.Get(tx)))
}

// program is the NATS user of a client, as `holdfast nats permissions` has it: all that a client needs.
var program = embedded.User{
	Name: "client", Password: "secret",
	Publish:   []string{"hf.o.*.*.g", "hf.claim.*.*", "hf.hosts", "hf.hosts.*", "hf.host.*", "hf.beat", "_HF.l.>"},
	Subscribe: []string{"_HF.client.>", "_HF.h.client.>"},
}

// dial connects as a client's user.
func (w *world) dial() (*nats.Conn, error) {
	return w.server.Dial(nats.ReconnectBufSize(-1), nats.UserInfo(program.Name, program.Password))
}

// world is a NATS with a host of counters.
type world struct {
	server  *embedded.Server
	release func() // lets what stalls go on
	stop    func()
}

// newWorld starts a world. Without hosted nothing answers.
func newWorld(ctx context.Context, hosted bool) (*world, error) {
	server, err := embedded.Start(ctx, embedded.Config{Users: []embedded.User{program}})
	if err != nil {
		return nil, err
	}
	released := make(chan struct{})
	w := &world{server: server, release: func() { close(released) }, stop: server.Close}
	if !hosted {
		return w, nil
	}
	state, err := server.Dial(nats.ReconnectBufSize(-1))
	if err != nil {
		server.Close()
		return nil, err
	}
	h, err := host.New(ctx, host.Config{
		Serve: state, State: state, Memory: true, Timing: wire.Timing{TTL: time.Second, Margin: 100 * time.Millisecond, Drain: 2 * time.Second},
		Objects: []*objects.Implementation{lineObjects, shortLines, objects.Implement(Counters, func(*objects.Tx) *counter { return &counter{released} },
			objects.On(add, (*counter).add), objects.On(who, (*counter).who), objects.On(stall, (*counter).stall), objects.On(bytes, (*counter).bytes))},
	})
	if err != nil {
		state.Close()
		server.Close()
		return nil, err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() { done <- h.Run(running) }()
	for h.Ready() != nil && wire.Pause(ctx, 5*time.Millisecond) {
	}
	w.stop = func() {
		stop()
		if err := <-done; err != nil {
			panic(err)
		}
		state.Close()
		server.Close()
	}
	return w, nil
}

// someNATS returns a connection to a NATS with a host of counters, for examples.
func someNATS() (nc *nats.Conn, stop func()) {
	w, err := newWorld(context.Background(), true)
	if err != nil {
		panic(err)
	}
	nc, err = w.dial()
	if err != nil {
		panic(err)
	}
	return nc, func() { nc.Close(); w.stop() }
}
