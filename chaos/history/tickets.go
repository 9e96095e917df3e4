package history

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// Tickets is the result for ticket objects. All numbers but the first group are faults.
type Tickets struct {
	Ops     int `json:"ops"`
	OK      int `json:"ok"`
	Unknown int `json:"unknown"` // claims that may or may not have counted
	Full    int `json:"full"`    // tries that were refused because the store was full
	Own     int `json:"own"`     // tries that failed because their gateway was gone, frozen or cut off

	Failed  int `json:"failed"`  // all other tries that failed
	Lost    int `json:"lost"`    // tickets that were given and do not count
	Doubled int `json:"doubled"` // tickets that were given before
	Order   int `json:"order"`   // tickets no higher than one that was given before they were asked for
	Stale   int `json:"stale"`   // reads that missed an earlier ticket, or returned one that was not given yet
	Phantom int `json:"phantom"` // counts without a claim
	Illegal int `json:"illegal"` // objects whose history is not linearizable, or was not decided in time
	Unread  int `json:"unread"`  // objects that a gateway could not read when everything was over

	Flaws []string `json:"flaws,omitempty"`
}

// storageFull is the code of a refusal because the store has no room.
const storageFull = "storage_full"

// late is how long after its end a fault may still cause a failure.
const late = time.Second

// CheckTickets judges the operations at ticket objects. linear bounds how long the search for
// an order of one object's operations may take.
func CheckTickets(records []Record, linear time.Duration) Tickets {
	var t Tickets
	var ops []*Op
	all := faults(records)
	for _, r := range records {
		if r.Op == nil {
			continue
		}
		ops = append(ops, r.Op)
		t.count(r.Op, all)
	}
	objects := by(ops, func(o *Op) string { return o.Object })
	for _, object := range sorted(objects) {
		t.object(object, objects[object])
		t.linear(object, objects[object], linear)
	}
	return t
}

func (t *Tickets) flaw(format string, args ...any) { t.Flaws = describe(t.Flaws, format, args...) }

// count counts an operation by its outcome.
func (t *Tickets) count(o *Op, faults []*Fault) {
	t.Ops++
	switch {
	case o.Outcome == OK:
		t.OK++
	case o.Outcome == Unknown && o.Kind == Claim:
		t.Unknown++
	}
	for _, try := range o.Failed {
		switch {
		case try.Code == storageFull:
			t.Full++
		case slices.ContainsFunc(faults, func(f *Fault) bool { return f.excuses(o.Gateway, try) }):
			t.Own++
		default:
			t.Failed++
			t.flaw("%s of %s by client %d through %s at %v failed after %v: %d %s %s",
				o.Kind, o.Object, o.Client, o.Gateway, try.Start, try.End-try.Start, try.Status, try.Code, try.Cause)
		}
	}
}

// excuses reports whether the fault explains why a request to a gateway failed.
func (f *Fault) excuses(gateway string, try Try) bool {
	if try.End < f.At || try.Start > f.Healed+late {
		return false
	}
	return slices.Contains(f.Excused, gateway) || !try.Dialed && slices.Contains(f.Gone, gateway)
}

// object checks the tickets of one object without searching for an order.
func (t *Tickets) object(name string, ops []*Op) {
	var claims, reads []*Op
	unknown, final := 0, 0
	for _, o := range ops {
		switch {
		case o.Outcome == OK && o.Kind == Claim:
			claims = append(claims, o)
		case o.Outcome == OK:
			reads = append(reads, o)
		case o.Outcome == Unknown && o.Kind == Claim:
			unknown++
		}
		if o.Final && o.Outcome == OK {
			final = max(final, o.Value)
		}
		if o.Final && o.Outcome != OK {
			t.Unread++
			t.flaw("%s could not be read through %s at the end", name, o.Gateway)
		}
	}
	given := make(map[int]*Op)
	for _, o := range claims {
		if before := given[o.Value]; before != nil {
			t.Doubled++
			t.flaw("%s: ticket %d was given to client %d at %v and to client %d at %v", name, o.Value, before.Client, before.End, o.Client, o.End)
		}
		given[o.Value] = o
		if o.Value > final {
			t.Lost++
			t.flaw("%s: ticket %d was given at %v; at the end the count is %d", name, o.Value, o.End, final)
		}
	}
	counted := 0
	for value := range given {
		if value <= final {
			counted++
		}
	}
	if more := final - counted - unknown; more > 0 {
		t.Phantom += more
		t.flaw("%s counts %d; %d tickets were given, %d are unknown", name, final, counted, unknown)
	}
	t.order(name, claims, reads)
}

