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

const month = 30 * 24 * time.Hour

// mark returns a moment within what the next put carries.
func (o *owner) mark() Moment {
	at := o.state.Mark(o.now, func() bool { return o.wide })
	o.marks = append(o.marks, moment{at, maps.Clone(o.memory)})
	return at
}

// restore does what a host does to put the object back, and returns the moment that undoes it.
func (o *owner) restore(to moment) (undo moment, err error) {
	for o.job != nil {
		if err := o.merge(); err != nil {
			return undo, err
		}
	}
	o.state.Settle()
	defer o.state.Unsettle()
	if err := o.commitAll(false); err != nil {
		return undo, err
	}
	undo = moment{o.state.Past().Last, maps.Clone(o.memory)}
	t, err := Prepare(context.Background(), object, o.state.Past(), o.home, to.at, o.now)
	if err != nil || t == nil {
		return undo, err
	}
	if err := o.state.Compare(context.Background(), t, o.state.HasApart()); err != nil {
		return undo, err
	}
	o.state.Restore(t, o.token, o.now)
	for key := range o.memory {
		if !engine.Stays(key) {
			delete(o.memory, key)
		}
	}
	for key, value := range to.all {
		if !engine.Stays(key) {
			o.memory[key] = value
		}
	}
	return undo, o.commitAll(false)
}

// must fails the test over an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// expire lets go of what is too old.
func (o *owner) expire() (bool, error) {
	e := o.state.PlanExpiry(object, o.home, o.now)
	if e == nil {
		return false, nil
	}
	err := e.Run(context.Background())
	o.state.InstallExpiry(e, err)
	return true, err
}

// quiet merges, expires and purges until there is nothing left to do.
func (o *owner) quiet() error {
	for range 1000 {
		if err := o.calm(); err != nil {
			return err
		}
		if more, err := o.expire(); err != nil || !more {
			return err
		}
	}
	return errors.New("there is no end")
}

// at returns the state at a moment, as somebody reads it who is not the owner.
func (t *twin) at(at Moment, now time.Time) (map[string]string, error) {
	head, data := t.kept()
	s, err := OpenAt(context.Background(), object, head, data, Home{Store: t}, at, now)
	if err != nil {
		return nil, err
	}
	return readAll(s)
}

// authors returns what is not the runtime's.
func authors(all map[string]string) map[string]string {
	own := make(map[string]string)
	for key, value := range all {
		if !engine.Stays(key) {
			own[key] = value
		}
	}
	return own
}

// knownOf returns the moments that are known still: of others nothing was ever stored, or they have expired.
func knownOf(store *twin, past []moment) []moment {
	head, _ := store.kept()
	from, _, ok := head.Reach()
	return slices.DeleteFunc(slices.Clone(past), func(m moment) bool { return !ok || m.at < from })
}

// checkPast makes sure that moments are as they were.
func checkPast(t interface{ Fatalf(string, ...any) }, store *twin, past []moment, now time.Time) (seen int) {
	for _, m := range knownOf(store, past) {
		seen++
		got, err := store.at(m.at, now)
		if err != nil {
			t.Fatalf("the state at %s: %v", m.at.Text(), err)
		}
		if want := authors(m.all); !maps.Equal(authors(got), want) {
			t.Fatalf("the state at %s has %d keys, want %d: %v, want %v", m.at.Text(), len(authors(got)), len(want), slices.Sorted(maps.Keys(authors(got))), slices.Sorted(maps.Keys(want)))
		}
	}
	return seen
}

