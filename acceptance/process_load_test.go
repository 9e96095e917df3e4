//go:build unix

package acceptance

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// load is people who claim tickets without a pause, each at one counter through
// one gateway, until they are told to stop or a claim of theirs fails.
type load struct {
	t        testing.TB
	counters []string
	stood    map[string]int // what a counter stood at before; 0 if it is new
	stop     atomic.Bool
	people   sync.WaitGroup

	mu     sync.Mutex // guards what follows
	got    []claimed
	failed map[string][]error // by counter: claims that got no ticket, and may or may not have counted
}

// claimed is a ticket that somebody got.
type claimed struct {
	counter, gateway string
	ticket           int
	owner, epoch     string
	at               time.Time // of the answer
}

func newLoad(t testing.TB, counters ...string) *load {
	return &load{t: t, counters: counters, stood: make(map[string]int), failed: make(map[string][]error)}
}

// start starts so many people.
func (l *load) start(people int, gateways ...*door) {
	l.stop.Store(false)
	for i := range people {
		l.people.Go(func() {
			for !l.stop.Load() && l.claim(gateways[i%len(gateways)].url, l.counters[i%len(l.counters)]) == nil {
			}
		})
	}
}

func (l *load) claim(gateway, counter string) error {
	n, header, err := claim(gateway, counter)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.failed[counter] = append(l.failed[counter], err)
		return err
	}
	l.got = append(l.got, claimed{counter, gateway, n, header.Get("Holdfast-Owner"), header.Get("Holdfast-Epoch"), time.Now()})
	return nil
}

// finish tells all to stop and waits until they have.
func (l *load) finish() {
	l.stop.Store(true)
	l.people.Wait()
}

// nothingInDoubt takes the claims that failed for ones that did not happen.
func (l *load) nothingInDoubt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.failed)
}

// inDoubt returns the number of claims that got no ticket.
func (l *load) inDoubt() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, errs := range l.failed {
		n += len(errs)
	}
	return n
}

// all returns the tickets so far.
func (l *load) all() []claimed {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.got)
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.got)
}

// goesOn waits for so many more tickets.
func (l *load) goesOn(more int) {
	l.t.Helper()
	enough := l.count() + more
	await(l.t, fmt.Sprintf("%d more claims are answered", more), func() bool { return l.count() >= enough })
}

// reaches waits until an owner, from now on, has answered for every counter through every gateway.
func (l *load) reaches(owner string, gateways ...*door) {
	l.t.Helper()
	before := l.count()
	await(l.t, "every counter is answered by "+owner, func() bool {
		type way struct{ counter, gateway string }
		seen := make(map[way]bool)
		for _, c := range l.all()[before:] {
			if c.owner == owner {
				seen[way{c.counter, c.gateway}] = true
			}
		}
		return len(seen) == len(l.counters)*len(gateways)
	})
}

// gap returns the time until an owner answered for the last of the counters.
func (l *load) gap(since time.Time, owner string) (worst time.Duration) {
	first := make(map[string]time.Time)
	for _, c := range l.all() { // in order of time
		if _, seen := first[c.counter]; c.owner == owner && c.at.After(since) && !seen {
			first[c.counter] = c.at
			worst = max(worst, c.at.Sub(since))
		}
	}
	return worst
}

// neverFailed checks that every claim so far got its ticket.
func (l *load) neverFailed() {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for counter, errs := range l.failed {
		l.t.Errorf("%s: %d claims got no ticket, the first: %v", counter, len(errs), errs[0])
	}
}

// addsUp checks that no acknowledged ticket was lost and none given twice: of each counter
// all tickets differ, and it stands where they say. Only claims that failed leave
// room, as many as they are.
func (l *load) addsUp(gateway *door) {
	l.t.Helper()
	tickets := make(map[string][]int)
	for _, c := range l.all() {
		tickets[c.counter] = append(tickets[c.counter], c.ticket)
	}
	for _, counter := range l.counters {
		stands, before, all := peek(l.t, gateway, counter), l.stood[counter], tickets[counter]
		if len(all) == 0 {
			l.t.Fatalf("%s gave no ticket: nothing was shown", counter)
		}
		if n := distinct(all); n != len(all) {
			l.t.Errorf("%s: %d tickets, only %d different ones", counter, len(all), n)
		}
		if first := slices.Min(all); first <= before {
			l.t.Errorf("%s gave %d again: it had stood at %d", counter, first, before)
		}
		most := before + len(all) + len(l.failed[counter])
		if last := slices.Max(all); stands < last || stands < before+len(all) || stands > most {
			l.t.Errorf("%s stands at %d after %d; since then %d tickets up to %d, and %d claims that failed",
				counter, stands, before, len(all), last, len(l.failed[counter]))
		}
	}
}

// hasOwners wants each counter to have had these owners, one after the other, and no other. An epoch has one owner, and
// its tickets are above all those of the epoch before. A machine that stands still may cost an owner an epoch.
func (l *load) hasOwners(owners ...string) {
	l.t.Helper()
	byEpoch := make(map[string]map[uint64][]claimed)
	for _, c := range l.all() {
		epoch, err := strconv.ParseUint(c.epoch, 10, 64)
		if err != nil || epoch < 1 {
			l.t.Fatalf("%s: ticket %d in epoch %q", c.counter, c.ticket, c.epoch)
		}
		if byEpoch[c.counter] == nil {
			byEpoch[c.counter] = make(map[uint64][]claimed)
		}
		byEpoch[c.counter][epoch] = append(byEpoch[c.counter][epoch], c)
	}
	for _, counter := range l.counters {
		var had []string
		last := 0
		for _, epoch := range slices.Sorted(maps.Keys(byEpoch[counter])) {
			all := byEpoch[counter][epoch]
			had = append(had, all[0].owner)
			before := last
			for _, c := range all {
				if c.owner != all[0].owner {
					l.t.Fatalf("%s: epoch %d has the owners %s and %s", counter, epoch, all[0].owner, c.owner)
				}
				if c.ticket <= before {
					l.t.Fatalf("%s: ticket %d of epoch %d is not above %d, given in an epoch before", counter, c.ticket, epoch, before)
				}
				last = max(last, c.ticket)
			}
		}
		if had = slices.Compact(had); !slices.Equal(had, owners) {
			l.t.Errorf("%s had the owners %q, want %q", counter, had, owners)
		}
	}
}

func peek(t testing.TB, gateway *door, counter string) (n int) {
	t.Helper()
	status, _, body := request(t, "GET", gateway.url+"/ticket/"+counter, "")
	if _, err := fmt.Sscanf(body, `{"ticket":%d}`, &n); err != nil || status != 200 {
		t.Fatalf("peek %s: status %d, body %s", counter, status, body)
	}
	return n
}
