package state

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"holdfast/objects/internal/engine"
)

// Whatever is written, cut, merged, purged and opened again, the state reads as a map does, in both directions, and
// the store has what the head names.
func TestAStateReadsAsAMapDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		store := newTwin()
		o, err := claim(store, NewCache(2<<10))
		if err != nil {
			t.Fatal(err)
		}
		key := rapid.Custom(func(t *rapid.T) string {
			return fmt.Sprintf("%c/%03d", 'a'+rapid.IntRange(0, 2).Draw(t, "letter"), rapid.IntRange(0, 60).Draw(t, "n"))
		})
		size := rapid.OneOf(rapid.IntRange(1, 60), rapid.IntRange(1, 60), rapid.IntRange(1, 60), rapid.IntRange(250, 4000))
		n := 0
		step := func(what string, err error) {
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				for range rapid.IntRange(1, 12).Draw(t, "keys") {
					n++
					o.write(key.Draw(t, "key"), strings.Repeat(fmt.Sprint(n%10), size.Draw(t, "size")))
				}
			},
			"delete": func(t *rapid.T) { o.write(key.Draw(t, "key"), "") },
			"delete a": func(t *rapid.T) {
				for k := range maps.Clone(o.memory) {
					if strings.HasPrefix(k, "a") {
						o.write(k, "")
					}
				}
			},
			"commit": func(t *rapid.T) { step("commit", o.commitAll(false)) },
			"write while a put is under way": func(t *rapid.T) {
				o.cut(false)
				journal := new(engine.Data)
				for k, v := range o.state.Journal().All() {
					journal.Apply([]engine.Write{{Key: k, Value: v}})
				}
				o.write(key.Draw(t, "key"), "later")
				same(t, o)
				step("send", o.send(journal, false))
			},
			"merge": func(t *rapid.T) { step("merge", o.merge()) },
			"purge": func(t *rapid.T) {
				step("purge", o.purge(time.Duration(rapid.IntRange(0, 3).Draw(t, "after"))*time.Second))
			},
			"claim again": func(t *rapid.T) {
				memory := o.acked
				o, err = claim(store, NewCache(2<<10))
				step("claim", err)
				if !maps.Equal(o.memory, memory) {
					t.Fatalf("%d keys after a claim, want %d", len(o.memory), len(memory))
				}
			},
			"release": func(t *rapid.T) {
				if o.job != nil {
					step("merge", o.merge())
				}
				step("commit", o.commitAll(false))
				step("release", o.commitAll(true))
				memory := o.acked
				o, err = claim(store, NewCache(2<<10))
				step("claim", err)
				if !maps.Equal(o.memory, memory) {
					t.Fatalf("%d keys after a release, want %d", len(o.memory), len(memory))
				}
			},
			"": func(t *rapid.T) {
				same(t, o)
				a, b := key.Draw(t, "from"), key.Draw(t, "to")
				for _, backward := range []bool{false, true} {
					var want, got []string
					for k := range o.memory {
						if a <= k && k < b {
							want = append(want, k+o.memory[k])
						}
					}
					slices.Sort(want)
					if backward {
						slices.Reverse(want)
					}
					for scan := o.state.Scan(context.Background(), a, b, backward); ; {
						w, ok, err := scan.Next()
						step("scan", err)
						if !ok {
							break
						}
						got = append(got, w.Key+string(w.Value))
					}
					if !slices.Equal(got, want) {
						t.Fatalf("from %s to %s backward %v: %d keys, want %d", a, b, backward, len(got), len(want))
					}
				}
			},
		})
		if o.job != nil {
			step("merge", o.merge())
		}
		o.write("fold", strings.Repeat("x", 600)) // the first entry is written after orphans are collected
		step("calm", o.calm())
		same(t, o)
		clean(t, store, o)
	})
}

// letters begin the keys of the model; one of them is the runtime's.
var letters = []string{"a", "b", "c", engine.Reserved + "o"}

