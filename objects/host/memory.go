package host

import (
	"context"
	"net/http"
	"time"

	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host/internal/asks"
	"holdfast/objects/host/internal/record"
	"holdfast/objects/host/internal/state"
	"holdfast/objects/internal/engine"
	"holdfast/objects/internal/tells"
)

// term is what a claim has made the object here. It does not change while the object is served.
type term struct {
	epoch uint64
	token uint64    // of the claim
	since time.Time // when the object was served first under it
	first bool      // it was claimed when nothing was left of any owner before, no marker of a removal either
}

// young reports whether copies of requests may still arrive that were sent to an owner
// before this one. The marker of a removal stays for as long as a copy lives.
func (t *term) young(now time.Time) bool { return !t.first && now.Sub(t.since) < wire.CopyLife }

// copiesUntil is until when copies of messages may arrive that another owner of the object has
// sent, or another connection of ours. line is when our connection was made.
func (t *term) copiesUntil(line time.Time) time.Time {
	until := line.Add(wire.CopyLife)
	if own := t.since.Add(wire.CopyLife); !t.first && own.After(until) {
		until = own
	}
	return until
}

// memory is an object as events see it: its state, its alarm, the answers that it remembers,
// and the instance that handles events. Only its methods use its fields. The event loop owns
// memory. What a record is made of is changed with object.mu held; so is the instance.
type memory struct {
	*state.State
	instance *engine.Instance // nil while the object sleeps
	alarm    *engine.Alarm    // nil: none
	answers  answers
	kept     *asks.Callee // what objects have asked this one; nil: nothing
}

// newMemory is what the object is served from: a record, its state, and the answers that the
// state has.
func newMemory(rec *record.Record, opened *state.State, entries []entry, now time.Time) memory {
	kept := answers{kept: rec.Answers, entries: newStoredAnswers(entries)}
	kept.adopted(now)
	return memory{State: opened, alarm: alarmPointer(rec.Alarm), answers: kept, kept: keptOf(rec)}
}

// keptOf is what a record keeps of what objects have asked.
func keptOf(rec *record.Record) *asks.Callee {
	if len(rec.Kept)+len(rec.Fences) == 0 {
		return nil
	}
	c := new(asks.Callee)
	for _, k := range rec.Kept {
		c.Kept = append(c.Kept, asks.Kept{ID: asks.ID(k.ID), Caller: k.Caller, Token: k.Token, N: k.N, Until: time.UnixMilli(k.Until), Answer: k.Answer})
	}
	for _, f := range rec.Fences {
		c.Fences = append(c.Fences, asks.Fence{Caller: f.Caller, Token: f.Token, Until: time.UnixMilli(f.Until)})
	}
	return c
}

// record is what the record is to have of memory. parts is what of the state is in parts; nil:
// nothing. A copy of a gateway's request may arrive for so long.
func (m *memory) record(parts *state.Head, now time.Time, copies time.Duration) record.Record {
	rec := record.Record{Alarm: m.alarmSet(), Answers: m.answers.list(now, copies), Data: m.Journal(), Parts: parts}
	if m.kept == nil {
		return rec
	}
	kept, fences := m.kept.List(now)
	for _, k := range kept {
		rec.Kept = append(rec.Kept, record.KeptAsk{ID: k.ID[:], Caller: k.Caller, Token: k.Token, N: k.N, Until: k.Until.UnixMilli(), Answer: k.Answer})
	}
	for _, f := range fences {
		rec.Fences = append(rec.Fences, record.Fence{Caller: f.Caller, Token: f.Token, Until: f.Until.UnixMilli()})
	}
	return rec
}

// cut is what of the object is in parts, nil for nothing, and what is to be in the store before
// a put.
func (m *memory) cut(p state.Put, home state.Home) (*state.Head, *state.Before) {
	p.Head = len(m.answers.entries.list()) > 0 // hosts that know no heads do not know where the answers are
	return m.Cut(p, home)
}

// data is the state as an instance reads it.
func (m *memory) data() engine.Stored { return m.State }

// handler is the instance that handles events; nil while the object sleeps.
func (m *memory) handler() *engine.Instance { return m.instance }

// setHandler has an instance handle events from now on, closes the one before, and returns it.
func (m *memory) setHandler(i *engine.Instance) (before *engine.Instance) {
	if before = m.instance; before != i {
		before.Close()
	}
	m.instance = i
	return before
}

// alarmSet is the object's alarm; zero: none.
func (m *memory) alarmSet() engine.Alarm { return alarmValue(m.alarm) }

// setAlarm changes the alarm.
func (m *memory) setAlarm(a engine.Alarm) { m.alarm = numbered(a) }

// alarmDue reports whether the alarm is to run now.
func (m *memory) alarmDue(now time.Time) bool {
	due, ok := m.alarmSet().Next()
	return ok && !now.Before(due)
}

// repeated is what a request is that may have been sent before.
type repeated uint8

const (
	fresh     repeated = iota // it was not handled before: its event runs
	stale                     // it is a late duplicate: nobody waits for this number any more
	elsewhere                 // another owner got a copy of it, and may have run its event
	answered                  // it was handled before, or is refused: there is an answer
)

// repeats decides about a request that has a number: whether its event runs, and what answers
// it if not. fenced reports that nothing may leave before the next commit.
func (m *memory) repeats(req *wire.Request, t *term, now time.Time) (what repeated, reply *wire.Reply, fenced bool) {
	mine := req.For == t.token || req.For == 0 && !t.young(now)
	if req.Asked != nil {
		return m.repeatsAsk(req.Asked, mine, now)
	}
	if m.answers.noteLow(req, now) > req.N {
		return stale, nil, false
	}
	kept, known := m.answers.find(req)
	switch {
	case !known && mine:
		return fresh, nil, false
	case !known:
		return elsewhere, nil, false
	}
	return answered, keptReply(kept, req), false
}

