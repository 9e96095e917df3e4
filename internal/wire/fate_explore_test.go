package wire

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// The fate of one request is explored in every order in which its copies reach
// owners, and answers come back: an owner that was replaced still hears copies; a
// copy reaches an owner late, or never; an owner refuses one copy and runs the next;
// it dies with a put under way; it releases the object, whose record is removed.
//
// Assumed: what one client sends reaches one owner in order, with gaps (so a client
// does not change from NATS to a mailbox nearby in the middle of a request), and a
// copy lives for a minute at most. A put lands only while the record is its sender's
// (package owner explores that), and an owner answers what it has not put only while
// its lease is valid.
type story struct {
	f       fate
	known   uint8 // the newest token that the client knows
	waits   bool  // for an answer to the last copy
	result  outcome
	named   [maxCopies + 1]uint8      // the token that each copy names
	nobody  [maxCopies + 1]bool       // has heard the copy, nor will
	owners  [maxOwners + 1]storyOwner // by token
	claims  uint8
	record  storyRecord
	runs    uint8                               // how often the request's effect has landed
	answers [maxCopies + 1][maxOwners + 1]uint8 // a bit for each kind under way
}

const maxCopies, maxOwners = 3, 3

type outcome uint8

const (
	open outcome = iota
	done
	refused
	unavailable
	unknown
)

var outcomes = [...]string{"open", "done", "refused", "unavailable", "unknown"}

type storyRecord struct {
	owner   uint8 // token; 0: none
	answer  bool  // the record remembers the answer
	expires bool  // for longer than a copy lives
}

type storyOwner struct {
	stage stage
	aged  bool  // it has owned the object for a minute
	since uint8 // copies sent before its claim
	next  uint8 // the lowest copy that it can still hear
	ran   bool  // in memory
	put   bool  // under way
	to    uint8 // the copy that the put's answer is for
	low   bool  // it knows that the client does not wait any more
}

type stage uint8

const (
	unborn  stage = iota
	hearing       // subscribed, whether or not the record is still its own
	dead          // its put may still land
)

// Kinds of answers.
const (
	moved uint8 = 1 << iota
	unsure
	conflict
	busy
	busyYoung // from an owner whose lease is not valid or that has not owned the object for a minute
	kept
)

type mistake string

const (
	anyCopyCounts mistake = "an answer that is not kept counts for any copy"
	runsAnything  mistake = "an owner runs what was sent to another"
	emptyForgets  mistake = "a record is removed with answers in it"
	movedIsProof  mistake = "Moved is believed whoever says it"
	busyIsProof   mistake = "a full queue's refusal is believed in doubt"
	outOfOrder    mistake = "copies overtake each other on their way to one owner"
)

// step is the move that first led to a story.
type step struct {
	from story
	what string
}

type storyteller struct {
	mistake
	copies, claims uint8 // how many there may be
	most           int   // stories
	seen           map[story]step
	queue          []story
	from           story
	count          map[string]int
	wrong          string
	at             story
}

func (x *storyteller) check(s *story) string {
	switch {
	case s.runs > 1:
		return "it ran twice"
	case s.runs > 0 && (s.result == refused || s.result == unavailable):
		return "it ran, and the client was told " + outcomes[s.result]
	case s.runs == 0 && s.result == done:
		return "it did not run, and the client was told done"
	}
	return ""
}

// tidy makes stories equal that nothing that comes later can tell apart.
func (s *story) tidy() {
	s.f.silent, s.f.suspect, s.f.lost, s.f.gone = false, 0, 0, [maxLost]uint64{} // they decide about nothing here
	if s.result != open {
		s.f, s.known, s.waits = fate{copy: s.f.copy}, 0, false
		s.answers = [maxCopies + 1][maxOwners + 1]uint8{}
	}
	for t := range s.owners {
		if o := &s.owners[t]; o.stage == dead {
			*o = storyOwner{stage: dead, put: o.put && s.record.owner == uint8(t)}
		}
	}
}

func (x *storyteller) move(what string, s story) {
	x.count[what]++
	s.tidy()
	if _, known := x.seen[s]; known {
		return
	}
	x.seen[s] = step{x.from, what}
	x.queue = append(x.queue, s)
	if wrong := x.check(&s); wrong != "" && x.wrong == "" {
		x.wrong, x.at = wrong, s
	}
}

