package acceptance

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host"
)

// An operator looks at the past of an object, puts it back, takes that back, and forks it. The object is larger than its
// record, and its owner goes away in between.
func TestAnOperatorReadsThePastAndPutsAnObjectBack(t *testing.T) {
	beside(t, heavy)           // it writes a large object
	const each, half = 20, 100 // steps of a call, and before then
	on := single(t)
	timing := wire.Timing{TTL: 10 * time.Second, Drain: 2 * time.Second}
	kept := vaults.With(objects.Settings{History: objects.MaxHistory})
	owner := on.startHost(t, "first", "fra", timing, prometheus.NewRegistry(), kept)
	nc := on.dial(t)
	objs := caller(t, nc)
	id, err := vaultClass.ID("v")
	if err != nil {
		t.Fatal(err)
	}
	steps := func(some, want int) {
		t.Helper()
		if n, err := stepCall.Do(t.Context(), objs.Object(vaultClass, "v"), some); n != want || err != nil {
			t.Fatalf("step %d, %v, want %d", n, err, want)
		}
	}
	is := func(name string, want int) {
		t.Helper()
		if n, err := checkCall.Do(t.Context(), objs.Object(vaultClass, name), nil); n != want || err != nil {
			t.Fatalf("%s is at step %d, %v, want %d", name, n, err, want)
		}
	}
	in, err := host.Inspect(t.Context(), nc)
	if err != nil {
		t.Fatal(err)
	}
	tries := 0
	await(t, "the host knows that no older host is there, so that a history can begin", func() bool {
		tries++
		name := fmt.Sprint("try-", tries)
		if _, err := stepCall.Do(t.Context(), objs.Object(vaultClass, name), 1); err != nil {
			t.Fatal(err)
		}
		try, err := vaultClass.ID(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range in.History(t.Context(), try) {
			return err == nil
		}
		return false
	})
	for n := 0; n < half; n += each {
		steps(each, n+each)
	}
	then := host.At(time.Now())
	for n := half; n < 2*half; n += each {
		steps(each, n+each)
	}
	owner.stop()
	at := func(b objects.Bookmark, want int) {
		t.Helper()
		past, err := in.GetAt(t.Context(), id, "v", b)
		if err != nil || string(past.Keys["steps"]) != fmt.Sprint(want) || len(past.Keys) != want+1 {
			t.Errorf("at %s: step %s, %d keys, %v, want step %d", b, past.Keys["steps"], len(past.Keys), err, want)
		}
	}
	at(then, half)
	changes := 0
	for e, err := range in.History(t.Context(), id) {
		if err != nil {
			t.Fatal(err)
		}
		if changes++; len(e.Set) != each+1 {
			t.Errorf("a change has set %d keys", len(e.Set))
		}
		at(e.At, each*(2*half/each+1-changes))
	}
	if changes != 2*half/each {
		t.Errorf("%d changes, want %d", changes, 2*half/each)
	}
	d, err := in.Diff(t.Context(), id, then, host.At(time.Now()))
	if err != nil || len(d.Changed) != half+1 {
		t.Errorf("%d keys are different, %v, want %d", len(d.Changed), err, half+1)
	}

	on.startHost(t, "second", "fra", timing, prometheus.NewRegistry(), kept)
	done, err := host.Restore(t.Context(), nc, id, "v", then)
	if err != nil || !done.Changed {
		t.Fatalf("restore: %+v, %v", done, err)
	}
	is("v", half)
	steps(5, half+5)
	if _, err := host.Restore(t.Context(), nc, id, "v", done.Undo); err != nil {
		t.Fatal(err)
	}
	is("v", 2*half)
	fork, err := vaultClass.ID("fork")
	if err != nil {
		t.Fatal(err)
	}
	if keys, err := host.Fork(t.Context(), nc, id, then, fork, "fork"); err != nil || keys != half+1 {
		t.Fatalf("fork: %d keys, %v", keys, err)
	}
	is("fork", half)
}
