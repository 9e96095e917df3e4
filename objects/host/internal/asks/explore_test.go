package asks

import (
	"fmt"
	"hash/maphash"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"
)

// One event of one object asks another, in every order in which owners of both die, copies of asks come late or never,
// answers are lost, and puts land or do not. The event is a worker's request, which the worker sends again to the next
// owner until it is answered.
//
// Assumed: what one owner publishes for one object reaches each owner of that object in order, with gaps; no copy lives
// longer than a minute; an owner that was replaced does nothing any more, but what it has sent is on its way.
type world struct {
	// The worker.
	sent  int // the token of the owner that it has sent the event to last; 0: none
	again bool
	told  string // "": nothing yet

	// The caller's record and its owners, by token.
	record  callerRecord
	callers []*caller

	// The callee's record and its owners, by token.
	kept    calleeRecord
	callees []*calleeOwner

	effects [len(texts)]int // of each question, as far as they are durable
	replies []reply         // on their way
	denied  bool            // a refusal was the end of the event

	ownCallers, ownCallees uint // a bit each: no other world has it
}

// texts are all questions that are asked.
var texts = [...]string{"x", "y", "state", "no state"}

type callerRecord struct {
	owner int
	state bool   // what an earlier event has written
	done  string // what the event was answered; "": it has not run
}

type caller struct {
	alive, young bool
	frozen       bool // it was replaced, and sends once more before it knows
	state        bool // in memory
	stage        string
	asks         Caller
	run          Run
	questions    []*question // of the present run
	runs         int
	stream       []message // to the callee, in order
}

type question struct {
	text   string
	id     ID
	n      uint64
	copies int
	known  int // the callee's token, as far as this owner knows
	answer string
}

type message struct {
	settled bool
	s       Settled
	q       Question
	text    string
	copy    int
	to      int // the token of the callee's owner that it names
}

type calleeRecord struct {
	owner int
	Callee
}

type calleeOwner struct {
	alive, young bool
	Callee
	next   [3]int // the first message of each caller's stream that it can still hear
	dirty  bool
	effect []string // not durable
	wait   []reply  // for the put
}

type reply struct {
	caller int
	n      uint64
	copy   int
	text   string // of the question, or "refused", or "moved"
	kept   bool
	token  int
}

// mistake is what one who builds this may do wrong.
type mistake string

const (
	keepsNothing    mistake = "the callee keeps no answers"
	settlesEarly    mistake = "asks are settled when they are answered, before the event is durable"
	fencesNothing   mistake = "there are no fences"
	noGate          mistake = "asks leave before what the event has read is durable"
	byOrdinal       mistake = "questions are known by their place"
	byOwner         mistake = "questions are known by who owns the caller"
	askedIsRead     mistake = "an event that only asks is not made durable"
	runsForOthers   mistake = "the callee runs what was sent to another owner"
	anyCopyCounts   mistake = "a refusal counts for any copy"
	fencesAreMemory mistake = "a fence is noted in memory alone"
	settledNearby   mistake = "what is settled overtakes asks"
)

var now = time.Unix(1_000_000, 0)

// clone returns a copy that may be changed. It shares owners with the world until ownCaller or ownCallee is asked for
// one of them: most moves change one.
func (w *world) clone() *world {
	w.ownCallers, w.ownCallees = 0, 0
	c := *w
	c.replies = slices.Clone(w.replies)
	c.kept.Callee = cloneCallee(w.kept.Callee)
	c.callers, c.callees = slices.Clone(w.callers), slices.Clone(w.callees)
	return &c
}

