package tells

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast/objects/internal/engine"
)

// Limits of an outbox.
const (
	MaxBatch     = 256       // messages
	MaxBatchSize = 256 << 10 // bytes; one message may be larger
	MaxReceivers = 64        // that one object sends to at a time
	MaxParked    = 64        // beyond it none is parked: it is tried again and again
	MaxFailures  = 6         // of a message's handler; the next one parks it
)

// Times of an outbox.
const (
	firstBackOff = 50 * time.Millisecond // doubled each time that the receiver is not reached
	maxBackOff   = 5 * time.Minute
	firstRetry   = 2 * time.Second // after a failure of the handler; doubled, with up to a quarter of jitter

	RemoveAfter = 250 * time.Millisecond // how long the removal of what was handled waits for a commit to ride on
	WakeAfter   = 30 * time.Second       // when an object is woken whose outbox is not empty, if its owner dies
)

// Outbox is an object's told messages and their delivery. It is not safe for concurrent use.
//
// Every write of a reserved key has to be noted (Note), and every commit that has landed (Landed).
type Outbox struct {
	self      string
	landed    uint64 // the last commit that is durable
	receivers map[string]*peer
	place     map[uint64]*peer // of each message to others that is due
	sending   int              // receivers with a batch under way
	ready     []*peer          // whose next batch may leave, first come, first served
	waiting   []*peer          // whose next batch may leave at a time
	unlanded  []*peer          // whose next batch may leave when a commit has landed
	done      []*peer          // whose messages were all removed; Forget must be sent
	chores    []chore
	parking   []chore // messages to park

	own    queue             // to the object itself, at once
	ownAt  map[string]uint64 // their numbers, by storage key
	timers timers
	parked []parkedAt // by number
}

// peer is another object, with the messages to it.
type peer struct {
	key, name string
	near      string
	queue     queue
	sent      int    // the first of the queue that are under way; 0: none
	try       uint64 // of the last batch
	window    int    // messages in the next batch, at most; 0: MaxBatch
	missed    int    // times in a row that it was not reached
	next      time.Time
	hold      uint64 // nothing is sent before this commit has landed
	last      uint64 // the highest number that it has handled, 0: none
	removed   uint64 // the commit that removes what it has handled
	removing  int    // chores that are not part of a commit yet

	isReady, isWaiting, isUnlanded, isDone bool
}

// item is one message in a queue.
type item struct {
	n     uint64
	key   string // where it is kept; "": OutboxKey
	need  uint64 // the commit that it is part of
	due   time.Time
	tries int
	size  int
	park  bool // the message must be parked, and is not sent any more
}

// queue is messages by number.
type queue []item

func (q queue) find(n uint64) (int, bool) {
	if len(q) > 0 && q[len(q)-1].n < n {
		return len(q), false // mostly
	}
	return slices.BinarySearchFunc(q, n, func(i item, n uint64) int { return cmp.Compare(i.n, n) })
}

func (q *queue) put(i item) {
	at, found := q.find(i.n)
	if found {
		i.need, i.park = (*q)[at].need, (*q)[at].park // a sent message has landed before
		(*q)[at] = i
		return
	}
	*q = slices.Insert(*q, at, i)
}

func (q *queue) remove(n uint64) {
	switch at, found := q.find(n); {
	case !found:
	case at == 0:
		if *q = (*q)[1:]; len(*q) == 0 {
			*q = nil
		}
	default:
		*q = slices.Delete(*q, at, at+1)
	}
}

// chore is a change of the outbox that must be written.
type chore struct {
	n  uint64
	to *peer

	retry time.Time // zero: the message was handled; remove it
	tries int
	err   *engine.Failure
}

// parkedAt is a parked message.
type parkedAt struct {
	n   uint64
	due time.Time // when Undelivered is tried again; zero: never
}

// New returns an empty outbox of the object with this key.
func New(self string) *Outbox {
	return &Outbox{self: self, receivers: make(map[string]*peer), place: make(map[uint64]*peer), ownAt: make(map[string]uint64)}
}