func same(t *rapid.T, o *owner) {
	size := 0
	for k, v := range o.memory {
		size += len(k) + len(v)
	}
	if got := o.state.Size(); got < size {
		t.Fatalf("size = %d, want at least %d", got, size)
	}
	for _, letter := range letters {
		for n := range 61 {
			key := fmt.Sprintf("%s/%03d", letter, n)
			if reserved, _ := o.state.Reserved().Get(key); isReserved(key) && string(reserved) != o.memory[key] {
				t.Fatalf("the runtime's key %q has %d bytes, want %d", key, len(reserved), len(o.memory[key]))
			}
			got, err := o.state.Read(context.Background(), key)
			if want, ok := o.memory[key]; err != nil || string(got) != want || ok != (got != nil) {
				t.Fatalf("%s has %d bytes, %v; want %d", key, len(got), err, len(want))
			}
			if known, ok := o.state.Known(key); ok && string(known) != o.memory[key] {
				t.Fatalf("%s is known to have %d bytes, want %d", key, len(known), len(o.memory[key]))
			}
		}
	}
}

// clean makes sure that the store has what the state names and nothing else.
func clean(t interface{ Fatalf(string, ...any) }, store *twin, o *owner) {
	named, err := o.state.named()
	if err != nil {
		t.Fatalf("%v", err)
	}
	for name := range store.entries {
		if !named[name] {
			t.Fatalf("%s is in the store, and nobody names it", name)
		}
	}
	for name := range named {
		if store.entries[name] == nil {
			t.Fatalf("%s is named, and not in the store", name)
		}
	}
}

// An owner dies at any of its calls to the store, which is done or not. What was acknowledged is always found, and what
// the dead have left behind is collected.
func TestWhateverCallAnOwnerDiesAtItsStateIsFoundAndItsOrphansAreCollected(t *testing.T) {
	lives, orphans, merges, unacked := 0, 0, 0, 0
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		store := newTwin()
		acked := map[string]string{}
		var maybe map[string]string // what the put carried whose answer has not come
		for range 12 {
			lives++
			store.calls, store.effect, store.gone = rng.IntN(120), rng.IntN(2) == 0, false
			if rng.IntN(3) == 0 {
				store.calls = rng.IntN(8)
			}
			o, err := claim(store, NewCache(4<<10))
			for err == nil {
				if maybe != nil && maps.Equal(o.acked, maybe) {
					acked, unacked = maybe, unacked+1
				}
				maybe = nil
				if !maps.Equal(o.acked, acked) {
					t.Fatalf("seed %d: %d keys are found, want %d", seed, len(o.acked), len(acked))
				}
				for range rng.IntN(6) {
					size := 1 + rng.IntN(60)
					if rng.IntN(10) == 0 {
						size = 250 + rng.IntN(3000)
					}
					if o.write(fmt.Sprintf("%04d", rng.IntN(400)), strings.Repeat("x", size)); rng.IntN(5) == 0 {
						o.write(fmt.Sprintf("%04d", rng.IntN(400)), "")
					}
				}
				switch rng.IntN(8) {
				case 0, 1, 2:
					if err = o.merge(); err == nil && o.job != nil {
						merges++
					}
				case 3:
					err = o.purge(time.Duration(rng.IntN(4)) * time.Second)
				case 4:
					if rng.IntN(6) == 0 && o.job == nil { // let go and claimed again
						o.cut(true)
						maybe = o.put
						if err = o.send(o.state.Journal(), true); err == nil {
							acked, maybe = o.acked, nil
							o, err = claim(store, NewCache(4<<10))
						}
					}
				default:
					o.cut(false)
					maybe = o.put
					if err = o.send(o.state.Journal(), false); err == nil {
						acked, maybe = o.acked, nil
					}
				}
			}
			if maybe != nil && store.record.commit == 0 {
				maybe = nil
			}
		}
		store.calls, store.gone = -1, false
		o, err := claim(store, nil)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if !maps.Equal(o.acked, acked) && (maybe == nil || !maps.Equal(o.acked, maybe)) {
			t.Fatalf("seed %d: %d keys are found in the end, want %d", seed, len(o.acked), len(acked))
		}
		before := len(store.entries)
		o.write("fold", strings.Repeat("x", 600)) // the first entry is written after orphans are collected
		if err := o.calm(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		orphans += before
		clean(t, store, o)
	}
	t.Logf("%d lives, %d merges, %d puts that had landed without an answer, %d entries before collecting", lives, merges, unacked, orphans)
	if lives < 500 || merges < 200 || unacked < 20 {
		t.Errorf("too little has happened for the silence to count")
	}
}
