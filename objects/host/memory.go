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
	token uint64  // of the claim
	since instant // when the object was served first under it
	first bool    // nothing was left of any owner before, not even the marker of a removal
}

// young reports whether copies of requests may still arrive that were sent to an owner
// before this one. The marker of a removal stays for as long as a copy lives.
func (t *term) young(now time.Time) bool { return !t.first && now.Sub(t.since.time()) < wire.CopyLife }

// copiesUntil returns until when copies of messages may arrive that another owner of the object, or an earlier
// connection of ours, has sent. connected is when our connection was made.
func (t *term) copiesUntil(connected time.Time) time.Time {
	until := connected.Add(wire.CopyLife)
	if own := t.since.time().Add(wire.CopyLife); !t.first && own.After(until) {
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
	kept     *asks.Callee // answers kept for objects that asked this one; nil: none
}

// newMemory makes an object's memory from a record, its state, and the answers that the state has.
func newMemory(rec *record.Record, opened *state.State, entries []entry, now time.Time) memory {
	kept := answers{kept: rec.Answers, entries: newStoredAnswers(entries)}
	kept.adopted(now)
	return memory{State: opened, alarm: alarmPointer(rec.Alarm), answers: kept, kept: keptOf(rec)}
}

// keptOf returns the answers that a record keeps for objects that asked.
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

// record returns the record of what is in memory. parts are the state's parts; nil: none. copies is for how long a copy
// of a gateway's request may still arrive.
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

// cut returns the parts for the record, nil for none, and what must be in the store before a put.
func (m *memory) cut(p state.Put, home state.Home) (*state.Head, *state.Before) {
	p.Head = len(m.answers.entries.list()) > 0 // hosts that know no heads cannot find the answers
	return m.Cut(p, home)
}

// data returns the state as an instance reads it.
func (m *memory) data() engine.Stored { return m.State }

// handler returns the instance that handles events; nil while the object sleeps.
func (m *memory) handler() *engine.Instance { return m.instance }

// setHandler replaces the instance that handles events, closes the one before, and returns that.
func (m *memory) setHandler(i *engine.Instance) (before *engine.Instance) {
	if before = m.instance; before != i {
		before.Close()
	}
	m.instance = i
	return before
}

// alarmSet returns the object's alarm; zero: none.
func (m *memory) alarmSet() engine.Alarm { return alarmValue(m.alarm) }

// setAlarm changes the alarm.
func (m *memory) setAlarm(a engine.Alarm) { m.alarm = numbered(a) }

// alarmDue reports whether the alarm is to run now.
func (m *memory) alarmDue(now time.Time) bool {
	due, ok := m.alarmSet().Next()
	return ok && !now.Before(due)
}

// repeated says whether a request was handled before.
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
	if !m.answers.noteLow(req, now) {
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

// keptReply returns a kept answer as the reply to a request that was sent again.
func keptReply(kept record.Kept, req *wire.Request) *wire.Reply {
	answer, err := kept.Answer()
	switch {
	case err != nil:
		return damagedReply()
	case answer.Key != "" && answer.Sum != requestDigest(req):
		return &wire.Reply{Code: objects.Conflict, Message: "this idempotency key was used for another request", Kept: true}
	case len(answer.Reply) == 0:
		return &wire.Reply{Code: objects.Done, Message: "this was done before; its answer was too large to keep", Kept: true}
	}
	return decodeKept(answer.Reply)
}

// decodeKept decodes a kept answer.
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

// repeatsAsk is repeats for an ask of another object. mine: the copy was sent to this owner.
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

// callee returns the answers for other objects, made if there are none yet.
func (m *memory) callee() *asks.Callee {
	if m.kept == nil {
		m.kept = new(asks.Callee)
	}
	return m.kept
}

// These are kept in place of answers that cannot be given twice: the opening of a socket, and a stream.
var (
	lostOpening = wire.Encode(&wire.Reply{Code: objects.Unknown, Message: "the object's host was lost as the socket opened; connect again"})
	lostStream  = wire.Encode(&wire.Reply{Code: objects.Done, Message: "this was done before; its answer was a stream, which is not kept"})
)

// remember keeps the answer of a request that wrote, so that the same request, sent again here or to the next owner,
// does not run again. wide reports whether records may have parts.
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
		answer = record.Answer{Key: req.Key, Sum: requestDigest(req), At: now.UTC().Truncate(time.Second)}
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

// forgetMark drops the mark of a sender that no longer needs it.
func (m *memory) forgetMark(f wire.ForgetBody) {
	at := tells.MarkKey(f.From)
	known, marked := m.Reserved().Get(at)
	mark, err := engine.DecodeCount(known)
	if marked && err == nil && tells.MayDrop(mark, f.Born, f.Last) {
		m.Apply([]engine.Write{{Key: at}})
	}
}

// needsRoom reports whether an event's writes need room in the store. Events that make the object smaller need none,
// nor do alarms and the ends of sockets, which nobody can send again.
func (m *memory) needsRoom(kind wire.Kind, out engine.Outcome) bool {
	switch kind {
	case wire.Call, wire.Fetch, wire.Message, wire.Told:
		sets := out.Alarm != nil && *out.Alarm != engine.Alarm{}
		return out.Changed() && (sets || m.SizeAfter(out.Writes) >= m.Size())
	}
	return false
}
