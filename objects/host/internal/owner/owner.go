// Package owner decides who owns an object and what became of a commit. It is
// pure: Step takes a state and an event and returns the next state and what must
// be done, in order. The host does it; a test explores every interleaving of two
// hosts, late and lost messages, crashes, and lapsed leases.
//
// An object is one record. A writer expects the revision that it knows
// (compare-and-set), so of two writers one loses. A claim, a commit and a
// release are the same thing, a put of the whole record:
//
//	        Want             not live            landed
//	Free ────────▶ Reading ───────────▶ Claiming ───────▶ Serving ◀─┐
//	  ▲               │ live: Refuse        │ somebody else's   │  └─┘ Dirty: put, landed: Committed
//	  └───────────────┴─────────────────────┘                   │
//	  ▲                    the record is not ours: Stop         │
//	  └─────────────────────────────────────────────────────────┘
//
// The fate of a put is never guessed. A refusal (Stale) and a silence (Doubt)
// are both answered by reading the record: if it is the one that was put, it has
// landed, perhaps long ago; if it is still the one before, the same put is sent
// again, which is safe because only one of the two can land; if it is neither, the
// object is somebody else's, and whether the put landed in between is for the new
// owner to say, whose record remembers the requests it covered.
//
// A store that is full refuses a put for good (Refused). If it was the only copy,
// nothing happened. The refusal of one copy says nothing about another that is still
// under way, so the fate of a put that was sent again is for the next claim to settle.
//
// A claim is stricter: only its own acknowledgement begins a term. A reading that
// shows it landed may be an old one, of a term that this incarnation has ended
// since, so the claim is made once more on top of it; only the latest can be
// built upon.
//
// A lease that lapsed and became valid again proves nothing: somebody may have claimed
// the object in between. Only a put that was made since then, and has landed, proves that
// it is still ours (Changed has one made), and refuses every claim that is on its way.
package owner

// Phase is the state of an object at a host.
type Phase uint8

// The phases.
const (
	Free      Phase = iota // not ours
	Reading                // reading the record in order to claim
	Claiming               // the claim is under way
	Serving                // ours: events run
	Releasing              // the last put, which gives it up, is under way
)

// Head is the part of a record that decides about ownership.
type Head struct {
	Epoch  uint64 // hand-overs so far
	Owner  string // incarnation of the owner, "" for none
	Commit uint64 // puts so far; with Owner it names one put
}

// Found is a record as it was read; the zero Found means that there is none.
type Found struct {
	Head
	Revision uint64 // of the bucket; also that of a deletion
}

// Put is a write of the record: it lands only if the record's revision is Expect.
type Put struct {
	Head
	Expect uint64
}

// State is a host's knowledge of one object. The zero State is Free.
type State struct {
	Head            // as of the last put known to have landed
	Revision uint64 // that put's
	Token    uint64 // the claim's revision: grows with every claim, for as long as the bucket lives
	Pending  Put    // under way; its zero value is none
	Phase    Phase
	Resent   bool // more than one copy of Pending was sent: an earlier one may still land
	Dirty    bool // another put is needed
	Leaving  bool // release as soon as nothing is pending
}

func (s State) pending() bool { return s.Pending != Put{} }

// Event is what happens to an object at a host.
type Event interface{ event() }

// The events.
type (
	// Want: somebody needs an owner.
	Want struct{}
	// Read: the record, as the store has answered. Live reports whether its owner
	// may still trust its lease; it is the reader's judgement at this moment.
	Read struct {
		Found
		Live bool
	}
	// Landed: this put was acknowledged with this revision. An answer belongs to the
	// State that has sent the put: it is not for a later one that began as Free.
	Landed struct {
		Put
		Revision uint64
	}
	// Stale: the store refused the put because the record has another revision.
	Stale struct{}
	// Doubt: no answer, a broken connection, a refusal that tells nothing, a failed read.
	Doubt struct{}
	// Refused: the store does not take this put: it is full, or the put is too large.
	// This copy has changed nothing.
	Refused struct{ Put }
	// Unreadable: the record cannot be read. It is not for us to serve or to put over.
	Unreadable struct{}
	// Barred: nobody may claim the object now.
	Barred struct{}
	// Changed: events have changed the object since the last put was made.
	Changed struct{}
	// Leave: give the object up, in good order.
	Leave struct{}
	// Lapsed: the lease is lost.
	Lapsed struct{}
)

func (Want) event()    {}
func (Read) event()    {}
func (Landed) event()  {}
func (Stale) event()   {}
func (Doubt) event()   {}
func (Refused) event() {}
func (Changed) event() {}
func (Leave) event()   {}
func (Lapsed) event()  {}

func (Unreadable) event() {}
func (Barred) event()     {}

// Do is something the host must do.
type Do interface{ do() }

// The obligations.
type (
	// ReadRecord: read the record from the leader, answer with Read or Doubt.
	ReadRecord struct{}
	// Send: send this put, answer with Landed, Stale or Doubt. A put that is sent
	// again carries the same bytes; the release of a claim that came to no Serve
	// carries what the claim did.
	Send struct{ Put }
	// Serve: the object is ours as of this record; start running events.
	Serve struct{ Found }
	// Refuse: the claim failed; Owner is alive.
	Refuse struct{ Owner string }
	// Committed: all events of this commit are durable; let their outputs go.
	Committed struct{ Commit uint64 }
	// Stop: the object is not ours any more. No held output may leave. Events that no put
	// covered did not happen; events of the pending put are Unsure, and only the
	// next owner's record can tell.
	Stop struct {
		Why    Reason
		Unsure bool
	}
)

