package host

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host/internal/record"
)

type shelf struct{}

const shelfClass objects.Class = "shelf"

var (
	shelfText = objects.NewKey[string]("text")
	fillCall  = objects.NewCall[objects.None, objects.None](shelfClass, "fill")
	seeCall   = objects.NewCall[objects.None, int](shelfClass, "see")
	clearCall = objects.NewCall[objects.None, objects.None](shelfClass, "clear")
	shelves   = objects.Implement(shelfClass, objects.New[shelf],
		objects.On(fillCall, (*shelf).fill), objects.On(seeCall, (*shelf).see), objects.On(clearCall, (*shelf).clear))
)

func (s *shelf) fill(tx *objects.Tx, _ objects.None) (objects.None, error) {
	shelfText.Set(tx, incompressible(50_000))
	return nil, nil
}

// incompressible returns text that a store cannot compress.
func incompressible(n int) string {
	var b strings.Builder
	for b.Len() < n {
		b.WriteString(rand.Text())
	}
	return b.String()[:n]
}

func (s *shelf) see(tx *objects.Tx, _ objects.None) (int, error) {
	return len(shelfText.Get(tx)), nil
}

func (s *shelf) clear(tx *objects.Tx, _ objects.None) (objects.None, error) {
	shelfText.Delete(tx)
	return nil, nil
}

// Objects of 50 kB fill a store of 400 kB. A request that writes then is refused within a second, and
// nothing happens; everything else goes on, and writes succeed again when there is room.
func TestWhoeverWritesToAFullStoreIsToldSoAtOnce(t *testing.T) {
	t.Parallel()
	fillAndClear(t, func(*record.Bucket) {})
}

// What is left has room for something, if not for 50 kB: so says the next reading of the store. What was deleted after
// such a reading took up room for two minutes more.
func TestWritesGoOnThoughADeletionCameWhenTheStoreSeemedToHaveRoom(t *testing.T) {
	t.Parallel()
	fillAndClear(t, func(b *record.Bucket) {
		eventually(t, "the store seems to have room", func() bool { return b.Room() == record.Free })
	})
}

// fillAndClear fills a store, calls between, deletes, and writes again.
func fillAndClear(t *testing.T, between func(*record.Bucket)) {
	t.Helper()
	s := newStore(t)
	h, err := New(t.Context(), Config{Name: "a", Objects: []*objects.Implementation{shelves}, Serve: s.dial(), State: s.dial(), MaxBytes: 400_000})
	if err != nil {
		t.Fatal(err)
	}
	run(t, func(ctx context.Context) {
		if err := h.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	client, err := wire.NewClient(wire.ClientConfig{NATS: s.dial(), Name: "g", Region: "local"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	ask := func(i int, call string) objects.Code {
		t.Helper()
		id, err := shelfClass.ID(fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		reply, err := client.Do(t.Context(), wire.Address{ID: id}, &wire.Request{Kind: wire.Call, Call: call, Body: []byte("{}")})
		if err == nil {
			err = reply.Err()
		}
		code := objects.CodeOf(err)
		if took := time.Since(began); code == objects.StorageFull && took > time.Second {
			t.Errorf("%s of %d was refused after %v", call, i, took)
		}
		return code
	}
	eventually(t, "a host serves", func() bool { return ask(0, "see") == "" })
	refused := 0
	for i := range 12 {
		switch code := ask(i, "fill"); {
		case code == objects.StorageFull:
			refused++
		case code != "" || refused > 0:
			t.Errorf("shelf %d was answered %q after %d refusals", i, code, refused)
		}
	}
	if refused < 4 {
		t.Errorf("%d of 12 were refused", refused)
	}
	for i := range 12 {
		if code := ask(i, "see"); code != "" {
			t.Errorf("a read of shelf %d was answered %q", i, code)
		}
	}
	between(h.records)
	for i := range 5 {
		if code := ask(i, "clear"); code != "" {
			t.Errorf("a delete was answered %q", code)
		}
	}
	eventually(t, "writes go on", func() bool { return ask(11, "fill") == "" })
}