// pastNames returns what the past of an object names: what it needs, and all that it keeps.
func (o *owner) pastNames(t interface{ Fatalf(string, ...any) }) (needs, keeps map[Name]bool) {
	needs, keeps = make(map[Name]bool), make(map[Name]bool)
	h := o.state.history
	if h == nil || !h.begun {
		return needs, keeps
	}
	ctx, src := context.Background(), &source{Home: Home{Store: o.twin}, object: object}
	logs := func(segments []Segment, after Moment, log []byte) {
		read, err := src.logs(ctx, segments, after)
		if err != nil {
			t.Fatalf("segments: %v", err)
		}
		last, err := decodeLog(log, 0)
		if err != nil {
			t.Fatalf("log: %v", err)
		}
		for _, s := range segments {
			namesOf(needs, []Span{s.all()})
		}
		for _, changes := range append(read, last) {
			for _, c := range changes {
				for _, it := range c.items {
					if b, err := parseBlob(it.value); it.kind == apart && err == nil {
						namesOf(needs, []Span{b.Span})
					}
				}
			}
		}
	}
	namesOf(keeps, h.Kept)
	for i, ref := range h.pins {
		namesOf(needs, []Span{ref.Entry.Span})
		pin, err := src.pin(ctx, ref)
		if err != nil {
			t.Fatalf("pin: %v", err)
		}
		if ref.At > h.From {
			begin := Moment(0)
			if i > 0 {
				begin = h.pins[i-1].At
			}
			logs(pin.Segments, begin, nil)
			namesOf(keeps, pin.Kept)
		}
		s, err := Open(ctx, object, &pin.Head, new(engine.Data), src.Home, false, o.now)
		if err != nil {
			t.Fatalf("open pin: %v", err)
		}
		named, err := s.named()
		if err != nil {
			t.Fatalf("pin: %v", err)
		}
		maps.Copy(needs, named)
	}
	begin := Moment(0)
	if h.Pin != nil {
		begin = h.Pin.At
	}
	logs(h.Since, begin, h.Log)
	return needs, keeps
}

// cleanPast is clean for an object with a past.
func cleanPast(t interface{ Fatalf(string, ...any) }, store *twin, o *owner) {
	named, err := o.state.named()
	if err != nil {
		t.Fatalf("%v", err)
	}
	needs, keeps := o.pastNames(t)
	for name := range store.entries {
		if !named[name] && !needs[name] && !keeps[name] {
			t.Fatalf("%s (%c) is in the store, and nobody names it", name, store.entries[name][0])
		}
	}
	for _, all := range []map[Name]bool{named, needs} {
		for name := range all {
			if store.entries[name] == nil {
				t.Fatalf("%s is named, and not in the store", name)
			}
		}
	}
}

// Whatever is written, cut, merged, purged, expired, restored and opened again, the state at every moment that is known
// reads as it was then, and the store has what the head and its past name.
func TestTheStateAtEveryMomentReadsAsItWas(t *testing.T) {
	pins, restores, seen := 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		store, now := newTwin(), time.Unix(1e9, 0)
		o, err := claimAt(store, NewCache(2<<10), month, now)
		if err != nil {
			t.Fatal(err)
		}
		var past []moment
		step := func(what string, err error) {
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			past, o.past = append(past, o.past...), nil
		}
		known := func() []moment { return knownOf(store, past) }
		again := func(acked map[string]string) {
			now = o.now
			var err error
			o, err = claimAt(store, NewCache(2<<10), month, now)
			step("claim", err)
			if !maps.Equal(o.memory, acked) {
				t.Fatalf("%d keys after a claim, want %d", len(o.memory), len(acked))
			}
		}
		key := rapid.Custom(func(t *rapid.T) string {
			return fmt.Sprintf("%s/%03d", rapid.SampledFrom(letters).Draw(t, "letter"), rapid.IntRange(0, 60).Draw(t, "n"))
		})
		size := rapid.OneOf(rapid.IntRange(1, 60), rapid.IntRange(1, 60), rapid.IntRange(1, 60), rapid.IntRange(250, 4000))
		n := 0
		set := func(t *rapid.T) {
			for range rapid.IntRange(1, 12).Draw(t, "keys") {
				n++
				o.write(key.Draw(t, "key"), strings.Repeat(fmt.Sprint(n%10), size.Draw(t, "size")))
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"set": set,
			"set more": func(t *rapid.T) {
				set(t)
				step("commit", o.commitAll(false))
			},
			"delete": func(t *rapid.T) { o.write(key.Draw(t, "key"), "") },
			"delete a": func(t *rapid.T) {
				for k := range maps.Clone(o.memory) {
					if strings.HasPrefix(k, "a") {
						o.write(k, "")
					}
				}
			},
			"mark":   func(*rapid.T) { o.mark() },
			"commit": func(*rapid.T) { step("commit", o.commitAll(false)) },
			"merge":  func(*rapid.T) { step("merge", o.merge()) },
			"purge": func(t *rapid.T) {
				step("purge", o.purge(time.Duration(rapid.IntRange(0, 3).Draw(t, "after"))*time.Second))
			},
			"days pass": func(t *rapid.T) {
				o.now = o.now.Add(time.Duration(rapid.IntRange(1, 20).Draw(t, "days")) * 24 * time.Hour)
				for {
					more, err := o.expire()
					if step("expire", err); !more {
						break
					}
				}
				step("commit", o.commitAll(false))
			},
			"restore": func(t *rapid.T) {
				if len(known()) == 0 { // an author's first key begins the past
					o.write("a/000", "x")
					step("commit", o.commitAll(false))
				}
				restores++
				_, err := o.restore(rapid.SampledFrom(known()).Draw(t, "to"))
				step("restore", err)
				same(t, o)
			},
			"claim again": func(*rapid.T) { again(o.acked) },
			"release": func(*rapid.T) {
				if o.job != nil {
					step("merge", o.merge())
				}
				step("commit", o.commitAll(false))
				step("release", o.commitAll(true))
				again(o.acked)
			},
			"": func(t *rapid.T) {
				same(t, o)
				if len(past) > 0 {
					seen += checkPast(t, store, []moment{rapid.SampledFrom(past).Draw(t, "moment")}, o.now)
				}
			},
		})
		for o.job != nil {
			step("merge", o.merge())
		}
		o.write("fold", strings.Repeat("x", 600)) // the first entry is written after orphans are collected
		step("calm", o.quiet())
		same(t, o)
		seen += checkPast(t, store, past, o.now)
		cleanPast(t, store, o)
		pins += len(o.state.history.pins)

		o.now = o.now.Add(3 * month)
		o.state.KeepHistory(0)
		step("calm", o.quiet())
		step("calm", o.commitAll(false))
		step("calm", o.quiet())
		same(t, o)
		clean(t, store, o)
	})
	t.Logf("%d pins, %d restores, %d moments read", pins, restores, seen)
	if pins < 50 || restores < 50 || seen < 500 {
		t.Errorf("too little has happened for the silence to count")
	}
}

