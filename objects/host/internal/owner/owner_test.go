package owner_test

import (
	"reflect"
	"testing"

	"holdfast/objects/host/internal/owner"
)

const me, rival = "me", "rival"

// Heads, puts and states as they follow each other in most of the cases below.
var (
	theirs  = owner.Head{Epoch: 4, Owner: rival, Commit: 9}
	claimed = owner.Head{Epoch: 5, Owner: me, Commit: 10}
	commit  = owner.Head{Epoch: 5, Owner: me, Commit: 11}
	release = owner.Head{Epoch: 5, Owner: "", Commit: 11}

	claimPut   = owner.Put{Head: claimed, Expect: 70}
	commitPut  = owner.Put{Head: commit, Expect: 71}
	releasePut = owner.Put{Head: release, Expect: 71}

	free       = owner.State{}
	reading    = owner.State{Phase: owner.Reading}
	claiming   = owner.State{Phase: owner.Claiming, Head: theirs, Revision: 70, Pending: claimPut}
	serving    = owner.State{Phase: owner.Serving, Head: claimed, Revision: 71, Token: 71}
	committing = with(serving, func(s *owner.State) { s.Pending = commitPut })
	releasing  = owner.State{Phase: owner.Releasing, Head: claimed, Revision: 71, Token: 71, Pending: releasePut, Leaving: true}
	phases     = []owner.State{free, reading, claiming, serving, committing, releasing}
)

func with(s owner.State, change func(*owner.State)) owner.State {
	change(&s)
	return s
}

func leaving(s owner.State) owner.State { return with(s, func(s *owner.State) { s.Leaving = true }) }

func resent(s owner.State) owner.State { return with(s, func(s *owner.State) { s.Resent = true }) }

func dirty(s owner.State) owner.State { return with(s, func(s *owner.State) { s.Dirty = true }) }

func found(h owner.Head, revision uint64, live bool) owner.Read {
	return owner.Read{Found: owner.Found{Head: h, Revision: revision}, Live: live}
}