// Reserved reports whether writes of a key must be noted (Note).
func Reserved(key string) bool {
	return strings.HasPrefix(key, engine.OutboxAt) || strings.HasPrefix(key, engine.TimersAt) || strings.HasPrefix(key, engine.ParkedAt)
}

// Note notes a write, which is part of this commit; 0 for entries that are stored when the object is claimed. It
// returns an error, and ignores the write, if the value cannot be read.
func (o *Outbox) Note(w engine.Write, commit uint64) error {
	var m engine.Told
	if w.Value != nil && Reserved(w.Key) {
		var err error
		if m, err = engine.DecodeTold(w.Value); err != nil {
			return err
		}
	}
	switch {
	case strings.HasPrefix(w.Key, engine.OutboxAt):
		n, err := strconv.ParseUint(w.Key[len(engine.OutboxAt):], 16, 64)
		if err != nil {
			return err
		}
		o.noteOutbox(n, w.Value, m, commit)
	case strings.HasPrefix(w.Key, engine.TimersAt):
		o.noteTimer(w, m)
	case strings.HasPrefix(w.Key, engine.ParkedAt):
		n, err := strconv.ParseUint(w.Key[len(engine.ParkedAt):], 16, 64)
		if err != nil {
			return err
		}
		at, found := slices.BinarySearchFunc(o.parked, n, func(p parkedAt, n uint64) int { return cmp.Compare(p.n, n) })
		switch {
		case w.Value == nil && found:
			o.parked = slices.Delete(o.parked, at, at+1)
		case w.Value != nil && found:
			o.parked[at].due = m.Due
		case w.Value != nil:
			o.parked = slices.Insert(o.parked, at, parkedAt{n, m.Due})
		}
	}
	return nil
}

func (o *Outbox) noteOutbox(n uint64, value []byte, m engine.Told, commit uint64) {
	if value == nil {
		r := o.place[n]
		if r == nil {
			return // what was handled has been taken out before
		}
		delete(o.place, n)
		r.queue.remove(n)
		r.hold = max(r.hold, commit) // parked or dropped: before that is durable, nothing may overtake it
		o.look(r)
		return
	}
	r := o.receivers[m.To]
	if r == nil {
		r = &peer{key: m.To}
		o.receivers[m.To] = r
	}
	if m.Name != "" {
		r.name = m.Name
	}
	if m.Near != "" {
		r.near = m.Near
	}
	o.place[n] = r
	r.queue.put(item{n: n, need: commit, due: m.Due, tries: m.Tries, size: len(value)})
	o.look(r)
}

func (o *Outbox) noteTimer(w engine.Write, m engine.Told) {
	if n, ok := o.ownAt[w.Key]; ok {
		delete(o.ownAt, w.Key)
		o.own.remove(n)
	}
	o.timers.remove(w.Key)
	switch {
	case w.Value == nil:
	case m.At.IsZero():
		o.ownAt[w.Key] = m.N
		o.own.put(item{n: m.N, key: w.Key, due: m.Due, tries: m.Tries})
	default:
		o.timers.put(timer{at: m.When(), n: m.N, key: w.Key})
	}
}

// Len returns how many messages are under way, without parked ones.
func (o *Outbox) Len() int { return len(o.place) + len(o.own) + o.timers.len() }

// Sending returns how many messages to others are due.
func (o *Outbox) Sending() int { return len(o.place) }

// Timers returns how many messages are not due, or are to the object itself.
func (o *Outbox) Timers() int { return len(o.own) + o.timers.len() }

// Parked returns how many messages are parked.
func (o *Outbox) Parked() int { return len(o.parked) }

// Busy reports whether a message is due, or a change must be written: the object must not be released.
func (o *Outbox) Busy() bool {
	return len(o.place) > 0 || len(o.own) > 0 || o.sending > 0 || len(o.chores) > 0 || len(o.parking) > 0
}

// Landed notes that this commit, and all before it, are durable.
func (o *Outbox) Landed(commit uint64) {
	o.landed = max(o.landed, commit)
	all := o.unlanded
	o.unlanded = nil
	for _, r := range all {
		r.isUnlanded = false
		o.look(r)
	}
}

