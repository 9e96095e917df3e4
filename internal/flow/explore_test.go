package flow

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"iter"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// An exploration makes much garbage and keeps little.
func init() { debug.SetGCPercent(400) }

// The exploration: two sides, a bag of segments that arrive in any order, and a budget of what may go wrong. A unit of time is a
// second. Windows are tiny, so that they are full.
var tiny = Settings{Window: 2, Data: 1, Ack: time.Second, Resend: 2 * time.Second, Alive: 4 * time.Second, Lost: 60 * time.Second}

// scenario is what may happen.
type scenario struct {
	name              string
	response, request string
	cut               bool // the response is cut where it ends
	losses, doubles   int
	leaves, deaths    int
	ticks             int
}

var scenarios = []scenario{
	{name: "a response", response: "abc", ticks: 2},
	{name: "a response, one segment is lost", response: "abc", losses: 1, ticks: 3},
	{name: "a response, one segment comes twice", response: "abc", doubles: 1, ticks: 2},
	{name: "a response that is cut, one segment is lost", response: "ab", cut: true, losses: 1, ticks: 3},
	{name: "a response, two segments are lost", response: "ab", losses: 2, ticks: 3},
	{name: "a body and no response", request: "xy", losses: 1, ticks: 3},
	{name: "both at once", response: "ab", request: "xy", ticks: 1},
	{name: "both at once, one segment is lost", response: "a", request: "x", losses: 1, ticks: 2},
	{name: "the reader leaves", response: "abc", request: "x", leaves: 1, ticks: 2},
	{name: "the reader leaves, one segment is lost", response: "ab", leaves: 1, losses: 1, ticks: 2},
	{name: "one side dies", response: "ab", request: "x", deaths: 1, ticks: 1},
}

// mistake is what one who builds this may do wrong.
type mistake string

const (
	takesAfterGaps mistake = "bytes after a gap are taken"
	takesTwice     mistake = "bytes that come twice are taken twice"
	acksAhead      mistake = "a byte is acknowledged that has not come"
	endsEarly      mistake = "the end is believed before what precedes it has come"
	cutIsWhole     mistake = "a cut is told as the end"
	resendsNothing mistake = "nothing is sent again"
	hidesRoom      mistake = "the other is not told that there is room again"
	ignoresRoom    mistake = "more is sent than there is room for"
	hidesLeaving   mistake = "the other is not told that nobody reads"
	speaksUnasked  mistake = "the side that answers speaks first"
	neverLost      mistake = "a side that died is waited for"
	forgetsTheEnd  mistake = "a side that is over does not answer"
)

var mistakes = []mistake{takesAfterGaps, takesTwice, acksAhead, endsEarly, cutIsWhole, resendsNothing, hidesRoom, ignoresRoom, hidesLeaving, speaksUnasked, neverLost, forgetsTheEnd}

// who writes: 0 is the side that answers, 1 the one that opens.
type world struct {
	sides   [2]*Side
	dead    [2]bool
	wrote   [2]int
	ended   [2]bool
	read    [2]string // by side
	left    bool
	bag     []letter
	now     time.Time
	budget  scenario
	trouble string // a promise that is broken
}

// letter is a segment on its way.
type letter struct {
	to  int
	seg Segment
	key string
}

func post(to int, s Segment) letter {
	return letter{to, s, fmt.Sprintf("%d %d %q %d %d %d %t %t", to, s.From, s.Data, s.End, s.Got, s.Room, s.Again, s.Gone)}
}

type explorer struct {
	scenario
	mistake
	seen map[uint64]bool
	most int
}

var dawn = time.Unix(1000, 0)

func (x *explorer) begin() *world {
	set := tiny
	switch x.mistake {
	case resendsNothing:
		set.Resend = time.Hour
	case neverLost:
		set.Lost = time.Hour
	case hidesRoom:
		set.Alive = time.Hour
	}
	w := &world{now: dawn, budget: x.scenario}
	w.sides = [2]*Side{New(set, x.mistake == speaksUnasked, dawn), New(set, true, dawn)}
	if x.request == "" {
		w.sides[1].Finish(Whole, "")
		w.ended[1] = true
	}
	x.pump(w)
	return w
}

func (x *explorer) script(side int) string { return [2]string{x.response, x.request}[side] }