// ownCaller returns an owner of the caller that no other world has, to be changed.
func (w *world) ownCaller(i int) *caller {
	if w.ownCallers&(1<<i) != 0 {
		return w.callers[i]
	}
	n := *w.callers[i]
	to := n.asks.to
	n.asks.to = nil
	for to, callee := range to {
		if n.asks.to == nil {
			n.asks.to = make(map[string]*calleeOfCaller)
		}
		copied := *callee
		copied.open = slices.Clone(callee.open)
		n.asks.to[to] = &copied
	}
	n.run = Run{maps.Clone(n.run.equal), slices.Clone(n.run.made)}
	n.questions = slices.Clone(n.questions)
	for j, q := range n.questions {
		copied := *q
		n.questions[j] = &copied
	}
	n.stream = slices.Clip(n.stream) // messages do not change
	w.callers[i] = &n
	w.ownCallers |= 1 << i
	return &n
}

// ownCallee returns an owner of the callee that no other world has, to be changed.
func (w *world) ownCallee(i int) *calleeOwner {
	if w.ownCallees&(1<<i) != 0 {
		return w.callees[i]
	}
	n := *w.callees[i]
	n.Callee = cloneCallee(n.Callee)
	n.effect, n.wait = slices.Clone(n.effect), slices.Clone(n.wait)
	w.callees[i] = &n
	w.ownCallees |= 1 << i
	return &n
}

type calleeOfCaller = callee

func cloneCallee(c Callee) Callee { return Callee{slices.Clone(c.Kept), slices.Clone(c.Fences)} }

// key tells worlds apart.
type key []byte

func (k *key) numbers(all ...int) {
	for _, n := range all {
		*k = append(*k, byte(n))
	}
}

func (k *key) flags(all ...bool) {
	for _, one := range all {
		if one {
			*k = append(*k, '+')
		} else {
			*k = append(*k, '-')
		}
	}
}

func (k *key) texts(all ...string) {
	for _, text := range all {
		*k = append(append(*k, text...), ' ')
	}
}

func (k *key) callee(c *Callee) {
	for i := range c.Kept {
		one := &c.Kept[i]
		*k = append(*k, 'k', one.ID[0], one.ID[1], byte(one.Token), byte(one.N))
	}
	for i := range c.Fences {
		*k = append(*k, 'f', byte(c.Fences[i].Token))
	}
}

func (k *key) replies(all []reply) {
	for i := range all {
		r := &all[i]
		k.numbers('r', r.caller, int(r.n), r.copy, r.token)
		k.texts(r.text)
		k.flags(r.kept)
	}
}

func (w *world) key(k key) key {
	k.flags(w.again, w.record.state, w.denied)
	k.texts(w.told, w.record.done)
	k.numbers(w.sent, w.record.owner, w.kept.owner)
	k.numbers(w.effects[:]...)
	k.replies(w.replies)
	k.callee(&w.kept.Callee)
	for i, c := range w.callers {
		k.texts("caller", c.stage)
		k.flags(c.alive, c.young, c.frozen, c.state)
		k.numbers(c.runs, int(c.asks.last), len(c.run.made))
		for _, q := range c.questions {
			k.texts("question", q.text, q.answer)
			k.numbers(int(q.n), q.copies, q.known)
		}
		if one := c.asks.to["B"]; one != nil {
			k.texts("told")
			k.numbers(one.told)
			for i := range one.open {
				k.numbers(int(one.open[i].n))
				k.flags(one.open[i].ready.IsZero())
			}
		}
		for i := range c.stream {
			m := &c.stream[i]
			k.texts("message", m.text)
			k.flags(m.settled, m.q.Fence)
			k.numbers(int(m.s.Low), int(m.q.N), m.copy, m.to)
			for _, n := range m.s.Open {
				k.numbers(int(n))
			}
		}
		for _, o := range w.callees {
			k.numbers(o.next[i])
		}
	}
	for _, o := range w.callees {
		k.texts("callee")
		k.flags(o.alive, o.young, o.dirty)
		for _, text := range o.effect {
			k.texts("effect", text)
		}
		k.replies(o.wait)
		k.callee(&o.Callee)
	}
	return k
}