// An owner dies at any of its calls to the store, which is done or not, while it keeps the past, puts the object back, and
// lets go of what is too old. What was acknowledged is found, now and at every moment, and what the dead have left behind is
// collected.
func TestWhateverCallAnOwnerDiesAtTheObjectsPastIsFound(t *testing.T) {
	lives, restores, moments, expiries := 0, 0, 0, 0
	for seed := range uint64(25) {
		rng := rand.New(rand.NewPCG(seed, 2))
		store, now := newTwin(), time.Unix(1e9, 0)
		acked := map[string]string{}
		var past []moment
		var maybe map[string]string // what the put carried whose answer has not come
		var marks []moment          // and the moments
		for range 12 {
			lives++
			store.calls, store.effect, store.gone = rng.IntN(160), rng.IntN(2) == 0, false
			if rng.IntN(3) == 0 {
				store.calls = rng.IntN(8)
			}
			o, err := claimAt(store, NewCache(4<<10), month, now)
			for err == nil {
				if maybe != nil && maps.Equal(o.acked, maybe) && !maps.Equal(maybe, acked) {
					acked, past = maybe, append(past, marks...)
				}
				maybe, marks = nil, nil
				if !maps.Equal(o.acked, acked) {
					t.Fatalf("seed %d: %d keys are found, want %d", seed, len(o.acked), len(acked))
				}
				o.writeSome(rng)
				switch rng.IntN(10) {
				case 0, 1, 2:
					err = o.merge()
				case 3:
					err = o.purge(time.Duration(rng.IntN(4)) * time.Second)
				case 4:
					if o.now = o.now.Add(time.Duration(rng.IntN(60)) * 24 * time.Hour / 8); rng.IntN(2) == 0 {
						var more bool
						if more, err = o.expire(); more && err == nil {
							expiries++
						}
					}
				case 5:
					known := knownOf(store, past)
					if len(known) == 0 || rng.IntN(2) == 0 {
						break
					}
					_, err = o.restore(known[rng.IntN(len(known))])
					restores++
					maybe, marks = o.put, o.marks
					acked, past, o.past = o.acked, append(past, o.past...), nil
				default:
					o.cut(false)
					maybe, marks = o.put, o.marks
					err = o.send(o.state.Journal(), false)
				}
				if err == nil {
					acked, past, o.past, maybe, marks = o.acked, append(past, o.past...), nil, nil, nil
				}
				now = o.now
			}
		}
		store.calls, store.gone = -1, false
		o, err := claimAt(store, nil, month, now)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if !maps.Equal(o.acked, acked) && (maybe == nil || !maps.Equal(o.acked, maybe)) {
			t.Fatalf("seed %d: %d keys are found in the end, want %d", seed, len(o.acked), len(acked))
		}
		moments += checkPast(t, store, past, now)
		o.write("fold", strings.Repeat("x", 600)) // the first entry is written after orphans are collected
		if err := o.quiet(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		checkPast(t, store, past, now)
		cleanPast(t, store, o)
	}
	t.Logf("%d lives, %d restores, %d expiries, %d moments read", lives, restores, expiries, moments)
	if lives < 300 || restores < 100 || expiries < 20 || moments < 1000 {
		t.Errorf("too little has happened for the silence to count")
	}
}

// pin has the next put make a pin, if there is anything new.
func (o *owner) pin() error {
	o.state.Settle()
	defer o.state.Unsettle()
	return o.commitAll(false)
}

// A bookmark of an object that has had no author's keys, but many of the runtime's, is before the first of them, also if
// both come at the same time.
func TestABookmarkIsBeforeWhatIsWrittenAfterIt(t *testing.T) {
	store := newTwin()
	o, err := claimAt(store, NewCache(2<<10), month, time.Unix(1e9, 0))
	must(t, err)
	o.write(engine.Reserved+"o/001", strings.Repeat("x", 481)) // with the next, more than a record holds here
	o.write(engine.Reserved+"o/000", "22")
	if err := o.commitAll(false); err != nil {
		t.Fatal(err)
	}
	if o, err = claimAt(store, NewCache(2<<10), month, o.now); err != nil {
		t.Fatal(err)
	}
	before := o.mark()
	o.write("a/000", "x")
	if err := o.commitAll(false); err != nil {
		t.Fatal(err)
	}
	if last := o.state.Past().Last; last <= before {
		t.Errorf("the change is at %s, want it to be after the bookmark, %s", last.Text(), before.Text())
	}
}

// An entry of the past that was dropped after the last pin, and that a restore brings back, is the present's again: when
// that pin expires, the entry stays.
func TestWhatARestoreBringsBackIsNotPurgedWithThePast(t *testing.T) {
	store := newTwin()
	o, err := claimAt(store, NewCache(2<<10), month, time.Unix(1e9, 0))
	must(t, err)
	for n := range 20 {
		o.write(fmt.Sprintf("a/%03d", n), strings.Repeat("x", 200))
		must(t, o.commitAll(false))
	}
	must(t, o.pin())
	then := moment{o.state.Past().Last, maps.Clone(o.memory)}
	o.write("b", "later")
	must(t, o.commitAll(false))
	must(t, o.pin())
	for o.job = o.state.Plan(object, o.token, o.home); o.job != nil; o.job = o.state.Plan(object, o.token, o.home) {
		must(t, o.merge()) // it drops runs that both pins name
	}
	if len(o.state.Past().Kept) == 0 {
		t.Fatal("no merge has dropped what the past needs")
	}
	_, err = o.restore(then)
	must(t, err)
	for range 2 {
		o.now = o.now.Add(2 * month)
		o.write("c", o.now.String())
		must(t, o.commitAll(false))
		must(t, o.quiet())
	}
	got, err := o.read()
	must(t, err)
	if !maps.Equal(got, o.memory) {
		t.Fatalf("%d keys are read, want %d", len(got), len(o.memory))
	}
	cleanPast(t, store, o)
}

// An object was put back, the restore was undone, its host died, and the object was put back again: the head named dead
// entries twice, and no host could open the object any more.
func TestAnObjectIsPutBackAgainAfterARestoreWasUndone(t *testing.T) {
	store := newTwin()
	o, err := claimAt(store, NewCache(2<<10), month, time.Unix(1e9, 0))
	must(t, err)
	write := func(prefix string) {
		for n := range 20 {
			o.write(fmt.Sprintf("%s/%03d", prefix, n), strings.Repeat("x", 200))
			must(t, o.commitAll(false))
		}
		must(t, o.pin())
	}
	write("a")
	o.now = o.now.Add(month + time.Hour)
	write("b")
	o.now = o.now.Add(month + time.Hour)
	for more := true; more; {
		more, err = o.expire()
		must(t, err)
	}
	must(t, o.commitAll(false))
	dead := len(o.state.more.dead)
	then := moment{o.state.Past().Last, maps.Clone(o.memory)}
	write("c")
	for o.job = o.state.Plan(object, o.token, o.home); o.job != nil; o.job = o.state.Plan(object, o.token, o.home) {
		must(t, o.merge())
	}
	o.write("d", "after the merges") // the pin of the restore names what they have made
	must(t, o.commitAll(false))
	if dead == 0 || o.state.more.manifest == nil || !o.state.more.dead[0].manifest {
		t.Fatal("no manifest names dead entries")
	}
	undo, err := o.restore(then)
	must(t, err)
	_, err = o.restore(undo)
	must(t, err)
	o, err = claimAt(store, NewCache(2<<10), month, o.now)
	must(t, err)
	dead = len(o.state.more.dead)
	for _, to := range []moment{then, undo, then} {
		_, err = o.restore(to)
		must(t, err)
		o, err = claimAt(store, NewCache(2<<10), month, o.now)
		must(t, err)
		if !maps.Equal(o.memory, to.all) {
			t.Fatalf("%d keys after a restore, want %d", len(o.memory), len(to.all))
		}
		if n := len(o.state.more.dead); n != dead {
			t.Errorf("%d dead entries, want the %d from before", n, dead)
		}
	}
	must(t, o.quiet())
	cleanPast(t, store, o)
}

// noise makes values that cannot be compressed.
func noise() func(bytes int) string {
	random := rand.NewChaCha8([32]byte{1})
	return func(bytes int) string {
		b := make([]byte, bytes)
		_, _ = random.Read(b) // it never fails
		return string(b)
	}
}

// stored returns the bytes of all entries.
func (t *twin) stored() (n int) {
	for _, data := range t.entries {
		n += len(data)
	}
	return n
}

// useProductionSizes has the test run with the sizes that hosts have.
func useProductionSizes(t *testing.T) {
	small := sizes
	sizes = inProduction
	t.Cleanup(func() { sizes = small })
}

// All that is stored of an object with a history, its present among it, has at most twice the bytes that were written, and
// those of one state.
func TestAHistoryKeepsTwiceWhatWasWrittenAndOneStateAtMost(t *testing.T) {
	useProductionSizes(t)
	const state = 1 << 20
	value := noise()
	rng := rand.New(rand.NewPCG(1, 3))
	for name, c := range map[string]struct {
		keys, bytes, batch int
	}{
		"any of many rows":      {state / 110, 100, 300},
		"a few hot rows":        {20, 100, 20},
		"pages of a database":   {state / 4100, 4096, 3},
		"values that are apart": {12, 90_000, 1},
	} {
		t.Run(name, func(t *testing.T) {
			store := newTwin()
			o, err := claimAt(store, NewCache(4<<20), month, time.Unix(1e9, 0))
			must(t, err)
			written, worst := 0, 0.0
			write := func(n int) {
				key := fmt.Sprintf("row/%06d", n)
				o.write(key, value(c.bytes))
				written += len(key) + c.bytes
			}
			for n := range c.keys {
				if write(n); n%1000 == 999 {
					must(t, o.commitAll(false))
				}
			}
			must(t, o.quiet())
			for commit := 0; written < 6*state; commit++ {
				for range c.batch {
					write(rng.IntN(c.keys))
				}
				must(t, o.commitAll(false))
				must(t, o.merge())
				if o.past = nil; commit%20 != 0 {
					continue
				}
				if o.job != nil {
					must(t, o.merge())
				}
				must(t, o.quiet())
				stored := store.stored()
				if worst = max(worst, float64(stored-c.keys*(c.bytes+10))/float64(written)); stored > 2*written+c.keys*(c.bytes+10) {
					t.Errorf("%d bytes are stored of %d that were written, and a state of %d", stored, written, c.keys*(c.bytes+10))
				}
			}
			t.Logf("beyond one state, at most %.2f times what was written was stored; %d pins", worst, len(o.state.history.pins))
		})
	}
}

// Of a large object a moment is opened, and one key read as it was then, without reading all that has changed since the last
// pin; a restore writes names, and not what they name. What it names is read when it is asked for, by the next owner too.
func TestToOpenAMomentOrToRestoreItTakesNamesAndNotWhatTheyName(t *testing.T) {
	useProductionSizes(t)
	store, value := newTwin(), noise()
	o, err := claimAt(store, NewCache(64<<20), month, time.Unix(1e9, 0))
	must(t, err)
	const rows = 12_000
	for n := range rows {
		if o.write(fmt.Sprintf("row/%06d", n), value(100)); n%1000 == 999 {
			must(t, o.commitAll(false))
		}
	}
	must(t, o.quiet())
	must(t, o.pin())
	rng := rand.New(rand.NewPCG(1, 4))
	var past []moment
	for commit := range 30 {
		for range 400 {
			o.write(fmt.Sprintf("row/%06d", rng.IntN(rows)), value(100))
		}
		if must(t, o.commitAll(false)); commit%10 == 5 {
			past = append(past, o.past[len(o.past)-1])
		}
		must(t, o.merge())
		must(t, o.merge())
	}
	must(t, o.quiet())
	changed := 30 * 400 * 110
	for _, then := range past {
		head, data := store.kept()
		store.read = 0
		s, err := OpenAt(context.Background(), object, head, data, Home{Store: store}, then.at, o.now)
		must(t, err)
		key := fmt.Sprintf("row/%06d", rng.IntN(rows))
		got, err := s.Read(context.Background(), key)
		if must(t, err); string(got) != then.all[key] {
			t.Errorf("%s was %x, want %x", key, got, then.all[key])
		}
		if store.read > changed/2 {
			t.Errorf("%d bytes were read to open a moment; %d have changed", store.read, changed)
		}
	}

	stored := store.stored()
	store.read = 0
	undo, err := o.restore(past[2])
	must(t, err)
	if more := store.stored() - stored; store.read > changed/2 || more > changed/5 {
		t.Errorf("a restore has read %d bytes and written %d; %d have changed", store.read, more, changed)
	}
	for range 20 { // and serves on
		key := fmt.Sprintf("row/%06d", rng.IntN(rows))
		got, err := o.state.Read(context.Background(), key)
		if must(t, err); string(got) != o.memory[key] {
			t.Errorf("%s is %x, want %x", key, got, o.memory[key])
		}
	}
	memory := o.acked
	store.read = 0
	head, data := store.kept()
	next, err := Open(context.Background(), object, head, data, Home{Store: store}, true, o.now)
	must(t, err)
	if store.read > changed/2 {
		t.Errorf("a claim has read %d bytes; %d have changed", store.read, changed)
	}
	got, err := readAll(next)
	if must(t, err); !maps.Equal(got, memory) {
		t.Error("the next owner has something else")
	}
	if must(t, o.quiet()); o.state.Runs() != len(o.state.view.Load().runs) {
		t.Error("segments are there still after all merges")
	}
	_, err = o.restore(undo)
	must(t, err)
	got, err = o.read()
	if must(t, err); !maps.Equal(got, undo.all) {
		t.Error("the restore is not undone")
	}
	must(t, o.quiet())
	cleanPast(t, store, o)
}

// Whoever asks for one key of the past looks into the indices of all segments since the last pin. They are few entries: an owner writes
// every eighth with those before it, and the next owner begins anew.
func TestToReadAKeyOfThePastTakesFewEntriesOfIndices(t *testing.T) {
	useProductionSizes(t)
	store, value := newTwin(), noise()
	const each, commits = 1000, 60
	written := make([]string, 0, each*commits)
	var o *owner
	var past []moment
	for commit := range commits {
		if commit == 0 || commit == commits/2 { // the owner dies
			var err error
			o, err = claimAt(store, NewCache(64<<20), month, time.Unix(1e9+int64(commit), 0))
			must(t, err)
		}
		for range each {
			v := value(100)
			o.write(fmt.Sprintf("row/%06d", len(written)), v)
			written = append(written, v)
		}
		must(t, o.commitAll(false))
		past = append(past, o.past[len(o.past)-1])
		must(t, o.merge())
	}
	head, data := store.kept()
	segments := 0
	for _, s := range head.History.Since {
		if s.Indices > 0 {
			segments++
		}
	}
	if segments < 24 || head.History.Pin != nil {
		t.Fatalf("%d segments have indices, pin %+v; want many and none", segments, head.History.Pin)
	}
	for _, commit := range []int{commits - 2, commits / 2, commits/2 - 7, 20, 3} {
		store.asked = 0
		s, err := OpenAt(context.Background(), object, head, data, Home{Store: store}, past[commit].at, o.now)
		must(t, err)
		n := commit * each / 2
		got, err := s.Read(context.Background(), fmt.Sprintf("row/%06d", n))
		if must(t, err); string(got) != written[n] {
			t.Errorf("row %d after commit %d is %x, want %x", n, commit, got, written[n])
		}
		if store.asked > 20 {
			t.Errorf("%d entries were read for one key as it was after commit %d", store.asked, commit)
		}
	}
}

func TestAnEntryOfIndicesIsReadAsItWasWrittenAndNothingElseIs(t *testing.T) {
	all := []index{{Name{7, 3, 0}, []byte("\x00\x00\x00\x01\x00\x00\x00\x02")}, {Name{9, 300, 1}, []byte("abcd")}}
	good := encodeIndices(all)
	if got, err := decodeIndices(good); err != nil || !slices.EqualFunc(got, all, func(a, b index) bool { return a.segment == b.segment && string(a.sums) == string(b.sums) }) {
		t.Errorf("%+v is read as %+v, %v", all, got, err)
	}
	for n := range good {
		if got, err := decodeIndices(good[:n]); err == nil {
			t.Errorf("the first %d bytes are read as %+v", n, got)
		}
	}
	for what, data := range map[string][]byte{
		"more bytes than it has":   append(slices.Clone(good), 0),
		"no index":                 {0},
		"more indices than may be": encodeIndices(slices.Repeat(all, manyIndices)),
		"a segment without a name": {1, 0, 0, 0, 0},
		"sums beyond the end":      {1, 7, 3, 0, 200, 1, 0, 0, 0, 0},
	} {
		if got, err := decodeIndices(data); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: read as %+v, %v", what, got, err)
		}
	}
}