// order checks that times and numbers agree: an operation that ended before another began has the
// lower number.
func (t *Tickets) order(name string, claims, reads []*Op) {
	done := slices.SortedFunc(slices.Values(slices.Concat(claims, reads)), func(a, b *Op) int { return cmp.Compare(a.End, b.End) })
	begun := slices.SortedFunc(slices.Values(slices.Concat(claims, reads)), func(a, b *Op) int { return cmp.Compare(a.Start, b.Start) })
	next, highest := 0, (*Op)(nil)
	for _, o := range begun {
		for ; done[next].End < o.Start; next++ {
			if highest == nil || done[next].Value > highest.Value {
				highest = done[next]
			}
		}
		switch {
		case highest == nil:
		case o.Kind == Claim && highest.Kind == Claim && o.Value <= highest.Value && o.Value > 0:
			t.Order++
			t.flaw("%s: ticket %d was asked for at %v, after ticket %d had been given at %v", name, o.Value, o.Start, highest.Value, highest.End)
		case o.Value < highest.Value, o.Kind == Claim && o.Value == highest.Value:
			t.Stale++
			t.flaw("%s: %s at %v says %d, after %d had been seen at %v", name, o.Kind, o.Start, o.Value, highest.Value, highest.End)
		}
	}
}

// counter is the model of a ticket object.
var counter = porcupine.Model{
	Init: func() any { return 0 },
	Step: func(state, input, output any) (bool, any) {
		count, in, out := state.(int), input.(Kind), output.(*Op)
		switch {
		case in == Read:
			return out.Value == count, count
		case out.Outcome == Unknown:
			return true, count + 1
		}
		return out.Value == count+1, count + 1
	},
}

// linear searches for an order in which one object's operations could have happened. An
// operation whose outcome is unknown has no end: it may come after all others, as if it had
// not happened.
func (t *Tickets) linear(name string, ops []*Op, within time.Duration) {
	var history []porcupine.Operation
	var end time.Duration
	for _, o := range ops {
		end = max(end, o.End)
	}
	for _, o := range ops {
		if o.Outcome == Refused || o.Outcome == Unknown && o.Kind == Read {
			continue
		}
		op := porcupine.Operation{ClientId: o.Client, Input: o.Kind, Call: int64(o.Start), Output: o, Return: int64(o.End)}
		if o.Outcome == Unknown {
			op.Return = int64(end) + 1
		}
		history = append(history, op)
	}
	if verdict := porcupine.CheckOperationsTimeout(counter, history, within); verdict != porcupine.Ok {
		t.Illegal++
		t.flaw("%s: %d operations: porcupine says %s", name, len(history), verdict)
	}
}

// Gaps returns, for every fault and every object that it hit, the longest time without a success
// that touches the fault. late counts gaps that went on for more than a second after NATS had
// elected a new leader.
func Gaps(records []Record) (gaps []time.Duration, late int) {
	ends := make(map[string][]time.Duration)
	var last time.Duration
	for _, r := range records {
		if r.Op == nil {
			continue
		}
		last = max(last, r.Op.End)
		if r.Op.Outcome == OK {
			ends[r.Op.Object] = append(ends[r.Op.Object], r.Op.End)
		}
	}
	for _, all := range ends {
		slices.Sort(all)
	}
	for _, f := range faults(records) {
		for _, object := range f.Objects {
			gap := longest(ends[object], f.At, f.Over, last)
			gaps = append(gaps, gap)
			if f.Elected > 0 && gap > f.Elected-f.At+afterElection {
				late++
			}
		}
	}
	slices.Sort(gaps)
	return gaps, late
}

