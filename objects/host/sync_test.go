package host

import (
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/wire"
	"holdfast/objects"
)

const syncClass objects.Class = "sync"

var (
	syncWrite = objects.NewCall[objects.None, objects.None](syncClass, "write")
	syncRead  = objects.NewCall[bool, int](syncClass, "read")
)

// syncer reports the stored value of its counter.
type syncer struct{ store *memoryStore }

func (*syncer) write(tx *objects.Tx, _ objects.None) (objects.None, error) {
	counter.Set(tx, counter.Get(tx)+1)
	return nil, nil
}

func (s *syncer) read(tx *objects.Tx, sync bool) (int, error) {
	counter.Set(tx, counter.Get(tx)) // nothing changes
	if sync {
		tx.Sync()
	}
	value, ok := s.store.record(tx.ID().Key()).Data.Get("count")
	if !ok {
		return 0, nil
	}
	return int(value[0] - '0'), nil
}

func TestSyncWaitsUntilWhatWasWrittenBeforeIsDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemoryStore()
		class := objects.Implement(syncClass, func(*objects.Tx) *syncer { return &syncer{store} }, objects.On(syncWrite, (*syncer).write), objects.On(syncRead, (*syncer).read))
		w := newWorldOn(t, store, "me", func(cfg *Config) { cfg.Objects = []*objects.Implementation{class} })
		id, err := syncClass.ID("a")
		if err != nil {
			t.Fatal(err)
		}
		answer := make(chan wire.ClaimReply, 1)
		if o := w.in.object(wire.Address{ID: id, Name: "a"}, w.in.classes[string(syncClass)]); !o.claim(func(r wire.ClaimReply) { answer <- r }) || !(<-answer).Owned {
			t.Fatal("not claimed")
		}
		for i, c := range []struct {
			sync string
			want int
		}{{"false", 0}, {"true", 2}} {
			store.fail(fault{Slow: time.Second}) // the put of what is written
			w.askOf(id, &wire.Request{Kind: wire.Call, Call: "write", Body: []byte("null")})
			if got := number(<-w.askOf(id, &wire.Request{Kind: wire.Call, Call: "read", Body: []byte(c.sync)})); got != c.want {
				t.Errorf("%d: with sync %s the store had %d, want %d", i, c.sync, got, c.want)
			}
			synctest.Wait()
		}
		if _, err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}