func TestStep(t *testing.T) {
	type do = []owner.Do
	send := func(h owner.Head, expect uint64) owner.Do {
		return owner.Send{Put: owner.Put{Head: h, Expect: expect}}
	}
	claimOf := func(from owner.Head, revision uint64) owner.State {
		put := owner.Put{Head: owner.Head{Epoch: from.Epoch + 1, Owner: me, Commit: from.Commit + 1}, Expect: revision}
		return owner.State{Phase: owner.Claiming, Head: from, Revision: revision, Pending: put}
	}
	committed := owner.State{Phase: owner.Serving, Head: commit, Revision: 72, Token: 71}
	mine := owner.Head{Epoch: 6, Owner: me, Commit: 12}

	for _, c := range []struct {
		name string
		from owner.State
		e    owner.Event
		to   owner.State
		do   do
	}{
		{"an owner is wanted", free, owner.Want{}, reading, do{owner.ReadRecord{}}},

		{"nobody has it", reading, found(owner.Head{}, 0, false), claimOf(owner.Head{}, 0), do{send(owner.Head{Epoch: 1, Owner: me, Commit: 1}, 0)}},
		{"it was removed", reading, found(owner.Head{}, 33, false), claimOf(owner.Head{}, 33), do{send(owner.Head{Epoch: 1, Owner: me, Commit: 1}, 33)}},
		{"it was released", reading, found(owner.Head{Epoch: 4, Commit: 9}, 70, false), claimOf(owner.Head{Epoch: 4, Commit: 9}, 70), do{send(claimed, 70)}},
		{"its owner is dead", reading, found(theirs, 70, false), claiming, do{send(claimed, 70)}},
		{"its owner is alive", reading, found(theirs, 70, true), free, do{owner.Refuse{Owner: rival}}},
		{"its owner is myself", reading, found(claimed, 71, true), claimOf(claimed, 71), do{send(owner.Head{Epoch: 6, Owner: me, Commit: 11}, 71)}},
		{"it could not be read", reading, owner.Doubt{}, reading, do{owner.ReadRecord{}}},

		{"the claim is acknowledged", claiming, owner.Landed{Put: claimPut, Revision: 71}, serving, do{owner.Serve{Found: owner.Found{Head: claimed, Revision: 71}}}},
		{"the claim is refused", claiming, owner.Stale{}, claiming, do{owner.ReadRecord{}}},
		{"the claim is in doubt", claiming, owner.Doubt{}, claiming, do{owner.ReadRecord{}}},
		{"the claim has not landed yet", claiming, found(theirs, 70, false), resent(claiming), do{send(claimed, 70)}},
		{"the claim seems to have landed", claiming, found(claimed, 71, false), claimOf(claimed, 71), do{send(owner.Head{Epoch: 6, Owner: me, Commit: 11}, 71)}},
		{"an old reading while claiming", claiming, found(owner.Head{Epoch: 4, Owner: rival, Commit: 8}, 69, false), claiming, do{owner.ReadRecord{}}},
		{"another claim has won", claiming, found(owner.Head{Epoch: 5, Owner: rival, Commit: 10}, 71, true), free, do{owner.Refuse{Owner: rival}}},
		{"another claim has won and died", claiming, found(owner.Head{Epoch: 5, Owner: rival, Commit: 10}, 71, false), claimOf(owner.Head{Epoch: 5, Owner: rival, Commit: 10}, 71), do{send(owner.Head{Epoch: 6, Owner: me, Commit: 11}, 71)}},
		{"the tombstone has expired meanwhile", claiming, found(owner.Head{}, 0, false), claimOf(owner.Head{}, 0), do{send(owner.Head{Epoch: 1, Owner: me, Commit: 1}, 0)}},

		{"a commit", serving, owner.Changed{}, committing, do{send(commit, 71)}},
		{"changes while a commit is under way", committing, owner.Changed{}, dirty(committing), nil},
		{"the commit is acknowledged", committing, owner.Landed{Put: commitPut, Revision: 72}, committed, do{owner.Committed{Commit: 11}}},
		{"and more has changed", dirty(committing), owner.Landed{Put: commitPut, Revision: 72},
			with(committed, func(s *owner.State) {
				s.Pending = owner.Put{Head: owner.Head{Epoch: 5, Owner: me, Commit: 12}, Expect: 72}
			}),
			do{owner.Committed{Commit: 11}, send(owner.Head{Epoch: 5, Owner: me, Commit: 12}, 72)}},
		{"the commit is refused", committing, owner.Stale{}, committing, do{owner.ReadRecord{}}},
		{"the commit is in doubt", committing, owner.Doubt{}, committing, do{owner.ReadRecord{}}},
		{"the commit has landed", committing, found(commit, 72, false), committed, do{owner.Committed{Commit: 11}}},
		{"the commit has not landed yet", committing, found(claimed, 71, false), resent(committing), do{send(commit, 71)}},
		{"a commit that was sent again has landed", resent(committing), found(commit, 72, false), committed, do{owner.Committed{Commit: 11}}},
		{"the store takes no such commit", committing, owner.Refused{Put: commitPut}, free, do{owner.Stop{Why: owner.Rejected}}},
		{"the store takes no such commit, and more has changed", dirty(committing), owner.Refused{Put: commitPut}, free, do{owner.Stop{Why: owner.Rejected}}},
		{"the store takes no second copy of the commit", resent(committing), owner.Refused{Put: commitPut}, free, do{owner.Stop{Why: owner.Rejected, Unsure: true}}},
		{"the store takes no claim", claiming, owner.Refused{Put: claimPut}, free, do{owner.Stop{Why: owner.Rejected}}},
		{"the store takes no release", releasing, owner.Refused{Put: releasePut}, free, do{owner.Stop{Why: owner.Rejected}}},
		{"the record cannot be read", reading, owner.Unreadable{}, free, do{owner.Stop{Why: owner.Damaged}}},
		{"the record cannot be read any more", committing, owner.Unreadable{}, free, do{owner.Stop{Why: owner.Damaged, Unsure: true}}},
		{"nobody may claim the object now", reading, owner.Barred{}, free, do{owner.Stop{Why: owner.Quarantined}}},
		{"an old reading while serving", committing, found(theirs, 70, false), committing, do{owner.ReadRecord{}}},
		{"the record is gone while serving", committing, found(owner.Head{}, 0, false), free, do{owner.Stop{Why: owner.Fenced, Unsure: true}}},
		{"somebody else has it", committing, found(owner.Head{Epoch: 6, Owner: rival, Commit: 11}, 72, true), free, do{owner.Stop{Why: owner.Fenced, Unsure: true}}},
		{"somebody has had it", committing, found(owner.Head{Epoch: 6, Commit: 13}, 74, false), free, do{owner.Stop{Why: owner.Fenced, Unsure: true}}},

		{"let go of while reading", reading, owner.Leave{}, free, do{owner.Stop{Why: owner.Yielded}}},
		{"let go of while claiming", claiming, owner.Leave{}, leaving(claiming), nil},
		{"let go of, and the claim lands", leaving(claiming), owner.Landed{Put: claimPut, Revision: 71}, releasing, do{send(release, 71)}},
		{"let go of, and the claim has landed", leaving(claiming), found(claimed, 71, false), releasing, do{send(release, 71)}},
		{"let go of, and the claim is still to land", leaving(claiming), found(theirs, 70, false), resent(leaving(claiming)), do{send(claimed, 70)}},
		{"let go of, and another claim has won", leaving(claiming), found(owner.Head{Epoch: 5, Owner: rival, Commit: 10}, 71, false), free, do{owner.Stop{Why: owner.Yielded}}},
		{"let go of", serving, owner.Leave{}, releasing, do{send(release, 71)}},
		{"let go of while a commit is under way", committing, owner.Leave{}, leaving(committing), nil},
		{"and it is acknowledged", leaving(committing), owner.Landed{Put: commitPut, Revision: 72},
			owner.State{Phase: owner.Releasing, Head: commit, Revision: 72, Token: 71, Leaving: true, Pending: owner.Put{Head: owner.Head{Epoch: 5, Commit: 12}, Expect: 72}},
			do{owner.Committed{Commit: 11}, send(owner.Head{Epoch: 5, Commit: 12}, 72)}},
		{"and more has changed before the release", leaving(dirty(committing)), owner.Landed{Put: commitPut, Revision: 72},
			leaving(with(committed, func(s *owner.State) {
				s.Pending = owner.Put{Head: owner.Head{Epoch: 5, Owner: me, Commit: 12}, Expect: 72}
			})),
			do{owner.Committed{Commit: 11}, send(owner.Head{Epoch: 5, Owner: me, Commit: 12}, 72)}},
		{"let go of twice", releasing, owner.Leave{}, releasing, nil},
		{"the release is acknowledged", releasing, owner.Landed{Put: releasePut, Revision: 72}, free, do{owner.Stop{Why: owner.Released}}},
		{"the release is in doubt", releasing, owner.Doubt{}, releasing, do{owner.ReadRecord{}}},
		{"the release has landed", releasing, found(release, 72, false), free, do{owner.Stop{Why: owner.Released}}},
		{"the release has not landed yet", releasing, found(claimed, 71, false), resent(releasing), do{send(release, 71)}},
		{"the release was a removal", releasing, found(owner.Head{}, 72, false), free, do{owner.Stop{Why: owner.Released}}},
		{"its tombstone has expired, too", releasing, found(owner.Head{}, 0, false), free, do{owner.Stop{Why: owner.Released}}},
		{"an old reading while releasing", releasing, found(theirs, 70, false), releasing, do{owner.ReadRecord{}}},
		{"released and taken", releasing, found(owner.Head{Epoch: 6, Owner: rival, Commit: 12}, 73, true), free, do{owner.Stop{Why: owner.Released}}},

		{"the lease is lost while reading", reading, owner.Lapsed{}, free, do{owner.Stop{Why: owner.Expired}}},
		{"the lease is lost while claiming", claiming, owner.Lapsed{}, free, do{owner.Stop{Why: owner.Expired, Unsure: true}}},
		{"the lease is lost", serving, owner.Lapsed{}, free, do{owner.Stop{Why: owner.Expired}}},
		{"the lease is lost in the middle of a commit", dirty(committing), owner.Lapsed{}, free, do{owner.Stop{Why: owner.Expired, Unsure: true}}},
		{"the lease is lost while releasing", releasing, owner.Lapsed{}, free, do{owner.Stop{Why: owner.Expired, Unsure: true}}},

		{"an answer to another put", committing, owner.Landed{Put: claimPut, Revision: 71}, committing, nil},
		{"an answer to the same put at another revision", committing, owner.Landed{Put: owner.Put{Head: commit, Expect: 70}, Revision: 71}, committing, nil},
		{"an answer to no put", serving, owner.Landed{Revision: 72}, serving, nil},
		{"a reading when all is settled", serving, found(mine, 99, true), serving, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			to, do := owner.Step(me, c.from, c.e)
			if to != c.to {
				t.Errorf("state\n got %+v\nwant %+v", to, c.to)
			}
			if !reflect.DeepEqual(do, c.do) {
				t.Errorf("obligations\n got %+v\nwant %+v", do, c.do)
			}
		})
	}
}