func (w *world) clone() *world {
	c := *w
	for i, s := range w.sides {
		side := *s
		side.out.kept.b, side.in.kept.b = slices.Clone(s.out.kept.b), slices.Clone(s.in.kept.b)
		c.sides[i] = &side
	}
	c.bag = slices.Clone(w.bag)
	return &c
}

// pump sends all that the sides have to say.
func (x *explorer) pump(w *world) {
	for i, s := range w.sides {
		if w.dead[i] {
			continue
		}
		if s.Dead(w.now) {
			continue
		}
		if x.mistake == hidesRoom && s.in.end == More && s.in.kept.n == 0 && s.in.room != s.in.sentRoom && s.phase == Talking && s.in.sentGot == s.in.got {
			s.ackAt = time.Time{}
		}
		if x.mistake == forgetsTheEnd && s.phase == Over && w.now.After(s.ended) {
			s.ackAt = time.Time{}
		}
		if x.mistake == ignoresRoom {
			s.out.room = 1 << 20
		}
		for seg, ok := s.Next(w.now); ok; seg, ok = s.Next(w.now) {
			seg.Data = slices.Clone(seg.Data)
			switch {
			case x.mistake == acksAhead && seg.Got == 1 && s.in.end == More:
				seg.Got++
			case x.mistake == cutIsWhole && seg.End == Cut:
				seg.End = Whole
			case x.mistake == hidesLeaving:
				seg.Gone = false
			}
			if i == 0 && w.sides[1].spoke.IsZero() {
				w.trouble = "who has not been asked speaks"
			}
			if to := w.sides[1-i]; seg.From+uint64(len(seg.Data)) > to.in.room && len(seg.Data) > 0 {
				w.trouble = "more is sent than there is room for"
			}
			l := post(1-i, seg)
			if !slices.ContainsFunc(w.bag, func(o letter) bool { return o.key == l.key }) {
				w.bag = append(w.bag, l)
			}
		}
	}
	slices.SortFunc(w.bag, func(a, b letter) int { return strings.Compare(a.key, b.key) })
}

func (x *explorer) deliver(w *world, l letter) {
	if w.dead[l.to] {
		return
	}
	s := w.sides[l.to]
	seg := l.seg
	something := len(seg.Data) > 0 || seg.End != More
	switch {
	case x.mistake == takesAfterGaps && something && seg.From > s.in.got,
		x.mistake == takesTwice && len(seg.Data) > 0 && seg.From < s.in.got && s.in.end == More:
		seg.From = s.in.got
	case x.mistake == endsEarly && seg.End != More && seg.From > s.in.got:
		seg.From, seg.Data = s.in.got, nil
	}
	before := *s
	if err := s.Receive(seg, w.now); err != nil {
		if x.mistake == "" {
			w.trouble = "an honest segment is refused"
		}
		if s.received != before.received || s.phase != before.phase {
			w.trouble = "a refused segment is heard"
		}
	}
}

func (x *explorer) write(w *world, i int) bool {
	text := x.script(i)
	if w.dead[i] || w.ended[i] {
		return false
	}
	if w.wrote[i] == len(text) {
		end := Whole
		if i == 0 && x.cut {
			end = Cut
		}
		w.sides[i].Finish(end, "")
		w.ended[i] = true
		return true
	}
	n := w.sides[i].Write([]byte(text[w.wrote[i] : w.wrote[i]+1]))
	w.wrote[i] += n
	return n > 0
}

func (x *explorer) readAt(w *world, i int) bool {
	if w.dead[i] {
		return false
	}
	b := make([]byte, 1)
	n := w.sides[i].Read(b, w.now)
	w.read[i] += string(b[:n])
	return n > 0
}

// tick lets time pass until a side has something to do.
func (x *explorer) tick(w *world) bool {
	at := time.Time{}
	for i, s := range w.sides {
		if w.dead[i] || s.phase == Lost || s.Dead(w.now) {
			continue
		}
		if wake := s.Wake(); at.IsZero() || wake.Before(at) {
			at = wake
		}
	}
	if at.IsZero() {
		return false
	}
	if at.After(w.now) {
		w.now = at
	}
	return true
}

