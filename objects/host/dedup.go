package host

import (
	"slices"
	"time"
	"unique"

	"holdfast/internal/wire"
	"holdfast/objects/host/internal/record"
)

// Bounds of what a record remembers of requests. Together they leave room for
// the largest state in the smallest message that a server must allow.
const (
	maxAnswers     = 1024           // of gateways; the oldest go first
	maxAnswersSize = 96 << 10       // bytes of them
	maxKeyed       = 256            // of clients' keys; the oldest go first
	maxKeyedSize   = 96 << 10       // bytes of them
	keepKeyed      = 24 * time.Hour // how long a client's key is known
	maxKept        = 1 << 10        // bytes of an answer that is kept; a larger one is only known to have been given
)

// answers are those of the requests that a commit covers. A gateway's is kept
// until the gateway waits for it no more, a client's for a day. They are few
// enough to be looked through.
type answers struct {
	kept []record.Kept // as they were given
	lows []low
}

// low is a gateway and the lowest number that it waits for.
type low struct {
	gateway string
	n       uint64
	lost    time.Time // when the gateway was given up; zero: it lives
}

const (
	maxLows    = 1024             // gateways; the one that has been silent longest goes first
	forgetLost = 10 * time.Minute // after which a gateway that was given up sends nothing again
)

// find is the answer to a request that was handled before.
func (a *answers) find(req *wire.Request) (record.Kept, bool) {
	for i := len(a.kept) - 1; i >= 0; i-- {
		k := &a.kept[i]
		if req.Key != "" && k.Key == req.Key || req.Key == "" && k.N == req.N && k.Key == "" && k.Gateway == req.Gateway {
			return *k, true
		}
	}
	return record.Kept{}, false
}

func (a *answers) add(answer record.Answer, now time.Time) {
	answer.Gateway = unique.Make(answer.Gateway).Value() // one text for all objects
	kept := answer.Keep()
	if kept.Key == "" {
		kept.At = now
	}
	a.kept = append(a.kept, kept)
}

// adopted notes that the answers are those of a record that was claimed now. Records do
// not say when gateways were answered, so those answers count as new.
func (a *answers) adopted(now time.Time) {
	for i := range a.kept {
		if a.kept[i].Key == "" {
			a.kept[i].At = now
		}
	}
}

// noteLow notes what a gateway still waits for, and returns the lowest number.
func (a *answers) noteLow(req *wire.Request) uint64 {
	if n := len(a.lows); n > 0 && a.lows[n-1].gateway == req.Gateway { // mostly
		l := &a.lows[n-1]
		l.n, l.lost = max(l.n, req.Low), time.Time{}
		return l.n
	}
	l := low{gateway: req.Gateway, n: req.Low}
	if i := a.indexLow(req.Gateway); i >= 0 {
		l = low{gateway: a.lows[i].gateway, n: max(a.lows[i].n, req.Low)}
		a.lows = slices.Delete(a.lows, i, i+1)
	} else {
		l.gateway = unique.Make(l.gateway).Value() // one text for all objects
		if len(a.lows) >= maxLows {
			a.lows = slices.Delete(a.lows, 0, 1)
		}
	}
	a.lows = append(a.lows, l) // the one that was heard last is at the end
	return l.n
}

func (a *answers) indexLow(gateway string) int {
	return slices.IndexFunc(a.lows, func(l low) bool { return l.gateway == gateway })
}

// loseGateway notes that a gateway was given up. Its answers stay for forgetLost: a
// gateway that was only frozen may still send what it had begun to send.
func (a *answers) loseGateway(gateway string, now time.Time) {
	i := a.indexLow(gateway)
	if i < 0 && slices.ContainsFunc(a.kept, func(k record.Kept) bool { return k.Key == "" && k.Gateway == gateway }) {
		a.lows = append(a.lows, low{gateway: unique.Make(gateway).Value()}) // as the previous owner left it
		i = len(a.lows) - 1
	}
	if i >= 0 {
		a.lows[i].lost = now
	}
}

// waits reports whether a gateway may still ask for its answer n.
func (a *answers) waits(gateway string, n uint64, now time.Time) bool {
	if i := a.indexLow(gateway); i >= 0 {
		return n >= a.lows[i].n && !a.lows[i].forgotten(now)
	}
	return true // it has not said
}

// forgotten reports whether the gateway was given up long ago.
func (l low) forgotten(now time.Time) bool { return !l.lost.IsZero() && now.Sub(l.lost) > forgetLost }

// list is what to keep now, oldest first; the rest is forgotten. keep is for how long a
// copy of a gateway's request may still arrive. The list is good until the next call of
// any method.
func (a *answers) list(now time.Time, keep time.Duration) []record.Kept {
	a.kept = slices.DeleteFunc(a.kept, func(k record.Kept) bool {
		if k.Key != "" {
			return now.Sub(k.At) > keepKeyed
		}
		return !a.waits(k.Gateway, k.N, now) || now.Sub(k.At) > keep
	})
	a.lows = slices.DeleteFunc(a.lows, func(l low) bool { return l.forgotten(now) })
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

// budget is how much more may be kept.
type budget struct{ answers, bytes int }

func (b *budget) take(size int) bool {
	b.answers--
	b.bytes -= size
	return b.answers >= 0 && b.bytes >= 0
}