// keptReply is the answer of before, as the request gets it.
func keptReply(kept record.Kept, req *wire.Request) *wire.Reply {
	answer, err := kept.Answer()
	switch {
	case err != nil:
		return damagedReply()
	case answer.Key != "" && answer.Sum != sum(req):
		return &wire.Reply{Code: objects.Conflict, Message: "this idempotency key was used for another request", Kept: true}
	case len(answer.Reply) == 0:
		return &wire.Reply{Code: objects.Done, Message: "this was done before; its answer was too large to keep", Kept: true}
	}
	return decodeKept(answer.Reply)
}

// decodeKept is an answer that was kept, encoded.
func decodeKept(data []byte) *wire.Reply {
	reply := new(wire.Reply)
	if wire.Decode(data, reply) != nil {
		return damagedReply()
	}
	reply.Kept = true
	return reply
}

func damagedReply() *wire.Reply {
	return &wire.Reply{Code: objects.Internal, Message: "the answer that was kept is damaged", Kept: true}
}

// repeatsAsk is repeats for what another object asks. mine: its copy was sent to this owner.
func (m *memory) repeatsAsk(a *wire.Asked, mine bool, now time.Time) (repeated, *wire.Reply, bool) {
	verdict, answer, fenced := m.callee().Receive(questionOf(a), now)
	switch {
	case verdict == asks.Answer:
		return answered, decodeKept(answer), fenced
	case verdict == asks.Moved || !mine:
		return elsewhere, nil, fenced
	case verdict == asks.Full:
		return answered, &wire.Reply{Code: objects.Overloaded, Message: "too many answers are kept for objects that have asked"}, fenced
	}
	return fresh, nil, fenced
}

// callee is what objects have asked this one, to be added to.
func (m *memory) callee() *asks.Callee {
	if m.kept == nil {
		m.kept = new(asks.Callee)
	}
	return m.kept
}

// What is kept instead of an answer that cannot be given twice: a socket cannot be opened by
// hearsay, nor a stream be read again.
var (
	lostOpening = wire.Encode(&wire.Reply{Code: objects.Unknown, Message: "the object's host was lost as the socket opened; connect again"})
	lostStream  = wire.Encode(&wire.Reply{Code: objects.Done, Message: "this was done before; its answer was a stream, which is not kept"})
)

// remember keeps the answer of a request that wrote, so that asking again, here or at the next
// owner, does not do it again. wide reports whether records may have parts.
func (m *memory) remember(req *wire.Request, reply *wire.Reply, now time.Time, wide func() bool) {
	if req == nil || req.N == 0 || reply == nil || !answersOnce(req.Kind) {
		return
	}
	reply.Kept = true
	if req.Asked != nil {
		m.callee().Keep(questionOf(req.Asked), wire.Encode(reply), now)
		return
	}
	answer := record.Answer{Gateway: req.Gateway, N: req.N}
	if req.Key != "" {
		answer = record.Answer{Key: req.Key, Sum: sum(req), At: now.UTC().Truncate(time.Second)}
	}
	switch {
	case reply.Status == http.StatusSwitchingProtocols:
		answer.Reply = lostOpening
	case reply.Stream != nil:
		answer.Reply = lostStream
	default:
		kept := *reply
		kept.Woke = false
		if data := wire.Encode(&kept); len(data) <= maxKept {
			answer.Reply = data
		}
	}
	m.answers.add(answer, now)
	if answer.Key != "" {
		m.tidyAnswers(now, wide)
	}
}

// tidyAnswers moves answers to clients' keys to the state if they are many, and removes those
// that are too old.
func (m *memory) tidyAnswers(now time.Time, wide func() bool) {
	m.Apply(m.answers.writes(now, wide))
}

// hasAnswers reports whether an answer to a gateway's request, or to a client's key, is kept.
func (m *memory) hasAnswers() bool { return len(m.answers.kept) > 0 }

// settle forgets answers to an object that its owner with this token has settled. The next put
// removes them from the record.
func (m *memory) settle(s *wire.SettledAsks) {
	if m.kept == nil {
		return
	}
	settled := asks.Settled{Low: s.Low}
	for _, n := range s.Open {
		settled.Open = append(settled.Open, n.N)
	}
	m.kept.Settled(s.Caller, s.Token, settled)
}

// storesAnything reports whether the object has stored something of its author's.
func (m *memory) storesAnything(ctx context.Context) (bool, error) {
	for scan := m.Scan(ctx, "", engine.LastKey, false); ; {
		w, ok, err := scan.Next()
		if !ok || err != nil || !engine.Stays(w.Key) {
			return ok, err
		}
	}
}

// forgetMark drops the mark of a sender that does not need it any more.
func (m *memory) forgetMark(f wire.ForgetBody) {
	at := tells.MarkKey(f.From)
	known, marked := m.Reserved().Get(at)
	mark, err := engine.DecodeCount(known)
	if marked && err == nil && tells.MayDrop(mark, f.Born, f.Last) {
		m.Apply([]engine.Write{{Key: at}})
	}
}

// needsRoom reports whether the store needs room for what an event has written: what makes the
// object smaller goes on, and so does what nobody can send again, alarms and the ends of
// sockets.
func (m *memory) needsRoom(kind wire.Kind, out engine.Outcome) bool {
	switch kind {
	case wire.Call, wire.Fetch, wire.Message, wire.Told:
		sets := out.Alarm != nil && *out.Alarm != engine.Alarm{}
		return out.Changed() && (sets || m.SizeAfter(out.Writes) >= m.Size())
	}
	return false
}