func (x *storyteller) explore() {
	x.seen, x.count = make(map[story]step), make(map[string]int)
	x.move("begin", story{})
	for i := 0; i < len(x.queue) && x.wrong == "" && len(x.seen) < x.most; i++ {
		x.from = x.queue[i]
		x.moves(x.queue[i])
	}
}

func (x *storyteller) trace() string {
	var path []string
	for s := x.at; s != (story{}); s = x.seen[s].from {
		path = append(path, fmt.Sprintf("%s: %s, known %d, %+v, record %+v", x.seen[s].what, outcomes[s.result], s.known, s.f, s.record))
	}
	slices.Reverse(path)
	return strings.Join(path, "\n")
}

func (x *storyteller) moves(s story) {
	if s.result == open {
		x.client(s)
	}
	for t := uint8(1); t <= s.claims; t++ {
		x.owner(s, t)
	}
	if s.claims < x.claims {
		next := s
		next.claims++
		t := next.claims
		aged := s.record == (storyRecord{}) // no record: nothing of a predecessor can be under way
		next.record.owner = t
		next.record.expires = false
		next.owners[t] = storyOwner{stage: hearing, aged: aged, since: uint8(s.f.copy), next: 1, ran: s.record.answer}
		x.move("claim", next)
	}
	if s.record.answer && s.result != open && !s.record.expires && s.record.owner == 0 {
		next := s
		next.record.expires = true
		for copy := range next.nobody {
			next.nobody[copy] = true // no copy lives as long as an answer
		}
		x.move("answer expires", next)
	}
	if s.record.owner == 0 && (s.record.expires || x.mistake == emptyForgets) && s.record.answer {
		next := s
		next.record = storyRecord{}
		x.move("record removed", next)
	}
}

// died returns the copies that are older than a minute: all, once an owner that was
// claimed after them has aged.
func (x *storyteller) died(s *story) (n uint8) {
	for t := range s.owners {
		if o := &s.owners[t]; o.aged && t > 1 {
			n = max(n, o.since)
		}
	}
	return n
}

func (x *storyteller) client(s story) {
	if !s.waits && s.f.copy < uint64(x.copies) {
		next := s
		next.f = s.f.sent(uint64(s.known), false)
		next.named[next.f.copy] = s.known
		next.waits = true
		x.move("send", next)
		if !slices.ContainsFunc(s.owners[:], func(o storyOwner) bool { return o.stage == hearing }) {
			next.f, _ = next.f.nobody(next.f.copy)
			next.nobody[next.f.copy], next.waits = true, false
			x.move("nobody listens", next)
		}
	}
	if s.waits {
		next := s
		next.f, next.waits = s.f.silence(), false
		x.move("silence", next)
	}
	for t := uint8(1); t <= s.claims; t++ { // from another request, or a claim; also late, of one that was replaced
		next := s
		next.known = t
		x.move("learn of an owner", next)
	}
	next := s
	next.result = unavailable
	if s.f.uncertain() {
		next.result = unknown
	}
	x.move("give up", next)
	for copy := range s.answers {
		for t, kinds := range s.answers[copy] {
			for kind := moved; kind <= kept; kind <<= 1 {
				if kinds&kind != 0 {
					x.answered(s, uint8(copy), uint8(t), kind)
				}
			}
		}
	}
}

func (x *storyteller) answered(s story, copy, t, kind uint8) {
	s.answers[copy][t] &^= kind
	reply := &Reply{Token: uint64(t), Moved: kind&(moved|unsure) != 0, Unsure: kind == unsure || kind == busyYoung, Busy: kind&(busy|busyYoung) != 0, Kept: kind == kept}
	as, known := uint64(copy), uint64(s.known)
	switch {
	case x.mistake == anyCopyCounts && kind == conflict:
		as = s.f.copy
	case x.mistake == movedIsProof && kind == moved:
		reply.Token, known = max(1, s.f.owner), 0
		s.f.owner = reply.Token
	case x.mistake == busyIsProof:
		reply.Busy = false
	}
	f, verdict := s.f.onReply(as, reply, known)
	s.f, s.known = f, max(s.known, t)
	switch verdict {
	case final:
		s.waits = false
		s.result = refused
		if kind == kept {
			s.result = done
		}
		x.move("told "+outcomes[s.result], s)
	case ignore:
		x.move("void answer", s)
	default:
		s.waits = false
		x.move("told to send again", s)
	}
}