// judge looks at one world.
func (x *explorer) judge(w *world) string {
	if w.trouble != "" {
		return w.trouble
	}
	for i, s := range w.sides {
		text := x.script(1 - i)
		come := w.read[i] + s.in.kept.String()
		switch end, _ := s.Ended(); {
		case s.in.gone: // what it has not read is dropped
		case !strings.HasPrefix(text, come):
			return fmt.Sprintf("side %d has %q of %q", i, come, text)
		case end == Whole && (come != text || i == 1 && x.cut):
			return fmt.Sprintf("side %d takes %q for all of %q", i, come, text)
		case end == Cut && (i != 1 || !x.cut):
			return fmt.Sprintf("side %d takes a whole text for cut", i)
		case s.in.kept.n > tiny.Window || s.out.kept.n > tiny.Window:
			return "more than a window is kept"
		case s.phase == Lost && w.budget.deaths == x.deaths && !x.late(w, i):
			return fmt.Sprintf("side %d takes a live one for lost", i)
		}
	}
	return ""
}

// late reports whether segments were so late that the side that opened has forgotten an exchange that was over: the other is
// not told any more that all has come, or that nobody reads.
func (x *explorer) late(w *world, side int) bool {
	passed := x.ticks - w.budget.ticks
	return side == 0 && w.sides[1].phase == Over && (passed >= 2 || w.left && (passed > 0 || w.budget.losses < x.losses))
}

// settles lets a world go on with nothing going wrong, and says what does not come to its end.
func (x *explorer) settles(w *world) string {
	w = w.clone()
	for range 60 {
		for len(w.bag) > 0 {
			l := w.bag[0]
			w.bag = w.bag[1:]
			x.deliver(w, l)
			x.pump(w)
			if said := x.judge(w); said != "" {
				return said
			}
		}
		for i := range w.sides {
			for !w.left && x.write(w, i) || x.readAt(w, i) {
				x.pump(w)
			}
		}
		x.pump(w)
		if len(w.bag) > 0 {
			continue
		}
		if !x.tick(w) {
			break
		}
		x.pump(w)
	}
	if said := x.judge(w); said != "" {
		return said
	}
	for i, s := range w.sides {
		switch {
		case w.dead[i]:
		case !s.Dead(w.now):
			return fmt.Sprintf("side %d does not end: %s", i, s.phase)
		case w.dead[1-i]:
		case s.phase == Lost && !w.left && !x.late(w, i):
			return fmt.Sprintf("side %d takes a live one for lost", i)
		case i == 1 && !w.left && w.read[1] != x.response:
			return fmt.Sprintf("the response %q has arrived as %q", x.response, w.read[1])
		}
	}
	if w.left && !x.late(w, 0) && !w.dead[0] && !w.sides[0].Unread() && !w.sides[0].Sent() {
		return "who writes does not hear that nobody reads"
	}
	return ""
}

// key stands for all that the next moves may depend on.
func (w *world) key() uint64 {
	var b []byte
	at := func(t time.Time) {
		if t.IsZero() {
			b = append(b, 255)
			return
		}
		b = binary.AppendVarint(b, int64(t.Sub(w.now)/time.Second))
	}
	is := func(all ...bool) {
		for _, one := range all {
			if one {
				b = append(b, 1)
			} else {
				b = append(b, 0)
			}
		}
	}
	for i, s := range w.sides {
		o, in := &s.out, &s.in
		b = append(b, byte(s.phase), byte(o.acked), byte(o.sent), byte(o.most), byte(o.room), byte(o.end), byte(o.tries), byte(o.kept.n))
		b = append(b, byte(in.got), byte(in.room), byte(in.end), byte(in.sentRoom), byte(in.sentGot), byte(in.kept.n), byte(w.wrote[i]), byte(len(w.read[i])))
		is(o.gone, in.gone, in.again, w.dead[i], w.ended[i])
		at(s.received)
		at(s.spoke)
		at(s.ended)
		at(s.ackAt)
		at(o.since)
		at(in.asked)
	}
	is(w.left)
	b = append(b, byte(w.budget.losses), byte(w.budget.doubles), byte(w.budget.leaves), byte(w.budget.deaths), byte(w.budget.ticks))
	for _, l := range w.bag {
		b = append(append(b, l.key...), ';')
	}
	h := fnv.New64a()
	h.Write(b)
	return h.Sum64()
}

