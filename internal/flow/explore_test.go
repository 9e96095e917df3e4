package flow

import (
	"fmt"
	"hash/fnv"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

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
}

func (l letter) key() string {
	s := l.seg
	return fmt.Sprintf("%d %d %q %d %d %d %t %t", l.to, s.From, s.Data, s.End, s.Got, s.Room, s.Again, s.Gone)
}

type explorer struct {
	scenario
	mistake
	seen  map[uint64]bool
	most  int
	trace []string
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
		side.out.kept, side.in.kept = slices.Clone(s.out.kept), slices.Clone(s.in.kept)
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
		if x.mistake == hidesRoom && s.in.end == More && len(s.in.kept) == 0 && s.in.room != s.in.told && s.phase == Talking && s.in.toldGot == s.in.got {
			s.ackAt = time.Time{}
		}
		if x.mistake == forgetsTheEnd && s.phase == Over && w.now.After(s.ended) {
			s.ackAt = time.Time{}
		}
		if x.mistake == ignoresRoom {
			s.out.room = 1 << 20
		}
		for seg, ok := s.Say(w.now); ok; seg, ok = s.Say(w.now) {
			seg.Data = slices.Clone(seg.Data)
			switch {
			case x.mistake == acksAhead && seg.Got == 1 && s.in.end == More:
				seg.Got++
			case x.mistake == cutIsWhole && seg.End == Cut:
				seg.End = Whole
			case x.mistake == hidesLeaving:
				seg.Gone = false
			}
			if i == 0 && w.sides[1].said.IsZero() {
				w.trouble = "who has not been asked speaks"
			}
			if to := w.sides[1-i]; seg.From+uint64(len(seg.Data)) > to.in.room && len(seg.Data) > 0 {
				w.trouble = "more is sent than there is room for"
			}
			l := letter{1 - i, seg}
			if !slices.ContainsFunc(w.bag, func(o letter) bool { return o.key() == l.key() }) {
				w.bag = append(w.bag, l)
			}
		}
	}
	slices.SortFunc(w.bag, func(a, b letter) int { return strings.Compare(a.key(), b.key()) })
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
	if err := s.Hear(seg, w.now); err != nil {
		if x.mistake == "" {
			w.trouble = "an honest segment is refused"
		}
		if s.heard != before.heard || s.phase != before.phase {
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
		come := w.read[i] + string(s.in.kept)
		switch end, _ := s.Ended(); {
		case s.in.gone: // what it has not read is dropped
		case !strings.HasPrefix(text, come):
			return fmt.Sprintf("side %d has %q of %q", i, come, text)
		case end == Whole && (come != text || i == 1 && x.cut):
			return fmt.Sprintf("side %d takes %q for all of %q", i, come, text)
		case end == Cut && !(i == 1 && x.cut):
			return fmt.Sprintf("side %d takes a whole text for cut", i)
		case len(s.in.kept) > tiny.Window || len(s.out.kept) > tiny.Window:
			return "more than a window is kept"
		case s.phase == Lost && w.budget.deaths == x.deaths && !x.late(w, i):
			return fmt.Sprintf("side %d takes a live one for lost", i)
		}
	}
	return ""
}

// late reports whether segments were so late that the side that opened has forgotten an exchange that was over: the other is
// not told any more that all has come.
func (x *explorer) late(w *world, side int) bool {
	return side == 0 && x.ticks-w.budget.ticks >= 2 && w.sides[1].phase == Over
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
	if w.left && x.losses == 0 && !w.dead[0] && !w.sides[0].Unread() && !w.sides[0].Sent() {
		return "who writes does not hear that nobody reads"
	}
	return ""
}

func (w *world) key() uint64 {
	h := fnv.New64a()
	at := func(t time.Time) int64 {
		if t.IsZero() {
			return -1 << 40
		}
		return int64(t.Sub(w.now) / time.Second)
	}
	for i, s := range w.sides {
		o, in := &s.out, &s.in
		fmt.Fprint(h, s.phase, at(s.heard), at(s.said), at(s.ended), at(s.ackAt), o.kept, o.acked, o.sent, o.most, o.room, o.end, o.gone, at(o.since), o.tries,
			in.kept, in.got, in.room, in.end, in.gone, in.told, in.toldGot, in.again, at(in.asked), w.dead[i], w.wrote[i], w.ended[i], w.read[i], "|")
	}
	fmt.Fprint(h, w.left, w.budget.losses, w.budget.doubles, w.budget.leaves, w.budget.deaths, w.budget.ticks)
	for _, l := range w.bag {
		fmt.Fprint(h, l.key(), ";")
	}
	return h.Sum64()
}