// What comes too late for its phase changes nothing and asks for nothing.
func TestAnEventThatDoesNotFitChangesNothing(t *testing.T) {
	fits := map[owner.Event][]owner.State{
		owner.Want{}:    {free},
		owner.Changed{}: {serving, committing},
		owner.Leave{}:   {reading, claiming, serving, committing},
		owner.Lapsed{}:  {reading, claiming, serving, committing, releasing},
		owner.Stale{}:   {claiming, committing, releasing},
		owner.Doubt{}:   {reading, claiming, committing, releasing},
		owner.Refused{}: nil,
		owner.Read{}:    {reading, claiming, committing, releasing},
		owner.Landed{}:  nil,

		owner.Barred{}:     {reading},
		owner.Unreadable{}: {reading, claiming, committing, releasing},
		owner.Landed{Put: owner.Put{Head: commit, Expect: 3}, Revision: 4}: nil,
	}
	for e, states := range fits {
		for _, s := range phases {
			to, do := owner.Step(me, s, e)
			fits := false
			for _, f := range states {
				fits = fits || f == s
			}
			if changed := to != s || len(do) > 0; changed != fits {
				t.Errorf("%T%+v in %+v: went to %+v with %+v; want a change: %t", e, e, s, to, do, fits)
			}
		}
	}
}