func TestASegmentIsReadAsItWasWrittenAndNothingElseIs(t *testing.T) {
	for _, s := range []Segment{
		{Extent: Extent{Span{Name{7, 3, 0}, 1}, 12}},
		{Extent: Extent{Span{Name{7, 3, 0}, 1}, 12}, Last: 5},
		{Extent: Extent{Span{Name{7, 3, 2}, 2}, 1200}, Last: 5, Indices: 1},
		{Extent: Extent{Span{Name{7, 3, 2}, 2}, 1200}, Last: 5, Apart: true},
		{Extent: Extent{Span{Name{7, 3, 2}, 2}, 1200}, Last: 5, Indices: 8, Apart: true},
	} {
		text, _ := s.MarshalText()
		var got Segment
		if err := got.UnmarshalText(text); err != nil || got != s {
			t.Errorf("%s is read as %+v, %v", text, got, err)
		}
	}
	good, _ := Segment{Extent: Extent{Span{Name{7, 3, 2}, 2}, 1200}}.MarshalText()
	for _, end := range []string{"@", "@0", "@-5", "@05", "@k", "@k1", "@5k", "@5k0", "@5k01", "@5k9", "@5k-1", "@5ak1", "@5k1k1", "@5x", "@5@5", "k"} {
		var got Segment
		if err := got.UnmarshalText(append(slices.Clone(good), end...)); err == nil {
			t.Errorf("%s%s is read as %+v", good, end, got)
		}
	}
	for name, run := range map[string]Run{
		"a chunk with an index":   {Extent: Extent{Span{Name{7, 3, 0}, 1}, 12}, Indices: 1},
		"a segment of the future": {Extent: Extent{Span{Name{7, 9, 0}, 1}, 12}, Last: 5},
		"a segment of more parts": {Extent: Extent{Span{Name{7, 3, 0}, 2}, 12}, Last: 5},
	} {
		if h := (Head{Next: 5, Runs: []Run{run}}); h.Check() == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