type explorer struct {
	mistake
	questions       []string // that the event asks
	thaws           bool     // an owner of the caller that was replaced may send what it has under way
	calm            bool     // nothing is lost and nothing given up
	fickle          bool     // the callee may refuse
	ages            bool     // minutes may pass
	callers, owners int      // of the callee; how many there may be
	copies, runs    int
	most            int
	queue           []*world
	paths           []path
	seen            map[[2]uint64]bool // the keys of worlds, hashed
	seeds           [2]maphash.Seed
	key             key
	from            int
	count           map[string]int
	wrong           string
	at              int
}

type path struct {
	from int
	what string
}

func (x *explorer) move(what string, w *world) {
	x.count[what]++
	x.key = w.key(x.key[:0])
	hash := [2]uint64{maphash.Bytes(x.seeds[0], x.key), maphash.Bytes(x.seeds[1], x.key)}
	if x.seen[hash] {
		return
	}
	x.seen[hash] = true
	x.queue = append(x.queue, w)
	x.paths = append(x.paths, path{x.from, what})
	if wrong := x.check(w); wrong != "" && x.wrong == "" {
		x.wrong, x.at = wrong, len(x.paths)-1
	}
}

func (x *explorer) trace() string {
	var path []string
	for at := x.at; at > 0; at = x.paths[at].from {
		path = append(path, x.paths[at].what)
	}
	slices.Reverse(path)
	return strings.Join(path, "\n")
}

func (x *explorer) explore() {
	x.seen, x.count = make(map[[2]uint64]bool), make(map[string]int)
	x.seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}
	first := &world{record: callerRecord{owner: 1}, kept: calleeRecord{owner: 1}}
	first.callers = []*caller{{alive: true, state: slices.Contains(x.questions, "state")}}
	first.callees = []*calleeOwner{{alive: true}}
	x.move("begin", first)
	for i := 0; i < len(x.queue) && x.wrong == "" && len(x.queue) < x.most; i++ {
		x.from = i
		x.moves(x.queue[i])
		x.queue[i] = nil
	}
	x.queue = nil
}

func (x *explorer) check(w *world) string {
	for i, n := range w.effects {
		switch text := texts[i]; {
		case n > 1:
			return fmt.Sprintf("%q has had its effect %d times", text, n)
		case n > 0 && text == "state" && !w.record.state:
			return "something was asked because of what was never written"
		case w.denied && n > 0:
			return "the event was refused, and what it asked was done"
		}
	}
	for _, c := range w.callers {
		for _, q := range c.questions {
			if q.answer != "" && q.answer != "refused" && q.answer != "unknown" && q.answer != q.text {
				return fmt.Sprintf("%q was answered as %q", q.text, q.answer)
			}
		}
	}
	return ""
}

func (x *explorer) moves(w *world) {
	x.worker(w)
	for token := range w.callers {
		x.caller(w, token)
	}
	for token := range w.callees {
		x.callee(w, token)
	}
	for i := range w.replies {
		x.arrives(w, i)
	}
	x.claims(w)
}

// worker sends the event to the owner that there is.
func (x *explorer) worker(w *world) {
	owner := w.record.owner
	if w.told != "" || owner == 0 {
		return
	}
	n := w.clone()
	c := n.ownCaller(owner - 1)
	n.again = n.again || n.sent != 0 && n.sent != owner
	n.sent = owner
	switch {
	case n.record.done != "":
		n.told = n.record.done
		n.denied = n.told == "refused"
		x.move("the worker is answered from the record", n)
	case c.stage == "" && c.runs < x.runs:
		x.begin(n, c)
		x.move("the event begins", n)
	}
}

func (x *explorer) begin(w *world, c *caller) {
	c.stage, c.run, c.questions = "runs", Run{}, nil
	c.runs++
	for _, text := range x.questions {
		if text == "state" && !c.state {
			text = "no state"
		}
		c.questions = append(c.questions, &question{text: text})
	}
}

