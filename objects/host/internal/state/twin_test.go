package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/objects/internal/engine"
)

var inProduction = sizes

// In tests small states have many parts. The heaps are small, and much is dropped.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400)
	sizes.small, sizes.journal, sizes.whole = 512, 256, 4<<10
	sizes.chunk, sizes.blob = 1<<10, 300
	sizes.log, sizes.pin = 300, 2<<10
	sizes.smallRun, sizes.runs, sizes.firstLevel, sizes.merge, sizes.garbage = 600, 4<<10, 4<<10, 4<<10, 16<<10
	os.Exit(m.Run())
}

const object = "table.1"

var errCrash = errors.New("the owner has died")

// twin is a bucket in memory: one record, and entries. It ends an owner after a number of
// calls: the last one is done or not, and later ones fail.
type twin struct {
	mu      sync.Mutex
	entries map[Name][]byte
	record  kept
	calls   int  // how many more there are; negative: any number
	effect  bool // the last one is done
	gone    bool
	asked   int // reads of entries
	read    int // bytes of those
}

// kept is a record as it is put.
type kept struct {
	revision uint64
	commit   uint64
	owned    bool
	head     []byte // JSON; nil: none
	journal  map[string]string
}

func newTwin() *twin { return &twin{entries: make(map[Name][]byte), calls: -1} }

// call does one thing, or not.
func (t *twin) call(do func()) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone {
		return errCrash
	}
	if t.calls == 0 {
		if t.gone = true; t.effect {
			do()
		}
		return errCrash
	}
	t.calls--
	do()
	return nil
}

func (t *twin) PutEntry(_ context.Context, of string, name Name, data []byte) error {
	return t.call(func() {
		if of != object {
			panic("an entry of another object: " + of)
		}
		if old, there := t.entries[name]; there && string(old) != string(data) {
			panic(fmt.Sprintf("the name %s was given twice", name))
		}
		t.entries[name] = data
	})
}

func (t *twin) GetEntry(_ context.Context, _ string, name Name) (data []byte, err error) {
	crashed := t.call(func() {
		t.asked++
		var there bool
		if data, there = t.entries[name]; !there {
			err = ErrMissing
		}
		t.read += len(data)
	})
	return data, errors.Join(crashed, err)
}

func (t *twin) ListEntries(context.Context, string) (names []Name, err error) {
	err = t.call(func() { names = slices.SortedFunc(maps.Keys(t.entries), Name.compare) })
	return names, err
}

func (t *twin) PurgeEntry(_ context.Context, _ string, name Name) error {
	return t.call(func() { delete(t.entries, name) })
}

// kept returns the record's head, and its journal.
func (t *twin) kept() (*Head, *engine.Data) {
	data := new(engine.Data)
	for _, key := range slices.Sorted(maps.Keys(t.record.journal)) {
		data.Apply([]engine.Write{{Key: key, Value: []byte(t.record.journal[key])}})
	}
	if t.record.head == nil {
		return nil, data
	}
	head := new(Head)
	if err := json.Unmarshal(t.record.head, head); err != nil {
		panic(err)
	}
	if err := head.Check(); err != nil {
		panic(err)
	}
	return head, data
}

// put puts the record.
func (t *twin) put(head *Head, journal *engine.Data, commit uint64, owned bool) error {
	r := kept{commit: commit, owned: owned, journal: make(map[string]string)}
	if head != nil {
		r.head = head.AppendJSON(nil)
	}
	for key, value := range journal.All() {
		r.journal[key] = string(value)
	}
	return t.call(func() {
		r.revision = t.record.revision + 1
		t.record = r
	})
}

// owner is one life of the object at a host.
type owner struct {
	twin   *twin
	home   Home
	state  *State
	token  uint64
	commit uint64
	now    time.Time
	before *Before // of the put under way
	head   *Head
	job    *Job
	put    map[string]string // what the put under way carries
	acked  map[string]string
	memory map[string]string // what events see
	wide   bool

	keep  time.Duration // of the history; 0: none
	marks []moment      // that the put under way carries
	past  []moment      // that have landed
}

// moment is a state of the past.
type moment struct {
	at  Moment
	all map[string]string
}

// claim begins a life over whatever the twin has.
func claim(t *twin, cache *Cache) (*owner, error) { return claimAt(t, cache, 0, time.Unix(1e9, 0)) }