// A host lets go, claims again, and is shown the world as it was in its first
// term: first before it, then in it. Nothing says that the first term is over but
// the store, when something is to be put on top of it.
func TestAnOldReadingDoesNotBringAReignBack(t *testing.T) {
	first := owner.Put{Head: owner.Head{Epoch: 1, Owner: me, Commit: 1}}
	s, do := owner.Step(me, reading, found(owner.Head{}, 0, false))
	if want := []owner.Do{owner.Send{Put: first}}; !reflect.DeepEqual(do, want) {
		t.Fatalf("claimed with %+v, want %+v: the very put of the first term", do, want)
	}
	s, _ = owner.Step(me, s, owner.Stale{})
	s, do = owner.Step(me, s, found(first.Head, 1, false)) // the record is at 3 by now
	if s.Phase != owner.Claiming {
		t.Fatalf("phase = %d with %+v, want %d: nothing is served on the word of a reading", s.Phase, do, owner.Claiming)
	}
	if want := []owner.Do{owner.Send{Put: owner.Put{Head: owner.Head{Epoch: 2, Owner: me, Commit: 2}, Expect: 1}}}; !reflect.DeepEqual(do, want) {
		t.Errorf("obligations = %+v, want %+v, which the store refuses unless 1 is the latest", do, want)
	}
}
