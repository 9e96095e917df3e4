package host

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unique"

	"holdfast/internal/planted"
	"holdfast/internal/wire"
	"holdfast/objects/host/internal/record"
	"holdfast/objects/internal/engine"
)

// Bounds of what a record remembers of requests. Together they leave room for
// the largest state in the smallest message that a server must allow.
const (
	maxAnswers     = 4096           // answers to gateways, as many as requests may wait; the oldest are dropped first
	maxAnswersSize = 160 << 10      // bytes of them; beyond it, only the fact is kept of the oldest
	maxKeyed       = 256            // of clients' keys; the oldest of those who have most go first
	maxKeyedOf     = 64             // of one principal's keys or, without a principal, of one address's
	maxKeyedSize   = 96 << 10       // bytes of them
	keepKeyed      = 24 * time.Hour // how long a client's key is known
	maxKept        = 1 << 10        // bytes of an answer that is kept; of a larger one only the fact is kept

	keyedInRecord = 2 << 10 // bytes of answers to clients' keys in a record; beyond it each answer is an entry of the storage
)

// answers are the answers to requests that a commit covers. A gateway's answer is kept as long as the gateway may ask
// for it, an answer to a client's key for a day. They are few enough to be scanned. Answers to clients' keys are in the
// record or, if they are too many to be part of every put, in the object's storage.
type answers struct {
	kept    []record.Kept  // those of the record, oldest first
	entries *storedAnswers // those of the storage; nil: there were none; if there are some, no client's answer is in the record
	lows    []low          // what gateways wait for, by the time of the last request, oldest first
	keyed   bool           // an answer to a client's key has come since the last list
}

// storedAnswers are the answers to clients' keys that are entries of the object's storage.
type storedAnswers struct {
	all  []entry
	last uint64 // the highest number so far
}

func newStoredAnswers(all []entry) *storedAnswers {
	if len(all) == 0 {
		return nil
	}
	return &storedAnswers{all, all[len(all)-1].n}
}

// list returns the entries, oldest first.
func (e *storedAnswers) list() []entry {
	if e == nil {
		return nil
	}
	return e.all
}

// entry is an answer to a client's key that is an entry of the object's storage.
type entry struct {
	record.Kept
	n uint64 // orders them
}

// entryKey returns the storage key of the entry with this number.
func entryKey(n uint64) string { return fmt.Sprintf("%s%016x", engine.AnswersAt, n) }

// answerEntries returns the answers in an object's storage. data has the runtime's keys.
func answerEntries(data *engine.Data) (entries []entry, err error) {
	for key, value := range data.Between(engine.AnswersAt, engine.After(engine.AnswersAt)).All() {
		var n uint64
		var a record.Answer
		if _, err := fmt.Sscanf(key, engine.AnswersAt+"%016x", &n); err != nil || entryKey(n) != key {
			return nil, fmt.Errorf("%q is no answer's key", key)
		}
		if err := json.Unmarshal(value, &a); err != nil {
			return nil, fmt.Errorf("the answer at %q: %w", key, err)
		}
		entries = append(entries, entry{record.Kept{Key: a.Key, At: a.At, JSON: value}, n})
	}
	return entries, nil
}

// writes moves clients' answers to the object's storage if the record has too many of them, and removes entries that are
// forgotten. The writes are sorted by key. may reports whether the storage may have them.
func (a *answers) writes(now time.Time, may func() bool) (writes []engine.Write) {
	clients, size := func(k record.Kept) bool { return k.Key != "" }, 0
	for _, k := range a.kept {
		if clients(k) {
			size += k.Size()
		}
	}
	if len(a.entries.list()) == 0 && (size <= keyedInRecord || !may()) {
		return nil
	}
	if a.entries == nil {
		a.entries = new(storedAnswers)
	}
	stored := a.entries
	old := len(stored.all)
	for _, k := range a.kept {
		if clients(k) {
			stored.last++
			stored.all = append(stored.all, entry{k, stored.last})
		}
	}
	if size > 0 {
		a.kept = slices.DeleteFunc(a.kept, clients)
	}
	all := make([]record.Kept, len(stored.all))
	for i, e := range stored.all {
		if all[i] = e.Kept; now.Sub(e.At) > keepKeyed {
			all[i] = record.Kept{}
		}
	}
	shareOut(all)
	left := budget{maxKeyed, maxKeyedSize}
	for i := len(all) - 1; i >= 0; i-- { // the oldest go first
		if all[i].JSON != nil && !left.take(all[i].Size()) {
			all[i] = record.Kept{}
		}
	}
	stay := stored.all[:0:0]
	for i, e := range stored.all {
		switch {
		case all[i].JSON != nil:
			if stay = append(stay, e); i >= old {
				writes = append(writes, engine.Write{Key: entryKey(e.n), Value: e.JSON})
			}
		case i < old:
			writes = append(writes, engine.Write{Key: entryKey(e.n)})
		}
	}
	stored.all = stay
	return writes
}