// look finds the next step for a receiver, and puts it into the list for that step.
func (o *Outbox) look(r *peer) {
	switch {
	case r.sent > 0: // the answer has not come
	case r.hold > o.landed:
		o.afterCommit(r)
	case len(r.queue) == 0 && r.removing > 0: // the removal must be written
	case len(r.queue) == 0 && r.removed > o.landed:
		o.afterCommit(r)
	case len(r.queue) == 0:
		if !r.isDone {
			r.isDone = true
			o.done = append(o.done, r)
		}
	case r.queue[0].park: // the parking must be written
	case r.queue[0].need > o.landed:
		o.afterCommit(r)
	case !r.at().IsZero():
		if !r.isWaiting {
			r.isWaiting = true
			o.waiting = append(o.waiting, r)
		}
	case !r.isReady:
		r.isReady = true
		o.ready = append(o.ready, r)
	}
}

func (o *Outbox) afterCommit(r *peer) {
	if !r.isUnlanded {
		r.isUnlanded = true
		o.unlanded = append(o.unlanded, r)
	}
}

// at returns when the receiver's next batch may leave; zero: at once.
func (r *peer) at() time.Time {
	if due := r.queue[0].due; due.After(r.next) {
		return due
	}
	return r.next
}

// Batch is messages to one receiver.
type Batch struct {
	To, Name string
	Near     string // of the last message that has a region
	Try      uint64
	Numbers  []uint64 // of the messages, which are kept under their OutboxKeys
}

// Take returns the next batch that may leave, and false if there is none now.
func (o *Outbox) Take(now time.Time) (Batch, bool) {
	o.tick(now)
	for len(o.ready) > 0 && o.sending < MaxReceivers {
		r := o.ready[0]
		o.ready[0] = nil
		o.ready = o.ready[1:]
		r.isReady = false
		if !o.maySend(r, now) {
			o.look(r)
			continue
		}
		b := Batch{To: r.key, Name: r.name, Near: r.near}
		size := 0
		for _, i := range r.queue {
			most := cmp.Or(r.window, MaxBatch)
			size += i.size
			if len(b.Numbers) == most || len(b.Numbers) > 0 && size > MaxBatchSize || i.need > o.landed || i.due.After(now) || i.park {
				break
			}
			b.Numbers = append(b.Numbers, i.n)
		}
		r.try++
		b.Try, r.sent = r.try, len(b.Numbers)
		o.sending++
		return b, true
	}
	return Batch{}, false
}

func (o *Outbox) maySend(r *peer, now time.Time) bool {
	return r.sent == 0 && len(r.queue) > 0 && r.hold <= o.landed && r.queue[0].need <= o.landed && !r.queue[0].park && !r.at().After(now)
}

// tick makes the receivers ready whose time has come.
func (o *Outbox) tick(now time.Time) {
	if len(o.waiting) == 0 {
		return
	}
	o.waiting = slices.DeleteFunc(o.waiting, func(r *peer) bool {
		if len(r.queue) > 0 && r.at().After(now) {
			return false
		}
		r.isWaiting = false
		switch {
		case o.maySend(r, now) && !r.isReady:
			r.isReady = true
			o.ready = append(o.ready, r)
		case len(r.queue) == 0 || r.sent > 0 || r.hold > o.landed || r.queue[0].need > o.landed:
			o.look(r)
		}
		return true
	})
}

// Next returns when Take may return a batch that it does not return now; false if time alone changes nothing.
func (o *Outbox) Next() (at time.Time, ok bool) {
	for _, r := range o.waiting {
		if len(r.queue) == 0 {
			continue
		}
		if t := r.at(); !ok || t.Before(at) {
			at, ok = t, true
		}
	}
	return at, ok
}

// Ready reports whether Take may return a batch now.
func (o *Outbox) Ready(now time.Time) bool {
	o.tick(now)
	return len(o.ready) > 0 && o.sending < MaxReceivers
}

