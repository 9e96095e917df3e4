//go:build unix

package acceptance

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	hfclient "holdfast/client"
	"holdfast/embedded"
	"holdfast/objects"
)

func startHostProcess(t *testing.T, url string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0], "host")
	cmd.Env = append(os.Environ(), hostURL+"="+url)
	return runs(t, new(struct{}), cmd)
}

// natsForProcesses returns one server that processes reach, and a connection to it.
func natsForProcesses(t *testing.T) (url string, nc *nats.Conn) {
	t.Helper()
	server, err := embedded.Start(t.Context(), embedded.Config{Store: t.TempDir(), Port: -1, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server.URL(), dialed(t)(server.Dial())
}

// caller asks objects over NATS, without a gateway.
func caller(t testing.TB, nc *nats.Conn) objects.Caller {
	t.Helper()
	objs, err := hfclient.New(nc, hfclient.Config{Region: "fra", Request: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return objs
}

// writers write into objects that count what was written, one for each object, until they are stopped.
type writers struct {
	t            testing.TB
	check        func(i int) (int, error)
	acked, asked []int // by object
	done         atomic.Int64
	stop         func() // returns when they have stopped
}

// startWriters starts names writers. A write is some long, which may depend on how much was acknowledged before; write and check
// return how much there is in all.
func startWriters(t testing.TB, objs objects.Caller, names int, write objects.Call[int, int], check objects.Call[objects.None, int], some func(acked int) int) *writers {
	object := func(i int) objects.Ref { return objs.Object(write.Class(), fmt.Sprint(i)) }
	ctx, cancel := context.WithCancel(t.Context())
	var writing sync.WaitGroup
	w := &writers{
		t: t, acked: make([]int, names), asked: make([]int, names),
		check: func(i int) (int, error) { return check.Do(t.Context(), object(i), nil) },
		stop:  func() { cancel(); writing.Wait() },
	}
	for i := range names {
		writing.Go(func() {
			for ctx.Err() == nil {
				n := some(w.acked[i])
				w.asked[i] += n
				// What is asked for when the writers are stopped is answered still.
				all, err := write.Do(t.Context(), object(i), n)
				if err != nil {
					t.Logf("%s %d after %d: %v", write.Class(), i, w.acked[i], err)
					continue
				}
				if all < w.acked[i]+n || all > w.asked[i] {
					t.Errorf("%s %d has %d, after %d that were acknowledged and %d that were asked for", write.Class(), i, all, w.acked[i], w.asked[i])
				}
				w.acked[i] = all
				w.done.Add(int64(n))
			}
		})
	}
	return w
}

// goOn waits until so much more was acknowledged.
func (w *writers) goOn(more int) {
	w.t.Helper()
	enough := w.done.Load() + int64(more)
	await(w.t, "the writers go on", func() bool { return w.done.Load() >= enough })
}

// end stops the writers and compares the objects with what was written.
func (w *writers) end() {
	w.t.Helper()
	w.stop()
	for i := range w.acked {
		n, err := w.check(i)
		if err != nil || n < w.acked[i] || n > w.asked[i] {
			w.t.Errorf("object %d has %d, %v; %d were acknowledged and %d asked for", i, n, err, w.acked[i], w.asked[i])
		}
	}
}
