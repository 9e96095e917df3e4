package state

import (
	"context"
	"errors"
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
		var before engine.Stored // a snapshot, and what it has
		var had map[string]string
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
			"merge":    func(t *rapid.T) { step("merge", o.merge()) },
			"snapshot": func(t *rapid.T) { before, had = o.state.Snapshot("a", "c"), maps.Clone(o.memory) },
			"purge": func(t *rapid.T) {
				before = nil // what it has may go
				step("purge", o.purge(time.Duration(rapid.IntRange(0, 3).Draw(t, "after"))*time.Second))
			},
			"claim again": func(t *rapid.T) {
				before = nil // its owner has lost the object
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
				if before != nil {
					for k, want := range had {
						got, err := before.Read(context.Background(), k)
						if err != nil || k < "c" && string(got) != want {
							t.Fatalf("a snapshot has %d bytes of %s, %v; want %d", len(got), k, err, len(want))
						}
					}
				}
				for _, backward := range []bool{false, true} {
					var want, got, keys []string
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
					for scan := o.state.Keys(context.Background(), a, b, backward); ; {
						w, ok, err := scan.Next()
						step("keys", err)
						if !ok {
							break
						}
						keys = append(keys, w.Key+o.memory[w.Key])
					}
					if !slices.Equal(got, want) || !slices.Equal(keys, want) {
						t.Fatalf("from %s to %s backward %v: %d entries, %d keys, want %d", a, b, backward, len(got), len(keys), len(want))
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
			if reserved, _ := o.state.Reserved().Get(key); engine.Stays(key) && string(reserved) != o.memory[key] {
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
				o.writeSome(rng)
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

// An owner that is taken for dead has put entries on their way. They arrive when another owns the object, or nobody.
func TestWhatALostOwnerWritesLateIsCollected(t *testing.T) {
	for name, next := range map[string]func(t *testing.T, store *twin, late func()){
		"before the next owner's first entry": func(t *testing.T, store *twin, late func()) {
			late()
			lives(t, store, false)
		},
		"after it": func(t *testing.T, store *twin, late func()) {
			lives(t, store, false)
			late()
		},
		"after the next owner has let go": func(t *testing.T, store *twin, late func()) {
			lives(t, store, true)
			late()
		},
		"after two more were lost": func(t *testing.T, store *twin, late func()) {
			lives(t, store, false)
			lives(t, store, false)
			late()
		},
		"after a claim that was never served": func(t *testing.T, store *twin, late func()) {
			o, err := claim(store, nil)
			if err != nil {
				t.Fatal(err)
			}
			o.put = o.memory
			if err := o.commitAll(true); err != nil {
				t.Fatal(err)
			}
			late()
		},
	} {
		for _, had := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/entries=%v", name, had), func(t *testing.T) {
				store := newTwin()
				o, err := claim(store, nil)
				if err != nil {
					t.Fatal(err)
				}
				if had {
					o.write("a", strings.Repeat("x", 600))
					if err := o.commitAll(false); err != nil {
						t.Fatal(err)
					}
				}
				o.write("lost", strings.Repeat("x", 600))
				o.cut(false)
				if o.before == nil || len(o.before.pieces) == 0 {
					t.Fatal("nothing is on its way")
				}
				wrote := false
				next(t, store, func() {
					wrote = true
					if err := o.before.source.write(context.Background(), o.before.pieces); err != nil {
						t.Fatal(err)
					}
				})
				last, err := claim(store, nil)
				if err != nil || !wrote {
					t.Fatal(err)
				}
				if last.memory["lost"] != "" {
					t.Error("what was never committed is there")
				}
				last.write("fold", strings.Repeat("x", 600))
				if err := last.calm(); err != nil {
					t.Fatal(err)
				}
				clean(t, store, last)
			})
		}
	}
}

// lives claims the object, has it fold, and lets it go or not.
func lives(t *testing.T, store *twin, release bool) {
	t.Helper()
	o, err := claim(store, nil)
	if err == nil {
		o.write(fmt.Sprint("life", o.token), strings.Repeat("y", 600))
		err = o.commitAll(false)
	}
	if err == nil && release {
		err = o.commitAll(true)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestLossesThatNoHostHasWrittenAreRefused(t *testing.T) {
	for name, h := range map[string]Head{
		"a loss by no claim":      {Next: 5, Losses: []Loss{{Claim: 0, Next: 1}}},
		"losses out of order":     {Next: 5, Losses: []Loss{{Claim: 7, Next: 1}, {Claim: 7, Next: 2}}},
		"numbers that go back":    {Next: 5, Losses: []Loss{{Claim: 7, Next: 2}, {Claim: 8, Next: 1}}},
		"a loss of the future":    {Next: 5, Losses: []Loss{{Claim: 7, Next: 6}}},
		"a merge of the future":   {Next: 5, Losses: []Loss{{Claim: 7, Next: 2, Job: 3}}},
		"more losses than it has": {Next: 5, Losses: make([]Loss, maxLosses+1)},
	} {
		if h.Check() == nil {
			t.Errorf("%s is taken", name)
		}
	}
	var l Loss
	for _, text := range []string{"", "1", "1:2", "1:2:3:4", "01:2:3", "-1:2:3", "1:2:x"} {
		if l.UnmarshalText([]byte(text)) == nil {
			t.Errorf("%q is read as %+v", text, l)
		}
	}
	if err := l.UnmarshalText([]byte("17:40:39")); err != nil || l != (Loss{17, 40, 39}) {
		t.Errorf("read %+v, %v", l, err)
	}
}

// The stretches that hosts read at a claim are those of the keys that stay, and no others.
func TestReservedKeysAreTheKeysThatStay(t *testing.T) {
	for _, key := range []string{
		"a", "\x01", engine.Reserved, engine.AnswersAt + "1", engine.OutboxAt + "1", engine.ToldCount, engine.TimersAt + "1", engine.ParkedAt + "1", engine.MarksAt + "1",
		engine.SessionsAt + "1", engine.DetachedAt + "1", engine.WindowAt, engine.Blobs, engine.Blobs + "e/1", engine.After(engine.Blobs), engine.Pages, engine.Pages + "1",
		engine.After(engine.Pages), engine.After(engine.Reserved), engine.LastKey,
	} {
		in := slices.ContainsFunc(reservedKeys, func(s stretch) bool { return s.from <= key && key < s.to })
		if in != engine.Stays(key) {
			t.Errorf("%q is in a stretch: %v; it stays: %v", key, in, engine.Stays(key))
		}
	}
}

// A purge that ran out of time began again with the first entry, so that a long list was never at an end.
func TestAPurgeGoesOnWhereTheLastOneEnded(t *testing.T) {
	store := newTwin()
	o, err := claim(store, nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 40 {
		o.write(fmt.Sprintf("%03d", n%7), strings.Repeat("x", 400))
		if err := errors.Join(o.commitAll(false), o.merge()); err != nil {
			t.Fatal(err)
		}
	}
	for o.job != nil {
		if err := errors.Join(o.merge(), o.commitAll(false)); err != nil {
			t.Fatal(err)
		}
	}
	before := len(o.state.Doomed(o.now, 0))
	if before < 10 {
		t.Fatalf("%d spans wait", before)
	}
	store.calls = 3
	if err := o.purge(0); err == nil {
		t.Fatal("the store has not failed")
	}
	store.calls, store.gone = -1, false
	if after := len(o.state.Doomed(o.now, 0)); after != before-3 {
		t.Errorf("%d of %d spans wait after three calls", after, before)
	}
}