// afterElection is how long after an election objects may still be silent.
const afterElection = time.Second

// longest returns the longest gap between ordered times that touches the span from..to. The times
// before the first and after the last one are gaps, too.
func longest(times []time.Duration, from, to, last time.Duration) time.Duration {
	var gap, before time.Duration
	for _, at := range append(slices.Clone(times), last) {
		if at > from && before < to {
			gap = max(gap, at-before)
		}
		before = at
	}
	return gap
}

// slow is the longest time that a client should wait for an object that has an owner.
const slow = 900 * time.Millisecond

// Slow counts the operations at objects that a fault hit, begun after another host had taken over
// and before the fault was repaired, and how many of them were slow.
func Slow(records []Record) (took, all int) {
	ops := make(map[string][]*Op)
	for _, r := range records {
		if r.Op != nil {
			ops[r.Op.Object] = append(ops[r.Op.Object], r.Op)
		}
	}
	for _, f := range faults(records) {
		for _, object := range f.Objects {
			since := takenOver(ops[object], f)
			for _, o := range ops[object] {
				if since > 0 && o.Start > since && o.Start < f.Healed {
					all++
					if o.End-o.Start > slow {
						took++
					}
				}
			}
		}
	}
	return took, all
}

// takenOver returns when a host that is no victim first answered during the fault; 0: never, or the
// object had no victim as owner.
func takenOver(ops []*Op, f *Fault) time.Duration {
	var first, last time.Duration
	owner := ""
	for _, o := range ops {
		if o.Outcome == OK && o.End <= f.At && o.End > last {
			owner, last = o.Owner, o.End
		}
	}
	if !slices.Contains(f.Victims, owner) {
		return 0
	}
	for _, o := range ops {
		by := o.Outcome == OK && o.Start > f.At && !slices.Contains(f.Victims, o.Owner)
		if by && (first == 0 || o.End < first) {
			first = o.End
		}
	}
	return first
}

// Quantile returns the value below which a share of sorted values lies; 0 if there are none.
func Quantile(values []time.Duration, share float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	return values[min(int(share*float64(len(values))), len(values)-1)]
}

// Alarms is the result for alarms. All numbers but the first are faults.
type Alarms struct {
	Set   int           `json:"set"`
	Lost  int           `json:"lost"`  // never ran
	Early int           `json:"early"` // ran before they were due
	Twice int           `json:"twice"` // committed runs above the number of alarms
	Late  time.Duration `json:"late"`  // the greatest delay

	Flaws []string `json:"flaws,omitempty"`
}

// CheckAlarms judges the alarms.
func CheckAlarms(records []Record) Alarms {
	var a Alarms
	for _, r := range records {
		if r.Alarm == nil {
			continue
		}
		a.Set++
		switch alarm := r.Alarm; {
		case alarm.Ran == 0:
			a.Lost++
			a.Flaws = append(a.Flaws, fmt.Sprintf("%s: alarm %d, set at %v, never ran", alarm.Object, alarm.N, alarm.Set))
		case alarm.Ran < alarm.Due:
			a.Early++
			a.Flaws = append(a.Flaws, fmt.Sprintf("%s: alarm %d ran at %v, due at %v", alarm.Object, alarm.N, alarm.Ran, alarm.Due))
		default:
			a.Late = max(a.Late, alarm.Ran-alarm.Due)
		}
		if more := r.Alarm.Runs - r.Alarm.N; r.Alarm.Ran > 0 && more > a.Twice {
			a.Twice = more
			a.Flaws = append(a.Flaws, fmt.Sprintf("%s: %d runs were committed after alarm %d", r.Alarm.Object, r.Alarm.Runs, r.Alarm.N))
		}
	}
	return a
}
