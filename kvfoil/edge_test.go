package kvfoil

import (
	"fmt"
	"testing"
	"time"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func TestACachedReadEndsWithItsTTL(t *testing.T) {
	e := newEdge()
	e.remember("k", 7, noon)
	if n, ok := e.lookup("k", time.Minute, noon.Add(time.Minute-1)); !ok || n != 7 {
		t.Errorf("lookup within the ttl = %d, %v, want 7", n, ok)
	}
	if n, ok := e.lookup("k", time.Minute, noon.Add(time.Minute)); ok {
		t.Errorf("lookup after the ttl = %d, want nothing", n)
	}
	if _, ok := e.lookup("other", time.Minute, noon); ok {
		t.Error("lookup of a key never seen found something")
	}
}

func TestWithoutATTLNothingIsCached(t *testing.T) {
	e := newEdge()
	e.remember("k", 7, noon)
	if _, ok := e.lookup("k", 0, noon); ok {
		t.Error("a claim without a ttl was answered from the cache")
	}
}

func TestOneWriteASecondAndKey(t *testing.T) {
	e := newEdge()
	steps := []struct {
		key   string
		after time.Duration
		want  bool
	}{
		{"a", 0, true}, {"a", 0, false}, {"b", 0, true},
		{"a", time.Second - 1, false}, {"a", time.Second, true}, {"a", 2*time.Second - 1, false},
	}
	for i, s := range steps {
		if got := e.mayWrite(s.key, true, noon.Add(s.after)); got != s.want {
			t.Errorf("step %d: write to %s after %v allowed = %v, want %v", i, s.key, s.after, got, s.want)
		}
	}
}

func TestTheEdgeForgetsOldKeysFirstAndStaysSmall(t *testing.T) {
	e := newEdge()
	for i := range 3 * maxKeys {
		now := noon.Add(time.Duration(i) * time.Millisecond)
		e.remember(fmt.Sprint(i), i, now)
		e.mayWrite(fmt.Sprint(i), true, now)
		if len(e.reads) > maxKeys || len(e.wrote) > maxKeys {
			t.Fatalf("keys held = %d and %d, want at most %d", len(e.reads), len(e.wrote), maxKeys)
		}
	}
	now := noon.Add(3 * maxKeys * time.Millisecond)
	if e.mayWrite(fmt.Sprint(3*maxKeys-1), true, now) {
		t.Error("the last write was forgotten though older ones could go")
	}
}