func (x *storyteller) owner(s story, t uint8) {
	o := &s.owners[t]
	valid := s.record.owner == t
	if o.put {
		next := s
		n := &next.owners[t]
		n.put = false
		if valid {
			next.runs++
			next.record.answer = true
			if n.stage == hearing {
				next.answers[n.to][t] |= kept
			}
		} else if n.stage == hearing {
			next.answers[n.to][t] |= unsure
			n.stage, n.ran = dead, false
		}
		x.move("put arrives", next)
	}
	if o.stage != hearing {
		return
	}
	if next := s; true {
		next.owners[t].stage = dead
		x.move("owner dies", next)
	}
	if valid && !o.put {
		next := s
		next.owners[t] = storyOwner{stage: dead}
		next.record.owner = 0
		x.move("release", next)
	}
	if valid && !o.aged {
		next := s
		next.owners[t].aged = true
		if next.f.copy == uint64(o.since) || next.result != open { // the client gives up long before
			x.move("a minute passes", next)
		}
	}
	if s.result != open && !o.low && valid && !o.put {
		next := s
		n := &next.owners[t]
		n.low, n.ran, next.record.answer = true, false, false
		x.move("a later request raises Low", next)
	}
	for copy := o.next; uint64(copy) <= s.f.copy; copy++ {
		if copy == 0 || (o.aged && copy <= max(o.since, x.died(&s))) {
			continue // it is a minute old
		}
		if !s.nobody[copy] {
			x.hears(s, t, copy, valid)
		}
	}
}

func (x *storyteller) hears(s story, t, copy uint8, valid bool) {
	o := &s.owners[t]
	if o.next = copy + 1; x.mistake == outOfOrder {
		o.next = 0
	}
	say := func(kind uint8) story {
		next := s
		switch { // the lease is not valid
		case !valid && kind == kept:
			kind = unsure
		case !valid && kind == conflict:
			kind = moved
		}
		next.answers[copy][t] |= kind
		return next
	}
	if !o.put {
		kind := busyYoung
		if o.aged && valid {
			kind = busy
		}
		x.move("queue full", say(kind))
		x.move("dropped with the queue", say(moved))
	}
	switch f := s.named[copy]; {
	case o.low:
		x.move("late copy dropped", s)
	case o.put:
		o.to = max(o.to, copy)
		x.move("copy absorbed", s)
	case o.ran:
		x.move("answered from the record", say(kept))
	case x.mistake != runsAnything && f != t && (f != 0 || !o.aged):
		x.move("told to ask the owner it names", say(moved))
	default:
		x.move("refused by the object", say(conflict))
		o.ran, o.put, o.to = true, true, copy
		x.move("runs", s)
	}
}

func TestARequestRunsOnceAndItsCallerIsToldTheTruth(t *testing.T) {
	for _, x := range []*storyteller{{copies: 2, claims: 2, most: 1 << 20}, {copies: 3, claims: 2, most: 200_000}, {copies: 2, claims: 3, most: 200_000}} {
		t.Run(fmt.Sprintf("%d copies, %d owners", x.copies, x.claims), x.explored)
	}
}

func (x *storyteller) explored(t *testing.T) {
	x.explore()
	t.Logf("%d stories, %v", len(x.seen), x.count)
	if x.wrong != "" {
		t.Fatalf("%s:\n%s", x.wrong, x.trace())
	}
	for _, what := range []string{
		"told done", "told refused", "told to send again", "void answer", "answered from the record", "copy absorbed",
		"late copy dropped", "record removed", "a minute passes", "told to ask the owner it names", "queue full",
	} {
		if x.count[what] == 0 {
			t.Errorf("%q has never happened", what)
		}
	}
}

func TestEveryMistakeAboutCopiesIsCaught(t *testing.T) {
	for _, m := range []mistake{anyCopyCounts, runsAnything, emptyForgets, movedIsProof, busyIsProof, outOfOrder} {
		t.Run(string(m), func(t *testing.T) {
			x := &storyteller{mistake: m, copies: 2, claims: 2, most: 1_000_000}
			x.explore()
			if x.wrong == "" {
				t.Fatalf("not caught in %d stories", len(x.seen))
			}
			t.Logf("caught after %d stories: %s\n%s", len(x.seen), x.wrong, x.trace())
		})
	}
}
