package host

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/wire"
	"holdfast/objects"
)

// attic keeps one blob, whose content follows from its seed and its size.
type attic struct{}

const atticClass objects.Class = "attic"

// thingOf describes appended bytes: Size bytes of the seed's sequence, from one offset on.
type thingOf struct {
	Seed     uint64
	From, To int
	Anew     bool // the blob is written anew
}

var (
	trunk     = objects.NewBlob("trunk")
	stowCall  = objects.NewCall[thingOf, int64](atticClass, "stow")
	checkCall = objects.NewCall[thingOf, string](atticClass, "check")
	slowCall  = objects.NewCall[thingOf, objects.None](atticClass, "slow")
	slowly    = make(chan string, 8) // what a task says of the blob that its event has opened
	goOn      = make(chan struct{})
	attics    = objects.Implement(atticClass, objects.New[attic],
		objects.On(stowCall, (*attic).stow), objects.On(checkCall, (*attic).check), objects.On(slowCall, (*attic).slow))
)

// pattern returns bytes that cannot be compressed.
func pattern(t thingOf) io.Reader {
	source := rand.NewChaCha8([32]byte{byte(t.Seed)})
	_, _ = io.CopyN(io.Discard, source, int64(t.From)) // it never fails
	return io.LimitReader(source, int64(t.To-t.From))
}

func (*attic) stow(tx *objects.Tx, t thingOf) (int64, error) {
	switch {
	case t.Anew:
		trunk.Write(tx, pattern(t))
	case trunk.Size(tx) == int64(t.From): // otherwise it was asked before
		data, err := io.ReadAll(pattern(t))
		if err != nil {
			return 0, err
		}
		trunk.Append(tx, data)
	}
	return trunk.Size(tx), nil
}

func differs(content io.Reader, t thingOf) string {
	got, err := io.ReadAll(content)
	want, _ := io.ReadAll(pattern(t))
	if err != nil || !bytes.Equal(got, want) {
		return fmt.Sprintf("read %d bytes, %v; want %d", len(got), err, len(want))
	}
	return ""
}

// check reads from From on.
func (*attic) check(tx *objects.Tx, t thingOf) (string, error) {
	content, ok := trunk.Open(tx)
	if !ok {
		return "there is none", nil
	}
	defer content.Close()
	if _, err := content.Seek(int64(t.From), io.SeekStart); err != nil {
		return "", err
	}
	return differs(content, t), nil
}

// slow opens the blob, and lets a task read it.
func (*attic) slow(tx *objects.Tx, t thingOf) (objects.None, error) {
	content, ok := trunk.Open(tx)
	if !ok {
		return nil, objects.Errorf(objects.NotFound, "there is none")
	}
	tx.Go(func(*objects.Task) error {
		<-goOn
		slowly <- differs(content, t)
		return content.Close()
	})
	return nil, nil
}

// A blob of 4 MB is written in pieces and read from anywhere, also by a task while others write, and by the next owner. No
// host has all of it in memory: its cache has 1 MiB.
func TestABlobIsStreamedThroughTheStore(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	ctx, stop := context.WithCancel(t.Context())
	serve := func(ctx context.Context, name string) (ended chan error) {
		h, err := New(t.Context(), Config{Name: name, Objects: []*objects.Implementation{attics}, Serve: s.dial(), State: s.dial(), Memory: true, Cache: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		ended = make(chan error, 1)
		go func() { ended <- h.Run(ctx) }() // waited for by the test
		return ended
	}
	first := serve(ctx, "a")
	client, err := wire.NewClient(wire.ClientConfig{NATS: s.dial(), Name: "g", Region: "local"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	id, err := atticClass.ID("under the roof")
	if err != nil {
		t.Fatal(err)
	}
	ask := func(call string, in thingOf) (string, error) {
		body, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		reply, err := client.Do(t.Context(), wire.Address{ID: id, Name: "under the roof"}, &wire.Request{Kind: wire.Call, Call: call, Body: body})
		if err == nil {
			err = reply.Err()
		}
		if err != nil {
			return "", err
		}
		return string(reply.Body), nil
	}
	must := func(call string, in thingOf) (out string) { // asking twice does no harm
		t.Helper()
		eventually(t, fmt.Sprintf("%s %+v is answered", call, in), func() (ok bool) {
			var err error
			out, err = ask(call, in)
			return err == nil
		})
		return out
	}
	same := func(when string, from, to int) {
		t.Helper()
		if out := must("check", thingOf{Seed: 1, From: from, To: to}); out != `""` {
			t.Errorf("%s, from %d: %s", when, from, out)
		}
	}
	const piece, size = 400_000, 4_000_000
	eventually(t, "a host serves", func() bool {
		_, err := ask("check", thingOf{})
		return err == nil
	})
	for from := 0; from < size; from += piece {
		if got := must("stow", thingOf{Seed: 1, From: from, To: from + piece}); got != fmt.Sprint(from+piece) {
			t.Fatalf("the blob has %s bytes, want %d", got, from+piece)
		}
	}
	for _, from := range []int{0, 1, piece - 1, piece, 1_500_000, size - 1} {
		same("as written", from, size)
	}
	must("slow", thingOf{Seed: 1, To: size})
	must("stow", thingOf{Seed: 2, To: 1_000_000, Anew: true})
	close(goOn)
	if out := <-slowly; out != "" {
		t.Errorf("a task, whose event has opened the blob before it was replaced: %s", out)
	}
	if out := must("check", thingOf{Seed: 2, To: 1_000_000}); out != `""` {
		t.Errorf("the blob that replaced it: %s", out)
	}
	stop()
	if err := <-first; err != nil {
		t.Error(err)
	}
	again, end := context.WithCancel(context.Background())
	second := serve(again, "b")
	t.Cleanup(func() {
		end()
		if err := <-second; err != nil {
			t.Error(err)
		}
	})
	eventually(t, "another host serves", func() bool {
		out, err := ask("check", thingOf{Seed: 2, To: 1_000_000})
		return err == nil && out == `""`
	})
	in, err := Inspect(t.Context(), s.dial())
	if err != nil {
		t.Fatal(err)
	}
	info, err := in.Get(t.Context(), id, "")
	if err != nil || info.Blobs["trunk"] != 1_000_000 || len(info.Keys) != 0 || info.Database {
		t.Errorf("an operator sees the blobs %v and %d keys, %v", info.Blobs, len(info.Keys), err)
	}
}

// A large object is read as the loop goes: a loop that stops reads no further.
func TestARangeReadsNoFurtherThanItsLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemoryStore()
		w := newChestWorld(t, store, "first")
		w.own()
		for i := range 40 {
			w.must("load", load{First: 100 * i, Keys: 100, Size: 1000, Mark: "a"})
		}
		time.Sleep(20 * time.Second) // merges are paced
		w.crash()
		w = newChestWorld(t, store, "second")
		w.own()
		o := w.in.find(w.id.Key())
		reads := func(entries int) int {
			store.mu.Lock()
			before := store.gets
			store.mu.Unlock()
			scan := o.memory.Scan(t.Context(), "thing/", "thing0", false)
			for range entries {
				if _, ok, err := scan.Next(); !ok || err != nil {
					t.Fatal(ok, err)
				}
			}
			store.mu.Lock()
			defer store.mu.Unlock()
			return store.gets - before
		}
		few, all := reads(10), reads(4000)
		if few > 4 || all < 10 {
			t.Errorf("ten entries took %d reads, and all 4,000 took %d", few, all)
		}
		w.end()
	})
}