// A move leads from one world to the next.
type move struct {
	from *move
	what string
	to   *world
}

// trace returns the moves that have led to a world.
func (m *move) trace() (all []string) {
	for ; m.from != nil; m = m.from {
		all = append(all, m.what)
	}
	slices.Reverse(all)
	return all
}

// explore visits all that may follow, what is near first, and returns the first broken promise and how it came.
func (x *explorer) explore() (said string, trace []string) {
	for todo := []*move{{to: x.begin()}}; len(todo) > 0; todo = todo[1:] {
		at := todo[0]
		if said := x.judge(at.to); said != "" {
			return said, at.trace()
		}
		if at.to.key()%4 == 0 {
			if said := x.settles(at.to); said != "" {
				return "left alone: " + said, at.trace()
			}
		}
		for what, to := range x.next(at.to) {
			x.pump(to)
			if key := to.key(); !x.seen[key] && len(x.seen) < x.most {
				x.seen[key] = true
				todo = append(todo, &move{at, what, to})
			}
		}
		at.to = nil // its memory is not needed
	}
	return "", nil
}

// next yields the worlds to which one move leads, before the sides have said what follows.
func (x *explorer) next(w *world) iter.Seq2[string, *world] {
	return func(yield func(string, *world) bool) {
		try := func(what string, move func(*world) bool) {
			if next := w.clone(); move(next) {
				yield(what, next)
			}
		}
		for i := range w.sides {
			try(sayings[i].writes, func(w *world) bool { return x.write(w, i) })
			try(sayings[i].reads, func(w *world) bool { return x.readAt(w, i) })
			if w.budget.deaths > 0 {
				try(sayings[i].dies, func(w *world) bool {
					w.budget.deaths--
					w.dead[i] = true
					return true
				})
			}
		}
		if w.budget.leaves > 0 && !w.dead[1] {
			try("the reader leaves", func(w *world) bool {
				w.budget.leaves--
				w.left = true
				w.sides[1].Leave(w.now)
				return true
			})
		}
		if w.budget.ticks > 0 {
			try("time passes", func(w *world) bool {
				w.budget.ticks--
				return x.tick(w)
			})
		}
		for n, l := range w.bag {
			try("arrives: "+l.key, func(w *world) bool {
				w.bag = slices.Delete(w.bag, n, n+1)
				x.deliver(w, l)
				return true
			})
			if w.budget.doubles > 0 {
				try("arrives, and comes again: "+l.key, func(w *world) bool {
					w.budget.doubles--
					x.deliver(w, l)
					return true
				})
			}
			if w.budget.losses > 0 {
				try("is lost: "+l.key, func(w *world) bool {
					w.budget.losses--
					w.bag = slices.Delete(w.bag, n, n+1)
					return true
				})
			}
		}
	}
}

// sayings are what moves of each side are called.
var sayings = [2]struct{ writes, reads, dies string }{
	{"side 0 writes", "side 0 reads", "side 0 dies"},
	{"side 1 writes", "side 1 reads", "side 1 dies"},
}

// limit returns how many worlds of each scenario are explored; FLOW_LIMIT raises it.
func limit(t *testing.T) int {
	if v := os.Getenv("FLOW_LIMIT"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatalf("FLOW_LIMIT: %v", err)
		}
		return n
	}
	return 1500
}

func TestEveryOrderOfSegmentsKeepsThePromises(t *testing.T) {
	for _, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) {
			x := &explorer{scenario: sc, seen: make(map[uint64]bool), most: limit(t)}
			said, trace := x.explore()
			t.Logf("%d worlds, all: %t", len(x.seen), len(x.seen) < x.most)
			if said != "" {
				t.Errorf("%s\n%s", said, strings.Join(trace, "\n"))
			}
		})
	}
}

func TestEveryMistakeAboutSegmentsIsFound(t *testing.T) {
	for _, m := range mistakes {
		t.Run(string(m), func(t *testing.T) {
			for _, sc := range scenarios {
				x := &explorer{scenario: sc, mistake: m, seen: make(map[uint64]bool), most: limit(t)}
				if said, _ := x.explore(); said != "" {
					t.Logf("%s: %s, after %d worlds", sc.name, said, len(x.seen))
					return
				}
			}
			t.Error("no scenario finds it")
		})
	}
}
