//go:build unix

package test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/embedded"
	"holdfast/internal/wire"
)

// reader asks books.
type reader struct {
	t      testing.TB
	client *wire.Client
}

func newReader(t testing.TB, nc *nats.Conn, timing wire.Timing) *reader {
	t.Helper()
	client, err := wire.NewClient(wire.ClientConfig{NATS: nc, Name: "g", Region: "fra", Timing: timing})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return &reader{t, client}
}

func (r *reader) do(name, call string, in any) (n int, err error) {
	id, err := bookClass.ID(name)
	if err != nil {
		return 0, err
	}
	body, err := json.Marshal(in)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	reply, err := r.client.Do(ctx, wire.Address{ID: id, Name: name}, &wire.Request{Kind: wire.Call, Call: call, Body: body})
	if err == nil {
		err = reply.Err()
	}
	if err == nil {
		err = json.Unmarshal(reply.Body, &n)
	}
	return n, err
}

// writers write into books until they are stopped.
type writers struct {
	*reader
	acked, asked []int // lines, by book
	done         atomic.Int64
	stop         func() // returns when they have stopped
}

func (r *reader) write(names, most int) *writers {
	w := &writers{reader: r, acked: make([]int, names), asked: make([]int, names)}
	ctx, cancel := context.WithCancel(r.t.Context())
	var writing sync.WaitGroup
	w.stop = func() { cancel(); writing.Wait() }
	for i := range names {
		writing.Go(func() {
			for ctx.Err() == nil {
				some := 1 + rand.IntN(most)
				w.asked[i] += some
				n, err := r.do(fmt.Sprint(i), "write", some)
				if err != nil {
					r.t.Logf("book %d after %d lines: %v", i, w.acked[i], err)
					continue
				}
				if n < w.acked[i]+some || n > w.asked[i] {
					r.t.Errorf("book %d has %d lines, after %d that were acknowledged and %d that were asked for", i, n, w.acked[i], w.asked[i])
				}
				w.acked[i] = n
				w.done.Add(1)
			}
		})
	}
	return w
}

// goOn waits until they have written some times.
func (w *writers) goOn(times int) {
	w.t.Helper()
	enough := w.done.Load() + int64(times)
	await(w.t, "the books go on", func() bool { return w.done.Load() >= enough })
}

// check compares the books with what was written.
func (w *writers) check() {
	w.t.Helper()
	for i := range w.acked {
		n, err := w.do(fmt.Sprint(i), "check", nil)
		if err != nil || n < w.acked[i] || n > w.asked[i] {
			w.t.Errorf("book %d has %d lines, %v; %d were acknowledged and %d asked for", i, n, err, w.acked[i], w.asked[i])
		}
	}
}

func TestDatabasesMoveWithTheirObjects(t *testing.T) {
	onAll(t, func(t *testing.T, on *substrate) {
		hosts := []member{on.startHost(t, "a", "fra", quick, nil, books)}
		w := newReader(t, on.dial(t), quick).write(3, 20)
		w.goOn(10)
		for i := range 4 {
			hosts = append(hosts, on.startHost(t, fmt.Sprint("b", i), "fra", quick, nil, books))
			w.goOn(10)
			if i%2 == 0 {
				hosts[0].stop()
			} else {
				hosts[0].cut()
			}
			hosts = hosts[1:]
			w.goOn(10)
		}
		w.stop()
		w.check()
	})
}

// HOLDFAST_KILLS says how often hosts are killed.
func TestChaosDatabasesLoseNothingWhenTheirOwnersAreKilled(t *testing.T) {
	kills, _ := strconv.Atoi(os.Getenv("HOLDFAST_KILLS"))
	kills = cmp.Or(kills, 4)
	server, err := embedded.Start(t.Context(), embedded.Config{Store: t.TempDir(), Port: -1, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	hosts := []*process{startHostProcess(t, server.URL()), startHostProcess(t, server.URL())}
	nc, err := server.Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	w := newReader(t, nc, quick).write(4, 60)
	for range kills {
		w.goOn(20 + rand.IntN(60))
		hosts[0].kill()
		hosts = append(slices.Delete(hosts, 0, 1), startHostProcess(t, server.URL()))
	}
	w.goOn(20)
	w.stop()
	w.check()
}
