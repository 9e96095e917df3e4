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

// Outbox is what an object has told and what is under way. It is not safe for concurrent use.
//
// Every write of a reserved key has to be noted (Note), and every commit that has landed (Landed).
type Outbox struct {
	self      string
	landed    uint64 // the last commit that is durable
	receivers map[string]*peer
	place     map[uint64]*peer // of each message to others that is due
	sending   int              // receivers with a batch under way
	ready     []*peer          // with something that may leave, first come, first served
	waiting   []*peer          // with something that may leave at a time
	unlanded  []*peer          // with something that may leave when a commit has landed
	done      []*peer          // from whom all was removed; Forget is to be said
	chores    []chore
	parking   []chore // messages that are to be parked

	own    queue             // to the object itself, at once
	ownAt  map[string]uint64 // their numbers, by where they are kept
	timers timers
	parked []parkedAt // by number
}

// peer is another object, and what is on its way to it.
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
	park  bool // it is to be parked, and is sent no more
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
		i.need, i.park = (*q)[at].need, (*q)[at].park // what is sent has landed before
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

// chore is a change of the outbox that is to be written.
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

// New is the outbox of the object with this key, without anything in it.
func New(self string) *Outbox {
	return &Outbox{self: self, receivers: make(map[string]*peer), place: make(map[uint64]*peer), ownAt: make(map[string]uint64)}
}

// Reserved reports whether a key is one that Note has to see.
func Reserved(key string) bool {
	return strings.HasPrefix(key, engine.OutboxAt) || strings.HasPrefix(key, engine.TimersAt) || strings.HasPrefix(key, engine.ParkedAt)
}

// Note takes in a write, which is part of this commit. Of what is kept when the object is claimed the commit is 0. It
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

// Len is how many messages are under way, those that are parked apart.
func (o *Outbox) Len() int { return len(o.place) + len(o.own) + o.timers.len() }

// Sending is how many messages to others are due.
func (o *Outbox) Sending() int { return len(o.place) }

// Timers is how many messages are not due, or are the object's own.
func (o *Outbox) Timers() int { return len(o.own) + o.timers.len() }

// Parked is how many messages are parked.
func (o *Outbox) Parked() int { return len(o.parked) }

// Busy reports whether a message is due, or something is to be written: the object is not to be let go of.
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

// look finds out what is to be done about a receiver, and puts it where that is done.
func (o *Outbox) look(r *peer) {
	switch {
	case r.sent > 0: // its answer is waited for
	case r.hold > o.landed:
		o.afterCommit(r)
	case len(r.queue) == 0 && r.removing > 0: // the removal is to be written
	case len(r.queue) == 0 && r.removed > o.landed:
		o.afterCommit(r)
	case len(r.queue) == 0:
		if !r.isDone {
			r.isDone = true
			o.done = append(o.done, r)
		}
	case r.queue[0].park: // the parking is to be written
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

// at is when the receiver is sent to next; zero: at once.
func (r *peer) at() time.Time {
	if due := r.queue[0].due; due.After(r.next) {
		return due
	}
	return r.next
}

// Batch is what is sent to one receiver.
type Batch struct {
	To, Name string
	Near     string // as the last message says that says it
	Try      uint64
	Numbers  []uint64 // of the messages, which are kept under their OutboxKeys
}

// Take is the next batch that may leave; false if there is none now.
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

// tick makes those ready whose time has come.
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

// Next is when Take may have something that it does not have now; false if no time changes that.
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

// Ready reports whether Take may have something now.
func (o *Outbox) Ready(now time.Time) bool {
	o.tick(now)
	return len(o.ready) > 0 && o.sending < MaxReceivers
}

// Answer is what came of a batch.
type Answer struct {
	Handled uint64          // the highest number that was handled, with its commit durable; 0: none
	Failed  uint64          // the message that was not: its handler failed, or refused it; 0: none
	Refused bool            // it was a refusal: trying again does not help
	Err     *engine.Failure // of Failed
	Soon    bool            // the receiver has many marks: it is to be told Forget soon
}

// Answered takes in what came of a batch. jitter is a random number in [0, 1). young says that the sender is.
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

// failed is what becomes of the first message of a queue, whose handler has failed.
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

// Retry is when a message is tried again whose handler has failed, and had failed so often before.
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

// MustPark reports whether ToPark may have something.
func (o *Outbox) MustPark() bool { return len(o.parking) > 0 }

// HasChores reports whether Chores has something.
func (o *Outbox) HasChores() bool { return len(o.chores) > 0 }

// Hurry reports whether the receiver's marks are many and Chores should be written at once.
func (o *Outbox) Hurry() bool { return len(o.chores) >= MaxBatch }

// Chores are the writes that answers have made necessary. They become part of this commit; Note is to see them. get reads
// what is kept.
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

// ToPark is the next message to others that is to be parked, as it is to be kept, and where it was kept.
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

// Forget is what a receiver is told when nothing is left for it.
type Forget struct {
	To   string
	Last uint64 // the highest number that it has handled
}

// Forgets are those that may be said now. A young sender does not ask for them.
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

// HasForgets reports whether Forgets may have something.
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

// Due is where the next message is kept that is to be run, if it is to the object itself, or to be sent; false if none is
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

// ToHook is the number of the next parked message of which the object is to be told again; false if none is due.
func (o *Outbox) ToHook(now time.Time) (n uint64, ok bool) {
	for _, p := range o.parked {
		if !p.due.IsZero() && !p.due.After(now) {
			return p.n, true
		}
	}
	return 0, false
}

// NextDue is when Due or ToHook have something next; false if never.
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