// low is a gateway and what it waits for. Every object has one for each gateway.
type low struct {
	gateway string
	n       uint64 // nothing below it
	open    *open  // what it waits for from n on; nil: it has not said
	heard   int64  // when the gateway last asked for something, in Unix nanoseconds
}

// open are the requests that a gateway waits for below upTo.
type open struct {
	numbers []uint64 // ascending
	upTo    uint64
}

// waits reports whether the gateway may still ask for its answer n.
func (l *low) waits(n uint64) bool {
	if n < l.n || l.open == nil || n >= l.open.upTo {
		return n >= l.n
	}
	_, is := slices.BinarySearch(l.open.numbers, n)
	return is
}

// note notes what the gateway says with a request. What it has said before stays true.
func (l *low) note(req *wire.Request) {
	l.n = max(l.n, req.Low)
	switch {
	case len(req.Open) > 0 && (l.open == nil || req.N > l.open.upTo):
		numbers, _ := req.Open.Numbers(req.Low, req.N) // checkRequest has checked them
		l.open = &open{numbers, req.N}
	case l.open != nil && l.open.upTo <= l.n:
		l.open = nil
	}
}

const (
	maxLows      = 1024             // gateways; the one that has been silent longest goes first
	maxOpen      = 16 << 10         // numbers of open requests
	forgetSilent = 10 * time.Minute // after which nothing comes that a gateway sent before: no copy of a request lives as long
)

// find returns the answer to a request that was handled before.
func (a *answers) find(req *wire.Request) (record.Kept, bool) {
	if planted.AnswersForgotten {
		return record.Kept{}, false
	}
	_, old := splitKey(req.Key)
	for i := len(a.kept) - 1; i >= 0; i-- {
		k := &a.kept[i]
		if req.Key != "" && (k.Key == req.Key || k.Key == old) || req.Key == "" && k.N == req.N && k.Key == "" && k.Gateway == req.Gateway {
			return *k, true
		}
	}
	if req.Key != "" {
		for _, k := range slices.Backward(a.entries.list()) {
			if k.Key == req.Key || k.Key == old {
				return k.Kept, true
			}
		}
	}
	return record.Kept{}, false
}

// splitKey splits a client's key into who gave it and what it is for. The second part is
// all of a key of the old form, which names nobody and is known until it is a day old.
func splitKey(key string) (who, what string) {
	who, what, named := strings.Cut(key, ".")
	if !named {
		return "", key
	}
	return who, what
}

func (a *answers) add(answer record.Answer, now time.Time) {
	answer.Gateway = unique.Make(answer.Gateway).Value() // one string for all objects
	kept := answer.Keep()
	if kept.Key == "" {
		kept.At = now
	} else {
		a.keyed = true
	}
	a.kept = append(a.kept, kept)
}

// adopted notes that the answers are those of an object that was claimed now. Records do
// not say when gateways were answered, so those answers count as new.
func (a *answers) adopted(now time.Time) {
	a.keyed = true
	for i := range a.kept {
		if a.kept[i].Key == "" {
			a.kept[i].At = now
		}
	}
}

// noteLow notes what a gateway still waits for, and reports whether the request is part of it.
func (a *answers) noteLow(req *wire.Request, now time.Time) (waits bool) {
	a.forgetSilent(now)
	if n := len(a.lows); n == 0 || a.lows[n-1].gateway != req.Gateway {
		a.lows = append(a.lows, a.takeLow(req.Gateway))
	}
	l := &a.lows[len(a.lows)-1]
	l.note(req)
	l.heard = now.UnixNano()
	if len(req.Open) > 0 {
		a.boundOpen()
	}
	return l.waits(req.N)
}

// takeLow removes what a gateway waits for, and returns it.
func (a *answers) takeLow(gateway string) low {
	l := low{gateway: unique.Make(gateway).Value()} // one string for all objects
	if i := a.indexLow(gateway); i >= 0 {
		l = a.lows[i]
		a.lows = slices.Delete(a.lows, i, i+1)
	} else if len(a.lows) >= maxLows {
		a.lows = slices.Delete(a.lows, 0, 1)
	}
	return l
}

// boundOpen forgets what gateways say of open requests if it is too much: it has been forged. Those that spoke last go last.
func (a *answers) boundOpen() {
	all := 0
	for i := len(a.lows) - 1; i >= 0; i-- {
		if o := a.lows[i].open; o != nil {
			if all += len(o.numbers); all > maxOpen {
				a.lows[i].open = nil
			}
		}
	}
}

// forgetSilent forgets gateways that have been silent for long: they have died, or
// somebody has forged their names.
func (a *answers) forgetSilent(now time.Time) {
	n := 0
	for n < len(a.lows) && now.UnixNano()-a.lows[n].heard > int64(forgetSilent) {
		n++
	}
	if n > 0 {
		a.lows = slices.Delete(a.lows, 0, n)
	}
}