func (x *explorer) caller(w *world, i int) {
	c := w.callers[i]
	if c.frozen {
		for j, q := range c.questions {
			if q.answer == "" && q.copies > 0 && q.copies < x.copies && w.kept.owner > 0 {
				n := w.clone()
				n.ownCaller(i).frozen = false
				x.ask(n, i, j)
				x.move("an owner of the caller that was replaced asks again", n)
			}
		}
	}
	if !c.alive {
		return
	}
	token := i + 1
	// Another owner takes over, whether or not what is under way lands before.
	if len(w.callers) < x.callers {
		n := w.clone()
		n.ownCaller(i).alive, n.record.owner = false, 0
		x.move("the caller's owner dies", n)
		if x.thaws && c.stage == "runs" {
			n := n.clone()
			n.ownCaller(i).frozen = true
			x.move("the caller's owner is frozen", n)
		}
		if c.stage == "puts" {
			n := n.clone()
			n.record.done = outcome(c)
			x.move("the caller's owner dies, its put has landed", n)
		}
	}
	if c.state && !w.record.state {
		n := w.clone()
		n.record.state = true
		x.move("what was written before is durable", n)
	}
	switch c.stage {
	case "runs":
		x.runsOn(w, i)
	case "puts":
		n := w.clone()
		d := n.ownCaller(i)
		n.record.done, d.stage = outcome(d), ""
		d.asks.Settle(&d.run, 0, now)
		x.move("the event is durable", n)
	}
	if !c.asks.Idle() {
		n := w.clone()
		d := n.ownCaller(i)
		if say, _ := d.asks.Due(now.Add(time.Second)); len(say) > 0 {
			d.stream = append(d.stream, message{settled: true, s: say[0].Settled, q: Question{Token: uint64(token)}})
			if x.mistake == settledNearby {
				for k, o := range n.callees {
					if o.alive {
						n.ownCallee(k).Settled("A", uint64(token), say[0].Settled)
					}
				}
			}
			x.move("asks are said to be settled", n)
		}
	}
	if x.ages && c.young {
		n := w.clone()
		n.ownCaller(i).young = false
		for j := range i { // its predecessors' copies have died, and so has what the worker has sent them
			n.ownCaller(j).stream = nil
			for k := range n.callees {
				n.ownCallee(k).next[j] = 0
			}
		}
		x.move("a minute passes", n)
	}
}

// outcome returns what the event is answered.
func outcome(c *caller) string {
	for _, q := range c.questions {
		if q.answer == "refused" || q.answer == "unknown" {
			return q.answer
		}
	}
	return "done"
}

// runsOn is what the handler may do next.
func (x *explorer) runsOn(w *world, i int) {
	c := w.callers[i]
	answered := true
	for j, q := range c.questions {
		if q.answer != "" {
			continue
		}
		answered = false
		if q.copies > 0 && !x.calm {
			n := w.clone()
			d := n.ownCaller(i)
			d.questions[j].answer = "unknown"
			x.move("an ask is given up", n)
		}
		if q.copies < x.copies && (w.record.state || !c.state || x.mistake == noGate) {
			n := w.clone()
			x.ask(n, i, j)
			x.move(fmt.Sprint("asks, copy ", q.copies+1), n)
		}
	}
	if answered {
		n := w.clone()
		d := n.ownCaller(i)
		if d.run.Owes() && x.mistake != askedIsRead {
			d.stage = "puts"
			x.move("the handler returns", n)
			return
		}
		if x.mistake == askedIsRead {
			d.asks.Settle(&d.run, 0, now)
		}
		d.stage = ""
		x.move("the handler returns, nothing is owed, the answer is lost", n)
		n = n.clone()
		n.told = outcome(d)
		n.denied = n.told == "refused"
		x.move("the handler returns, nothing is owed, the worker is told", n)
		return
	}
	if c.runs < x.runs {
		n := w.clone()
		x.begin(n, n.ownCaller(i))
		x.move("the event gives way, and begins again", n)
	}
}