// explore visits all that may follow, and returns the first broken promise.
func (x *explorer) explore(w *world) string {
	key := w.key()
	if x.seen[key] || len(x.seen) >= x.most {
		return ""
	}
	x.seen[key] = true
	if said := x.judge(w); said != "" {
		return said
	}
	if key%8 == 0 {
		if said := x.settles(w); said != "" {
			return "left alone: " + said
		}
	}
	try := func(what string, move func(*world) bool) string {
		next := w.clone()
		if !move(next) {
			return ""
		}
		x.pump(next)
		said := x.explore(next)
		if said != "" {
			x.trace = append(x.trace, what)
		}
		return said
	}
	moves := make(map[string]func(*world) bool)
	for i := range w.sides {
		moves[fmt.Sprintf("side %d writes", i)] = func(w *world) bool { return x.write(w, i) }
		moves[fmt.Sprintf("side %d reads", i)] = func(w *world) bool { return x.readAt(w, i) }
		moves[fmt.Sprintf("side %d dies", i)] = func(w *world) bool {
			if w.budget.deaths == 0 || w.dead[i] {
				return false
			}
			w.budget.deaths--
			w.dead[i] = true
			return true
		}
	}
	moves["the reader leaves"] = func(w *world) bool {
		if w.budget.leaves == 0 || w.dead[1] {
			return false
		}
		w.budget.leaves--
		w.left = true
		w.sides[1].Leave(w.now)
		return true
	}
	moves["time passes"] = func(w *world) bool {
		if w.budget.ticks == 0 {
			return false
		}
		w.budget.ticks--
		return x.tick(w)
	}
	for n, l := range w.bag {
		moves["arrives: "+l.key()] = func(w *world) bool {
			w.bag = slices.Delete(w.bag, n, n+1)
			x.deliver(w, l)
			return true
		}
		moves["arrives, and comes again: "+l.key()] = func(w *world) bool {
			if w.budget.doubles == 0 {
				return false
			}
			w.budget.doubles--
			x.deliver(w, l)
			return true
		}
		moves["is lost: "+l.key()] = func(w *world) bool {
			if w.budget.losses == 0 {
				return false
			}
			w.budget.losses--
			w.bag = slices.Delete(w.bag, n, n+1)
			return true
		}
	}
	names := make([]string, 0, len(moves))
	for name := range moves {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if said := try(name, moves[name]); said != "" {
			return said
		}
	}
	return ""
}

// limit is how many worlds of each scenario are explored; FLOW_LIMIT raises it.
func limit(t *testing.T) int {
	if v := os.Getenv("FLOW_LIMIT"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatalf("FLOW_LIMIT: %v", err)
		}
		return n
	}
	return 2500
}

func TestEveryOrderOfSegmentsKeepsThePromises(t *testing.T) {
	for _, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) {
			x := &explorer{scenario: sc, seen: make(map[uint64]bool), most: limit(t)}
			said := x.explore(x.begin())
			t.Logf("%d worlds, all: %t", len(x.seen), len(x.seen) < x.most)
			if said != "" {
				slices.Reverse(x.trace)
				t.Errorf("%s\n%s", said, strings.Join(x.trace, "\n"))
			}
		})
	}
}

func TestEveryMistakeAboutSegmentsIsFound(t *testing.T) {
	for _, m := range mistakes {
		t.Run(string(m), func(t *testing.T) {
			for _, sc := range scenarios {
				x := &explorer{scenario: sc, mistake: m, seen: make(map[uint64]bool), most: limit(t)}
				if said := x.explore(x.begin()); said != "" {
					t.Logf("%s: %s, after %d worlds", sc.name, said, len(x.seen))
					return
				}
			}
			t.Error("no scenario finds it")
		})
	}
}