func (a *answers) indexLow(gateway string) int {
	return slices.IndexFunc(a.lows, func(l low) bool { return l.gateway == gateway })
}

// waits reports whether a gateway may still ask for its answer n.
func (a *answers) waits(gateway string, n uint64) bool {
	i := a.indexLow(gateway)
	return i < 0 || a.lows[i].waits(n) // or the gateway has not said
}

// keepAnswers returns for how long a gateway's answer is kept: a copy of its request may arrive.
func (in *incarnation) keepAnswers() time.Duration { return in.timing.Request + wire.CopyLife }

// list returns the answers for the record, oldest first, without those that are forgotten. keep is for how long a copy
// of a gateway's request may still arrive. The list is good until the next call of any method.
func (a *answers) list(now time.Time, keep time.Duration) []record.Kept {
	a.forgetSilent(now)
	a.kept = slices.DeleteFunc(a.kept, func(k record.Kept) bool {
		if k.Key != "" {
			return now.Sub(k.At) > keepKeyed
		}
		return !a.waits(k.Gateway, k.N) || now.Sub(k.At) > keep
	})
	if a.keyed {
		a.keyed = false
		shareOut(a.kept)
		a.kept = slices.DeleteFunc(a.kept, func(k record.Kept) bool { return k.JSON == nil })
	}
	a.shorten()
	gateways, clients := budget{maxAnswers, maxAnswersSize}, budget{maxKeyed, maxKeyedSize}
	over := false
	for i := len(a.kept) - 1; i >= 0; i-- { // the oldest go first
		from := &gateways
		if a.kept[i].Key != "" {
			from = &clients
		}
		if !from.take(a.kept[i].Size()) {
			over = true
			a.kept[i] = record.Kept{}
		}
	}
	if over {
		a.kept = slices.DeleteFunc(a.kept, func(k record.Kept) bool { return k.JSON == nil })
	}
	if len(a.kept) == 0 {
		a.kept = nil
	}
	return a.kept
}

// shorten keeps only the fact of gateways' answers, the oldest first, until all take no more bytes than they may: a request
// whose answer is lost does not run again.
func (a *answers) shorten() {
	size := 0
	for i := range a.kept {
		if a.kept[i].Key == "" {
			size += a.kept[i].Size()
		}
	}
	for i := 0; size > maxAnswersSize && i < len(a.kept); i++ {
		k := &a.kept[i]
		if k.Key != "" {
			continue
		}
		fact := record.Answer{Gateway: k.Gateway, N: k.N, At: k.At}.Keep()
		size -= k.Size() - fact.Size()
		*k = fact
	}
}

// shareOut zeroes the clients' answers beyond the bounds. Every client keeps the same number of its newest answers, at
// most maxKeyedOf, so no client displaces the answers of another.
func shareOut(kept []record.Kept) {
	var keys, bytes int
	for i := range kept {
		if kept[i].Key != "" {
			keys++
			bytes += kept[i].Size()
		}
	}
	for each := maxKeyedOf; each > 0 && (keys > each && each == maxKeyedOf || keys > maxKeyed || bytes > maxKeyedSize); each /= 2 {
		has := make(map[string]int)
		for i := len(kept) - 1; i >= 0; i-- { // the newest stay
			who, _ := splitKey(kept[i].Key)
			if has[who]++; who == "" || has[who] <= each {
				continue
			}
			keys--
			bytes -= kept[i].Size()
			kept[i] = record.Kept{}
		}
	}
}

// budget is how much more may be kept.
type budget struct{ answers, bytes int }

func (b *budget) take(size int) bool {
	b.answers--
	b.bytes -= size
	return b.answers >= 0 && b.bytes >= 0
}

// again answers a request that was handled before, perhaps by another owner, from what the record remembers. It reports
// false if the request is new and its event has to run.
func (o *object) again(ev event, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	what, reply, fenced := o.memory.repeats(ev.req, &o.term, now)
	if fenced { // nothing leaves before it is durable, not even what has changed nothing
		o.put(outboxItem{wrote: true})
	}
	switch what {
	case fresh:
		return false
	case elsewhere:
		o.in.answer(o.mailbox.newestReply(ev.reply), &wire.Reply{Moved: true, Token: o.term.token})
	case answered:
		o.put(outboxItem{to: o.mailbox.newestReply(ev.reply), reply: reply})
	}
	return true
}

// requestDigest distinguishes requests under one key.
func requestDigest(req *wire.Request) string {
	h := sha256.New()
	for _, part := range []string{req.Call, req.Method, req.URL, string(req.Body)} {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// answersOnce reports whether a repeated request of this kind gets the first answer again.
func answersOnce(kind wire.Kind) bool {
	return kind == wire.Call || kind == wire.Fetch || kind == wire.Restore || kind == wire.Fork
}

// forgetAnswers removes the answers to clients' keys that are too old from the object's storage.
func (o *object) forgetAnswers() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stage() != gone {
		o.memory.tidyAnswers(time.Now(), o.in.wide)
	}
}