// Answer is the answer to a batch.
type Answer struct {
	Handled uint64          // the highest number that was handled, with its commit durable; 0: none
	Failed  uint64          // the first message that was not handled: its handler failed or refused it; 0: none
	Refused bool            // the handler refused it: trying again does not help
	Err     *engine.Failure // of Failed
	Soon    bool            // the receiver has many marks: send Forget soon
}

// Answered notes the answer to a batch. jitter is a random number in [0, 1). young: the sender is young.
func (o *Outbox) Answered(b Batch, a Answer, now time.Time, jitter float64, young bool) {
	r := o.receivers[b.To]
	if r == nil || r.try != b.Try || r.sent == 0 {
		return
	}
	o.sending--
	r.sent = 0
	handled := 0
	for len(r.queue) > 0 && handled < len(b.Numbers) && b.Numbers[handled] <= a.Handled {
		if r.queue[0].n == b.Numbers[handled] { // else it was dropped meanwhile
			o.chores = append(o.chores, chore{n: b.Numbers[handled], to: r})
			r.removing++
			delete(o.place, b.Numbers[handled])
			r.queue.remove(b.Numbers[handled])
		}
		r.last = max(r.last, b.Numbers[handled])
		handled++
	}
	reached := a.Handled > 0 || a.Failed > 0
	r.next = time.Time{}
	switch {
	case !reached:
		r.next = now.Add(backOff(r.missed, jitter))
		r.missed = min(r.missed+1, 32)
	default:
		r.missed = 0
		if handled < len(b.Numbers) && a.Failed == 0 {
			r.window = min(max(1, 2*handled), MaxBatch) // it has taken long
		} else if r.window > 0 {
			r.window = min(2*r.window, MaxBatch)
		}
	}
	if a.Failed > 0 && len(r.queue) > 0 && r.queue[0].n == a.Failed {
		o.failed(r, a, now, jitter, young)
	}
	o.look(r)
}

// failed decides on the first message of a queue, whose handler has failed.
func (o *Outbox) failed(r *peer, a Answer, now time.Time, jitter float64, young bool) {
	i := &r.queue[0]
	if (a.Refused || i.tries >= MaxFailures) && !young && o.MayPark() {
		i.park = true
		o.parking = append(o.parking, chore{n: i.n, to: r, tries: i.tries + 1, err: a.Err})
		return
	}
	i.due = Retry(now, i.tries, jitter)
	i.tries = min(i.tries+1, MaxFailures)
	o.chores = append(o.chores, chore{n: i.n, to: r, tries: i.tries, err: a.Err, retry: i.due})
	r.removing++
}

// Retry returns when a message is tried again whose handler has failed, after so many earlier failures.
func Retry(now time.Time, failures int, jitter float64) time.Time {
	wait := firstRetry << min(failures, MaxFailures)
	wait += time.Duration(jitter * float64(wait) / 4)
	return now.Add(wait).UTC().Truncate(time.Millisecond)
}

func backOff(missed int, jitter float64) time.Duration {
	wait := min(maxBackOff, firstBackOff<<min(missed, 20))
	return wait + time.Duration(jitter*float64(wait)/4)
}

// MayPark reports whether there is room for one more parked message.
func (o *Outbox) MayPark() bool { return len(o.parked)+len(o.parking) < MaxParked }

// MustPark reports whether ToPark may return a message.
func (o *Outbox) MustPark() bool { return len(o.parking) > 0 }

// HasChores reports whether Chores returns writes.
func (o *Outbox) HasChores() bool { return len(o.chores) > 0 }

// Hurry reports whether the receiver's marks are many and Chores should be written at once.
func (o *Outbox) Hurry() bool { return len(o.chores) >= MaxBatch }

