package test

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
	beside(t, waiters)
	on := single(t)
	timing := wire.Timing{TTL: 10 * time.Second, Drain: 2 * time.Second}
	kept := vaults.With(objects.Settings{History: objects.MaxHistory})
	owner := on.startHost(t, "first", "fra", timing, prometheus.NewRegistry(), kept)
	nc := on.dial(t)
	client := newVaultClient(t, nc)
	id, err := vaultClass.ID("v")
	if err != nil {
		t.Fatal(err)
	}
	steps := func(some, want int) {
		t.Helper()
		if n, err := client.do("v", "step", some); n != want || err != nil {
			t.Fatalf("step %d, %v, want %d", n, err, want)
		}
	}
	is := func(name string, want int) {
		t.Helper()
		if n, err := client.do(name, "check", nil); n != want || err != nil {
			t.Fatalf("%s is at step %d, %v, want %d", name, n, err, want)
		}
	}
	for i := range 10 {
		steps(50, 50*(i+1))
	}
	then := host.At(time.Now())
	for i := range 10 {
		steps(50, 500+50*(i+1))
	}
	owner.stop()
	in, err := host.Inspect(t.Context(), nc)
	if err != nil {
		t.Fatal(err)
	}
	at := func(b objects.Bookmark, want int) {
		t.Helper()
		past, err := in.GetAt(t.Context(), id, "v", b)
		if err != nil || string(past.Keys["steps"]) != fmt.Sprint(want) || len(past.Keys) != want+1 {
			t.Errorf("at %s: step %s, %d keys, %v, want step %d", b, past.Keys["steps"], len(past.Keys), err, want)
		}
	}
	at(then, 500)
	changes := 0
	for e, err := range in.History(t.Context(), id) {
		if err != nil {
			t.Fatal(err)
		}
		if changes++; len(e.Set) != 51 {
			t.Errorf("a change has set %d keys", len(e.Set))
		}
		at(e.At, 50*(21-changes))
	}
	if changes != 20 {
		t.Errorf("%d changes, want 20", changes)
	}
	d, err := in.Diff(t.Context(), id, then, host.At(time.Now()))
	if err != nil || len(d.Changed) != 501 {
		t.Errorf("%d keys are different, %v, want 501", len(d.Changed), err)
	}

	on.startHost(t, "second", "fra", timing, prometheus.NewRegistry(), kept)
	done, err := host.Restore(t.Context(), nc, id, "v", then)
	if err != nil || !done.Changed {
		t.Fatalf("restore: %+v, %v", done, err)
	}
	is("v", 500)
	steps(5, 505)
	if _, err := host.Restore(t.Context(), nc, id, "v", done.Undo); err != nil {
		t.Fatal(err)
	}
	is("v", 1000)
	fork, err := vaultClass.ID("fork")
	if err != nil {
		t.Fatal(err)
	}
	if keys, err := host.Fork(t.Context(), nc, id, then, fork, "fork"); err != nil || keys != 501 {
		t.Fatalf("fork: %d keys, %v", keys, err)
	}
	is("fork", 500)
}