// claimAt is claim at a time, for an owner that keeps the past.
func claimAt(t *twin, cache *Cache, keep time.Duration, now time.Time) (*owner, error) {
	o := &owner{keep: keep, twin: t, home: Home{t, cache}, commit: t.record.commit + 1, now: now, wide: true}
	head, data := t.kept()
	state, err := Open(context.Background(), object, head, data, o.home, t.record.owned, o.now)
	if err != nil {
		return nil, err
	}
	if err := t.put(head, data, o.commit, true); err != nil {
		return nil, err
	}
	state.KeepHistory(keep)
	o.state, o.token = state, t.record.revision
	o.memory, err = o.read()
	o.acked = maps.Clone(o.memory)
	return o, err
}

// read returns all that the state has.
func (o *owner) read() (map[string]string, error) { return readAll(o.state) }

// readAll returns all that a state has.
func readAll(s *State) (map[string]string, error) {
	all := make(map[string]string)
	for scan := s.Scan(context.Background(), "", "\xff", false); ; {
		w, ok, err := scan.Next()
		if !ok {
			return all, err
		}
		all[w.Key] = string(w.Value)
	}
}

func (o *owner) write(key, value string) {
	w := engine.Write{Key: key}
	if value != "" {
		w.Value = []byte(value)
		o.memory[key] = value
	} else {
		delete(o.memory, key)
	}
	o.state.Apply([]engine.Write{w})
}

// writeSome writes and deletes a few keys of four hundred.
func (o *owner) writeSome(rng *rand.Rand) {
	for range rng.IntN(6) {
		size := 1 + rng.IntN(60)
		if rng.IntN(10) == 0 {
			size = 250 + rng.IntN(3000)
		}
		if o.write(fmt.Sprintf("%04d", rng.IntN(400)), strings.Repeat("x", size)); rng.IntN(5) == 0 {
			o.write(fmt.Sprintf("%04d", rng.IntN(400)), "")
		}
	}
}

// cut decides on a put.
func (o *owner) cut(last bool) {
	o.commit++
	o.head, o.before = o.state.Cut(Put{Object: object, Token: o.token, Commit: o.commit, Wide: func() bool { return o.wide }, Last: last, Now: o.now}, o.home)
	o.put = maps.Clone(o.memory)
	if past := o.state.Past(); past != nil {
		o.marks = append(o.marks, moment{past.Last, o.put})
	}
}

// send does the put that was decided on.
func (o *owner) send(journal *engine.Data, last bool) error {
	if o.before != nil {
		if err := o.before.Do(context.Background()); err != nil {
			return err
		}
	}
	if err := o.twin.put(o.head, journal, o.commit, !last); err != nil {
		return err
	}
	o.acked = o.put
	o.past, o.marks = append(o.past, o.marks...), nil
	o.now = o.now.Add(time.Second)
	o.state.Landed(o.commit, o.now)
	return nil
}

func (o *owner) commitAll(last bool) error {
	o.cut(last)
	return o.send(o.state.Journal(), last)
}

// merge begins a merge, or ends the one under way.
func (o *owner) merge() error {
	if o.job == nil {
		o.job = o.state.Plan(object, o.token, o.home)
		return nil
	}
	j := o.job
	o.job = nil
	if err := j.Run(context.Background()); err != nil {
		o.state.Abandon(j)
		return err
	}
	o.state.Install(j)
	return nil
}

func (o *owner) purge(after time.Duration) error {
	n, err := Purge(context.Background(), object, o.home, o.state.Doomed(o.now, after))
	if n > 0 {
		o.state.Purged(n)
	}
	return err
}

// named returns all entries that the state names.
func (s *State) named() (map[Name]bool, error) {
	v, all := s.view.Load(), make(map[Name]bool)
	add := func(span Span) { namesOf(all, []Span{span}) }
	for _, r := range slices.Concat(slices.Concat(v.levels...), v.runs) {
		add(r.span())
		c, err := v.source.load(context.Background(), r)
		if err != nil {
			return nil, err
		}
		for i := range c.n {
			if it := c.item(i); it.kind == apart {
				b, err := parseBlob(it.value)
				if err != nil {
					return nil, err
				}
				add(b.Span)
			}
		}
	}
	if s.more != nil && s.more.manifest != nil {
		add(s.more.manifest.Span)
	}
	return all, nil
}

// calm merges and purges until there is nothing left to do.
func (o *owner) calm() error {
	for range 1000 {
		if err := o.commitAll(false); err != nil {
			return err
		}
		if err := o.purge(0); err != nil {
			return err
		}
		if o.job = o.state.Plan(object, o.token, o.home); o.job == nil {
			return nil
		}
		if err := o.merge(); err != nil {
			return err
		}
	}
	return errors.New("merges have no end")
}