func (ReadRecord) do() {}
func (Send) do()       {}
func (Serve) do()      {}
func (Refuse) do()     {}
func (Committed) do()  {}
func (Stop) do()       {}

// Reason is the reason for which an object is not ours any more.
type Reason string

// The reasons.
const (
	Released    Reason = "released"       // given up in good order
	Fenced      Reason = "fenced"         // the record is somebody else's
	Expired     Reason = "lease lost"     // our lease cannot be trusted
	Yielded     Reason = "claim given up" // left before the claim had landed
	Rejected    Reason = "store refused"  // the store takes no such put
	Damaged     Reason = "damaged"        // the record cannot be read
	Quarantined Reason = "in quarantine"  // nobody may claim it now
)

// Step decides. me is the incarnation that asks. An event that does not fit the
// phase (an answer that comes too late) changes nothing.
func Step(me string, s State, e Event) (State, []Do) {
	switch e := e.(type) {
	case Want:
		if s.Phase == Free {
			return State{Phase: Reading}, []Do{ReadRecord{}}
		}
	case Read:
		return read(me, s, e)
	case Landed:
		if s.pending() && s.Pending == e.Put {
			return landed(me, s, e.Revision)
		}
	case Stale:
		if s.pending() {
			return s, []Do{ReadRecord{}}
		}
	case Doubt:
		if s.pending() || s.Phase == Reading {
			return s, []Do{ReadRecord{}}
		}
	case Refused:
		if s.pending() && s.Pending == e.Put {
			return State{}, []Do{Stop{Rejected, s.Resent}}
		}
	case Unreadable:
		if s.pending() || s.Phase == Reading {
			return State{}, []Do{Stop{Damaged, s.pending()}}
		}
	case Barred:
		if s.Phase == Reading {
			return State{}, []Do{Stop{Quarantined, false}}
		}
	case Changed:
		if s.Phase == Serving {
			s.Dirty = true
			return next(me, s, nil)
		}
	case Leave:
		return leave(me, s)
	case Lapsed:
		if s.Phase != Free {
			return State{}, []Do{Stop{Expired, s.pending()}}
		}
	}
	return s, nil
}

func read(me string, s State, r Read) (State, []Do) {
	switch {
	case s.Phase == Reading:
		return claim(me, r)
	case !s.pending():
		return s, nil // settled meanwhile
	case r.Head == s.Pending.Head && r.Revision > s.Pending.Expect && (s.Phase != Claiming || s.Leaving):
		return landed(me, s, r.Revision)
	case r.Revision == s.Pending.Expect:
		s.Resent = true
		return s, []Do{Send{s.Pending}} // as it was before: this put, or its twin, is still to land
	case r.Revision < s.Pending.Expect && r.Revision > 0:
		return s, []Do{ReadRecord{}} // older than what we know: a stale answer
	case s.Phase == Claiming && s.Leaving:
		return State{}, []Do{Stop{Yielded, false}}
	case s.Phase == Claiming:
		return claim(me, r) // ours, another's, or gone with its tombstone: claim on top of it
	case s.Phase == Releasing:
		return State{}, []Do{Stop{Released, false}} // removed, or given up and taken since
	default:
		return State{}, []Do{Stop{Fenced, true}} // somebody else's, or gone: not ours to bring back
	}
}

// claim decides what to do about a record that was just read. It is put back with
// the next epoch: a stale reading only loses the race, so what an owner starts
// from is by construction the latest.
func claim(me string, r Read) (State, []Do) {
	if r.Owner != "" && r.Owner != me && r.Live {
		return State{}, []Do{Refuse{r.Owner}}
	}
	put := Put{Head{r.Epoch + 1, me, r.Commit + 1}, r.Revision}
	return State{Phase: Claiming, Head: r.Head, Revision: r.Revision, Pending: put}, []Do{Send{put}}
}

func landed(me string, s State, revision uint64) (State, []Do) {
	put := s.Pending
	s.Head, s.Revision, s.Pending, s.Resent = put.Head, revision, Put{}, false
	switch s.Phase {
	case Claiming:
		if s.Leaving {
			return next(me, State{Phase: Serving, Head: s.Head, Revision: revision, Token: revision, Leaving: true}, nil)
		}
		s.Phase, s.Token = Serving, revision
		return s, []Do{Serve{Found{s.Head, revision}}}
	case Releasing:
		return State{}, []Do{Stop{Released, false}}
	default:
		return next(me, s, []Do{Committed{put.Commit}})
	}
}

// next sends the next put, one at a time.
func next(me string, s State, do []Do) (State, []Do) {
	switch {
	case s.pending():
		return s, do
	case s.Dirty:
		s.Dirty = false
		s.Pending = Put{Head{s.Epoch, me, s.Commit + 1}, s.Revision}
	case s.Leaving:
		s.Phase = Releasing
		s.Pending = Put{Head{s.Epoch, "", s.Commit + 1}, s.Revision}
	default:
		return s, do
	}
	return s, append(do, Send{s.Pending})
}

func leave(me string, s State) (State, []Do) {
	switch s.Phase {
	case Reading:
		return State{}, []Do{Stop{Yielded, false}}
	case Claiming, Serving:
		s.Leaving = true
		if s.Phase == Claiming {
			return s, nil // a claim under way lands first, then is released
		}
		return next(me, s, nil)
	default:
		return s, nil
	}
}