func (x *explorer) ask(w *world, i, j int) {
	c := w.ownCaller(i)
	q := c.questions[j]
	token := uint64(i + 1)
	if q.copies == 0 {
		asked, caller := q.text, "A"
		switch x.mistake {
		case byOrdinal:
			asked = fmt.Sprint(c.run.Asked())
		case byOwner:
			caller = fmt.Sprint("A", token)
		}
		q.id = c.run.Name(caller, "E", "B", []byte(asked))
		q.n, _ = c.asks.Ask(&c.run, "B", q.id, 0, false, now)
	}
	q.copies++
	q.known = w.kept.owner // as a claim tells, or Moved
	c.stream = append(c.stream, message{
		q:    Question{ID: q.id, Caller: "A", Token: token, N: q.n, Fence: x.mistake != fencesNothing && c.young && w.again},
		text: q.text, copy: q.copies, to: q.known,
	})
}

// arrives is a reply that comes, or is lost.
func (x *explorer) arrives(w *world, i int) {
	r := w.replies[i]
	lost := w.clone()
	lost.replies = slices.Delete(lost.replies, i, i+1)
	if !x.calm {
		x.move("a reply is lost", lost)
	}
	c := w.callers[r.caller-1]
	if !c.alive || c.stage != "runs" {
		return
	}
	for j, q := range c.questions {
		if q.n != r.n || q.answer != "" || q.copies == 0 {
			continue
		}
		if !r.kept && r.copy != q.copies && x.mistake != anyCopyCounts || r.text == "moved" {
			continue
		}
		n := lost.clone()
		d := n.ownCaller(r.caller - 1)
		d.questions[j].answer = r.text
		if !r.kept {
			d.asks.Nothing(&d.run, "B", q.id, q.n)
		} else if x.mistake == settlesEarly {
			early := d.run
			d.asks.Settle(&early, 0, now)
		}
		x.move("a reply comes", n)
	}
}

func (x *explorer) callee(w *world, i int) {
	o := w.callees[i]
	if !o.alive {
		return
	}
	token := i + 1
	land := func(n *world) {
		b := n.callees[i]
		for _, text := range b.effect {
			n.effects[slices.Index(texts[:], text)]++
		}
		n.kept.Callee = cloneCallee(b.Callee)
		if x.mistake == fencesAreMemory {
			n.kept.Fences = nil
		}
	}
	if len(w.callees) < x.owners {
		n := w.clone()
		n.callees[i] = &calleeOwner{}
		n.kept.owner = 0
		x.move("the callee's owner dies", n)
		if o.dirty {
			n := w.clone()
			land(n)
			n.callees[i] = &calleeOwner{}
			n.kept.owner = 0
			x.move("the callee's owner dies, its put has landed", n)
		}
	}
	if o.dirty {
		n := w.clone()
		land(n)
		b := n.ownCallee(i)
		n.replies = append(n.replies, b.wait...)
		b.effect, b.wait, b.dirty = nil, nil, false
		x.move("the callee's put lands", n)
	}
	for from, c := range w.callers {
		if o.next[from] >= len(c.stream) {
			continue
		}
		if !x.calm {
			n := w.clone()
			n.ownCallee(i).next[from]++
			x.move("a message is lost", n)
		}
		x.hears(w, i, from, c.stream[o.next[from]], token)
	}
}

func (x *explorer) hears(w *world, i, from int, m message, token int) {
	n := w.clone()
	o := n.ownCallee(i)
	o.next[from]++
	if m.settled {
		if x.mistake == settledNearby {
			return
		}
		o.Settled("A", m.q.Token, m.s)
		x.move("the callee hears what is settled", n)
		return
	}
	r := reply{caller: from + 1, n: m.q.N, copy: m.copy, token: token}
	say := func(n *world, r reply, wait bool) {
		o := n.ownCallee(i)
		if wait {
			o.dirty = true
			o.wait = append(o.wait, r)
			return
		}
		n.replies = append(n.replies, r)
	}
	verdict, answer, fenced := o.Receive(m.q, now)
	if x.mistake == fencesAreMemory {
		fenced = false
	}
	if x.mistake == keepsNothing && verdict == Answer {
		verdict = Fresh
	}
	switch {
	case verdict == Moved:
		r.text = "moved"
		say(n, r, false)
		x.move("an ask of an older owner is turned away", n)
	case verdict == Answer:
		r.text, r.kept = string(answer), true
		say(n, r, fenced || o.dirty)
		x.move("an ask is answered from memory", n)
	case m.to != token && x.mistake != runsForOthers:
		r.text = "moved"
		say(n, r, fenced)
		x.move("an ask for another owner is turned away", n)
	default:
		if x.fickle {
			n := n.clone()
			r := r
			r.text = "refused"
			say(n, r, fenced || o.dirty)
			x.move("an ask is refused", n)
		}
		o = n.ownCallee(i)
		o.Keep(m.q, []byte(m.text), now)
		o.effect = append(o.effect, m.text)
		r.text, r.kept = m.text, true
		say(n, r, true)
		x.move("an ask runs", n)
	}
}

