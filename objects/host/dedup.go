package host

import (
	"slices"
	"strings"
	"time"
	"unique"

	"holdfast/internal/planted"
	"holdfast/internal/wire"
	"holdfast/objects/host/internal/record"
)

// Bounds of what a record remembers of requests. Together they leave room for
// the largest state in the smallest message that a server must allow.
const (
	maxAnswers     = 1024           // of gateways; the oldest go first
	maxAnswersSize = 96 << 10       // bytes of them
	maxKeyed       = 256            // of clients' keys; the oldest of those who have most go first
	maxKeyedOf     = 64             // of one principal's keys or, of nobody in particular, of one address's
	maxKeyedSize   = 96 << 10       // bytes of them
	keepKeyed      = 24 * time.Hour // how long a client's key is known
	maxKept        = 1 << 10        // bytes of an answer that is kept; a larger one is only known to have been given
)

// answers are those of the requests that a commit covers. A gateway's is kept
// until the gateway waits for it no more, a client's for a day. They are few
// enough to be looked through.
type answers struct {
	kept  []record.Kept // as they were given
	lows  []low         // the one that was heard last is at the end
	keyed bool          // an answer to a client's key has come since the last list
}

// low is a gateway and the lowest number that it waits for.
type low struct {
	gateway string
	n       uint64
	heard   time.Time // when the gateway last asked for something
}

const (
	maxLows      = 1024             // gateways; the one that has been silent longest goes first
	forgetSilent = 10 * time.Minute // after which nothing comes that a gateway sent before: no copy of a request lives as long
)

// find is the answer to a request that was handled before.
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
	answer.Gateway = unique.Make(answer.Gateway).Value() // one text for all objects
	kept := answer.Keep()
	if kept.Key == "" {
		kept.At = now
	} else {
		a.keyed = true
	}
	a.kept = append(a.kept, kept)
}

// adopted notes that the answers are those of a record that was claimed now. Records do
// not say when gateways were answered, so those answers count as new.
func (a *answers) adopted(now time.Time) {
	a.keyed = true
	for i := range a.kept {
		if a.kept[i].Key == "" {
			a.kept[i].At = now
		}
	}
}

// noteLow notes what a gateway still waits for, and returns the lowest number.
func (a *answers) noteLow(req *wire.Request, now time.Time) uint64 {
	a.forgetSilent(now)
	if n := len(a.lows); n > 0 && a.lows[n-1].gateway == req.Gateway { // mostly
		l := &a.lows[n-1]
		l.n, l.heard = max(l.n, req.Low), now
		return l.n
	}
	l := low{gateway: req.Gateway, n: req.Low, heard: now}
	if i := a.indexLow(req.Gateway); i >= 0 {
		l.gateway, l.n = a.lows[i].gateway, max(a.lows[i].n, req.Low)
		a.lows = slices.Delete(a.lows, i, i+1)
	} else {
		l.gateway = unique.Make(l.gateway).Value() // one text for all objects
		if len(a.lows) >= maxLows {
			a.lows = slices.Delete(a.lows, 0, 1)
		}
	}
	a.lows = append(a.lows, l)
	return l.n
}

// forgetSilent forgets gateways that have been silent for long: they have died, or
// somebody has forged their names.
func (a *answers) forgetSilent(now time.Time) {
	n := 0
	for n < len(a.lows) && now.Sub(a.lows[n].heard) > forgetSilent {
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
	return i < 0 || n >= a.lows[i].n // or it has not said
}

// list is what to keep now, oldest first; the rest is forgotten. keep is for how long a
// copy of a gateway's request may still arrive. The list is good until the next call of
// any method.
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
		a.shareOut()
	}
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
	return a.kept
}

// shareOut forgets clients' answers beyond the bounds, so that nobody pushes out what
// another has: each keeps as many of its newest as all can have, at most maxKeyedOf.
func (a *answers) shareOut() {
	var keys, bytes int
	for i := range a.kept {
		if a.kept[i].Key != "" {
			keys++
			bytes += a.kept[i].Size()
		}
	}
	for each := maxKeyedOf; each > 0 && (keys > each && each == maxKeyedOf || keys > maxKeyed || bytes > maxKeyedSize); each /= 2 {
		has := make(map[string]int)
		for i := len(a.kept) - 1; i >= 0; i-- { // the newest stay
			who, _ := splitKey(a.kept[i].Key)
			if has[who]++; who == "" || has[who] <= each {
				continue
			}
			keys--
			bytes -= a.kept[i].Size()
			a.kept[i] = record.Kept{}
		}
		a.kept = slices.DeleteFunc(a.kept, func(k record.Kept) bool { return k.JSON == nil })
	}
}

// budget is how much more may be kept.
type budget struct{ answers, bytes int }

func (b *budget) take(size int) bool {
	b.answers--
	b.bytes -= size
	return b.answers >= 0 && b.bytes >= 0
}