// Chores returns the writes that follow from answers. They become part of this commit and must be noted. get reads
// storage.
func (o *Outbox) Chores(get func(key string) ([]byte, bool), commit uint64) []engine.Write {
	if len(o.chores) == 0 {
		return nil
	}
	writes := make([]engine.Write, 0, len(o.chores))
	for _, c := range o.chores {
		c.to.removing--
		key := engine.OutboxKey(c.n)
		value, ok := get(key)
		switch {
		case !ok: // it was dropped
		case c.retry.IsZero():
			c.to.removed = max(c.to.removed, commit)
			writes = append(writes, engine.Write{Key: key})
		default:
			if m, err := engine.DecodeTold(value); err == nil {
				m.Tries, m.Due, m.Err = c.tries, c.retry, c.err
				writes = append(writes, engine.Write{Key: key, Value: m.Encode()})
			}
		}
		o.look(c.to)
	}
	o.chores = nil
	slices.SortStableFunc(writes, func(a, b engine.Write) int { return strings.Compare(a.Key, b.Key) })
	return lastOfEach(writes)
}

// lastOfEach leaves the last of the writes of each key, of sorted ones.
func lastOfEach(writes []engine.Write) []engine.Write {
	kept := writes[:0]
	for i, w := range writes {
		if i+1 == len(writes) || writes[i+1].Key != w.Key {
			kept = append(kept, w)
		}
	}
	return kept
}

// ToPark returns the next message to others to park, in its parked form, and its present storage key.
func (o *Outbox) ToPark(get func(key string) ([]byte, bool)) (m engine.Told, at string, ok bool) {
	for len(o.parking) > 0 {
		c := o.parking[0]
		o.parking = o.parking[1:]
		at = engine.OutboxKey(c.n)
		value, kept := get(at)
		if !kept {
			o.look(c.to)
			continue // it was dropped
		}
		m, err := engine.DecodeTold(value)
		if err != nil {
			continue
		}
		m.Tries, m.Err, m.Due = c.tries, c.err, time.Time{}
		return m, at, true
	}
	return m, "", false
}

// Forget says that nothing is left for a receiver.
type Forget struct {
	To   string
	Last uint64 // the highest number that it has handled
}

// Forgets returns the Forgets that may be sent now. A young sender must not call it.
func (o *Outbox) Forgets() (all []Forget) {
	done := o.done
	o.done = nil
	for _, r := range done {
		r.isDone = false
		if o.receivers[r.key] != r || len(r.queue) > 0 || r.sent > 0 || r.removing > 0 || r.removed > o.landed || r.hold > o.landed {
			o.look(r)
			continue
		}
		delete(o.receivers, r.key)
		if r.last > 0 {
			all = append(all, Forget{r.key, r.last})
		}
	}
	return all
}

// HasForgets reports whether Forgets may return one.
func (o *Outbox) HasForgets() bool { return len(o.done) > 0 }

// MayForget reports whether the object with this key may forget that it has handled everything up to n. The sender is
// not young.
func (o *Outbox) MayForget(to string, n uint64) bool {
	r := o.receivers[to]
	if r == nil {
		return true
	}
	return (len(r.queue) == 0 || r.queue[0].n > n) && r.removing == 0 && r.removed <= o.landed
}

// Due returns the storage key of the next due message, to run if it is to the object itself, otherwise to send; false if none is
// due.
func (o *Outbox) Due(now time.Time) (key string, ok bool) {
	if first, ok := o.timers.first(); ok && !first.at.After(now) {
		return first.key, true
	}
	if len(o.own) > 0 && !o.own[0].due.After(now) {
		return o.own[0].key, true
	}
	return "", false
}

// ToHook returns the number of the next parked message whose Undelivered is due; false if none is.
func (o *Outbox) ToHook(now time.Time) (n uint64, ok bool) {
	for _, p := range o.parked {
		if !p.due.IsZero() && !p.due.After(now) {
			return p.n, true
		}
	}
	return 0, false
}

// NextDue returns when Due or ToHook return a message next; false if never.
func (o *Outbox) NextDue() (at time.Time, ok bool) {
	sooner := func(t time.Time) {
		if !ok || t.Before(at) {
			at, ok = t, true
		}
	}
	if len(o.own) > 0 {
		sooner(o.own[0].due)
	}
	if first, some := o.timers.first(); some {
		sooner(first.at)
	}
	for _, p := range o.parked {
		if !p.due.IsZero() {
			sooner(p.due)
		}
	}
	return at, ok
}