func (x *explorer) claims(w *world) {
	if w.record.owner == 0 && len(w.callers) < x.callers {
		n := w.clone()
		n.callers = append(n.callers, &caller{alive: true, young: true, state: n.record.state})
		n.record.owner = len(n.callers)
		x.move("the caller is claimed", n)
	}
	if w.kept.owner == 0 && len(w.callees) < x.owners {
		n := w.clone()
		n.callees = append(n.callees, &calleeOwner{alive: true, young: true, Callee: cloneCallee(n.kept.Callee)})
		n.kept.owner = len(n.callees)
		x.move("the callee is claimed", n)
	}
}

// An exploration makes much garbage and keeps little.
func init() { debug.SetGCPercent(300) }

// stories are what is explored. Each is small enough to be explored whole, or as far as it says.
var stories = map[string]explorer{
	"one question":            {questions: []string{"x"}, callers: 2, owners: 2, copies: 2, runs: 1, most: 60_000},
	"one that may be refused": {questions: []string{"x"}, fickle: true, callers: 2, owners: 2, copies: 2, runs: 1, most: 60_000},
	"the event gives way":     {questions: []string{"x"}, fickle: true, callers: 2, owners: 1, copies: 1, runs: 2, most: 60_000},
	"two questions":           {questions: []string{"x", "y"}, callers: 2, owners: 1, copies: 1, runs: 1, most: 60_000},
	"because of a state":      {questions: []string{"state"}, callers: 2, owners: 1, copies: 1, runs: 1, most: 60_000},
	"an owner is frozen":      {questions: []string{"x"}, fickle: true, thaws: true, calm: true, callers: 2, owners: 2, copies: 2, runs: 1, most: 60_000},
	"minutes pass":            {questions: []string{"x"}, fickle: true, ages: true, callers: 3, owners: 1, copies: 1, runs: 1, most: 60_000},
}

func TestAQuestionHasOneEffectWhoeverDies(t *testing.T) {
	for name, x := range stories {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x.explore()
			t.Logf("%d worlds, %v", len(x.paths), x.count)
			if x.wrong != "" {
				t.Fatalf("%s:\n%s", x.wrong, x.trace())
			}
			for _, what := range []string{"an ask runs", "an ask is answered from memory", "the callee hears what is settled", "the worker is answered from the record"} {
				if x.count[what] == 0 {
					t.Errorf("%q has never happened", what)
				}
			}
		})
	}
}

func TestEveryMistakeAboutAsksIsCaught(t *testing.T) {
	for m, story := range map[mistake]string{
		keepsNothing: "one question", settlesEarly: "one question", fencesNothing: "one question", noGate: "because of a state",
		byOrdinal: "two questions", byOwner: "one question", askedIsRead: "one question", runsForOthers: "one question",
		anyCopyCounts: "one that may be refused", fencesAreMemory: "an owner is frozen", settledNearby: "one question",
	} {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			x := stories[story]
			x.mistake = m
			x.explore()
			if x.wrong == "" {
				t.Fatalf("not caught in %d worlds", len(x.paths))
			}
			t.Logf("caught after %d worlds: %s\n%s", len(x.paths), x.wrong, x.trace())
		})
	}
}
