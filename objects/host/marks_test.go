package host

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/internal/engine"
	"holdfast/objects/internal/tells"
)

// lossy selects the messages that a test's bus loses: requests of a kind, or the answers to them.
type lossy struct {
	mu       sync.Mutex
	kind     wire.Kind
	answers  bool
	lost     int
	inboxes  map[string]bool
	finished bool
}

func lose(bus *memoryBus, kind wire.Kind, answers bool) *lossy {
	l := &lossy{kind: kind, answers: answers, inboxes: make(map[string]bool)}
	bus.mu.Lock()
	defer bus.mu.Unlock()
	bus.drop = func(subject, reply string, data []byte) bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		var req wire.Request
		if reply != "" && wire.Decode(data, &req) == nil && req.Kind == kind {
			l.inboxes[reply] = true
		}
		drop := !l.finished && (!answers && l.inboxes[reply] || answers && l.inboxes[subject])
		if drop {
			l.lost++
		}
		return drop
	}
	return l
}

func (l *lossy) end() (lost int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.finished = true
	return l.lost
}

// mark returns b's mark of a.
func (w *tellWorld) mark() (m tells.Mark, ok bool) {
	w.t.Helper()
	o := w.in.find(teller1("b").Key())
	if o == nil {
		w.t.Error("b is not here")
		return m, false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	value, ok := o.memory.Reserved().Get(tells.MarkKey(teller1("a").Key()))
	if !ok {
		return m, false
	}
	m, err := engine.DecodeCount(value)
	if err != nil {
		w.t.Fatal(err)
	}
	return m, true
}

// askA asks "a", as "b" does, whether "b" may forget what it has heard.
func (w *tellWorld) askA() {
	w.t.Helper()
	m, ok := w.mark()
	if !ok {
		w.t.Error("b has no mark of a")
		return
	}
	body := wire.Encode(&wire.ForgetBody{From: teller1("b").Key(), Born: m.Born, Last: m.Last})
	if _, err := w.client.Do(w.t.Context(), wire.Address{ID: teller1("a"), Name: "a"}, &wire.Request{Kind: wire.MayForget, Body: body}); err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
}

// The sender has said that its message may be forgotten, which was lost, and is asleep. It is asked, wakes, and says so again
// as soon as no copy of an earlier owner can come any more.
func TestAReceiverForgetsASenderThatHasSleptSince(t *testing.T) {
	for _, keeps := range []bool{true, false} {
		t.Run(fmt.Sprint("the sender keeps something: ", keeps), func(t *testing.T) {
			tellBubble(t, func(t *testing.T, w *tellWorld) {
				if keeps {
					w.mustDo("a", "note", `"here"`)
				}
				forgets := lose(w.bus, wire.Forget, false)
				w.mustDo("a", "tell", `["1"]`)
				time.Sleep(time.Second)
				if lost := forgets.end(); lost != 1 {
					t.Errorf("%d messages were lost, want one", lost)
				}
				time.Sleep(15 * time.Minute)
				if w.in.find(teller1("a").Key()) != nil || w.in.find(teller1("b").Key()) != nil {
					t.Error("they do not sleep")
				}
				w.mustDo("c", "tell", `["2"]`) // which has b look after its marks
				time.Sleep(time.Second)
				if n := w.marks("b"); n != 1 {
					t.Errorf("b has %d marks, want that of a", n)
				}
				time.Sleep(wire.CopyLife)
				if _, kept := w.mark(); kept {
					t.Error("b still remembers a")
				}
				w.mustDo("a", "tell", `["3"]`)
				time.Sleep(time.Second)
				if noted := w.noted("b"); !slices.Equal(noted, []string{"1", "2", "3"}) {
					t.Errorf("b has noted %q, want each message once", noted)
				}
			})
		})
	}
}

// The receiver has handled the message and the sender does not know: it will send it again, however long it takes.
func TestAReceiverKeepsTheMarkOfWhatItsSenderHasNotHeardOf(t *testing.T) {
	tellBubble(t, func(t *testing.T, w *tellWorld) {
		answers := lose(w.bus, wire.Told, true)
		w.mustDo("a", "tell", `["1"]`)
		time.Sleep(15 * time.Minute)
		w.mustDo("b", "note", `"here"`)
		w.askA()
		if _, kept := w.mark(); !kept {
			t.Error("b has forgotten what a will send again")
		}
		if answers.end() < 2 {
			t.Error("no answer was lost")
		}
		time.Sleep(10 * time.Minute)
		if noted := w.noted("b"); !slices.Equal(noted, []string{"1", "here"}) {
			t.Errorf("b has noted %q, want the message once", noted)
		}
		w.mustDo("b", "note", `"later"`) // its commit takes the mark along
		if n := w.marks("b"); n != 0 {
			t.Errorf("b keeps %d marks though a has heard of all", n)
		}
	})
}

// A copy that the dead owner of the sender has sent may be late for a minute: until then the mark is needed.
func TestAReceiverKeepsTheMarkOfASenderThatHasJustMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cleanBook()
		store, clock := newMemoryStore(), newMemoryClock()
		w := newTellWorld(t, store, "one", clock)
		lose(w.bus, wire.Forget, false)
		w.mustDo("a", "tell", `["1"]`)
		time.Sleep(time.Second)
		w.crash()
		w = newTellWorld(t, store, "two", clock)
		w.mustDo("a", "note", `"here"`)
		w.mustDo("b", "note", `"here"`)
		time.Sleep(wire.CopyLife - time.Second)
		w.askA()
		if _, kept := w.mark(); !kept {
			t.Error("b has forgotten a within the minute")
		}
		time.Sleep(2 * time.Second) // a has not to be asked again
		if _, kept := w.mark(); kept {
			t.Error("b remembers a after the minute")
		}
		if _, err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

// hub is the receiver of many senders, and acts for these senders.
type hub struct {
	*tellWorld
	id objects.ID
	o  *object
}

func newHub(t *testing.T) *hub {
	h := &hub{tellWorld: newTellWorldOf(t, newMemoryStore(), "me", newMemoryClock(), crowdImpl)}
	var err error
	if h.id, err = crowds.ID("hub"); err != nil {
		t.Fatal(err)
	}
	h.ask(wire.Call, "hear", []byte("null"))
	h.o = h.in.find(h.id.Key())
	return h
}

func (h *hub) ask(kind wire.Kind, call string, body []byte) *wire.Reply {
	reply, err := h.client.Do(context.Background(), wire.Address{ID: h.id, Name: "hub"}, &wire.Request{Kind: kind, Call: call, Body: body})
	if err != nil {
		h.t.Error(err)
		return new(wire.Reply)
	}
	return reply
}

// tell sends the first message of a sender.
func (h *hub) tell(sender string) (code objects.Code) {
	return h.ask(wire.Told, "", wire.Encode(&wire.Batch{From: sender, Born: 1, Messages: []wire.TellMessage{{N: 1, Call: "hear", Body: []byte("null")}}})).Code
}

// forget sends a sender's Forget.
func (h *hub) forget(sender string) {
	req := &wire.Request{Kind: wire.Forget, Gateway: h.in.id, Body: wire.Encode(&wire.ForgetBody{From: sender, Born: 1, Last: 1})}
	if err := wire.Ask(h.bus, wire.ObjectHostSubject(h.id.Key()), fmt.Sprint(wire.InboxPrefix, h.in.id, ".", sender, ".1"), req); err != nil {
		h.t.Error(err)
	}
	synctest.Wait()
}

// marks returns how many marks the hub keeps, and their bytes in the record.
func (h *hub) marks() (n, size int) {
	h.o.mu.Lock()
	defer h.o.mu.Unlock()
	data := h.o.memory.Reserved()
	return data.Between(engine.MarksAt, engine.After(engine.MarksAt)).Len(), data.Size()
}

// members returns the keys of so many senders.
func members(t *testing.T, n int) (keys []string) {
	for i := range n {
		id, err := crowds.ID(fmt.Sprint("m", i))
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, id.Key())
	}
	return keys
}

func TestWhoeverIsOneTooManyForTheMarksOfAReceiverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		senders := members(t, tells.MaxMarks+1)
		first, last, extra := senders[0], senders[tells.MaxMarks-1], senders[tells.MaxMarks]
		var writes []engine.Write
		for _, s := range senders[:tells.MaxMarks-1] {
			writes = append(writes, engine.Write{Key: tells.MarkKey(s), Value: tells.Mark{Born: 1, Last: 1}.Encode()})
		}
		h.client.mu.Lock()
		for _, s := range senders {
			h.client.deaf[s] = true // none answers whether its mark is needed
		}
		h.client.mu.Unlock()
		slices.SortFunc(writes, func(a, b engine.Write) int { return strings.Compare(a.Key, b.Key) })
		h.o.mu.Lock()
		h.o.memory.Apply(writes)
		h.o.mu.Unlock()
		if code := h.tell(last); code != "" {
			t.Errorf("the last mark: %s", code)
		}
		for range 3 {
			if code := h.tell(extra); code != objects.Overloaded {
				t.Errorf("one more mark: %q, want that it waits", code)
			}
		}
		for _, known := range []string{first, last} {
			if code := h.tell(known); code != "" {
				t.Errorf("who has a mark is answered %s", code)
			}
		}
		h.forget(first)
		if code := h.tell(extra); code != "" {
			t.Errorf("there is room, and the answer is %s", code)
		}
		if n, _ := h.marks(); n != tells.MaxMarks {
			t.Errorf("%d marks, want %d", n, tells.MaxMarks)
		}
		if heard := number(h.ask(wire.Call, "heard", []byte("null"))); heard != 3 {
			t.Errorf("the hub has heard %d, want its first, the last and the extra", heard)
		}
		if _, err := h.stop(); err != nil {
			t.Error(err)
		}
	})
}

// What many senders cost, SENDERS or 2,000: each tells the hub something, a tenth of a millisecond apart, and says a third of a second
// later that it may be forgotten, as a sender does. A tenth never says so.
func TestWhatManySendersCost(t *testing.T) {
	senders := 2_000
	if n, err := strconv.Atoi(os.Getenv("SENDERS")); err == nil {
		senders = n
	}
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		all := members(t, senders)
		most, size, refused := 0, 0, 0
		var waiting []string // those that are to say so
		for i, sender := range all {
			switch code := h.tell(sender); {
			case code == objects.Overloaded:
				refused++
			case code != "":
				t.Fatal(code)
			case i%10 > 0:
				waiting = append(waiting, sender)
			}
			if len(waiting) > 3_000 {
				h.forget(waiting[0])
				waiting = waiting[1:]
			}
			time.Sleep(100 * time.Microsecond)
			if n, bytes := h.marks(); n > most {
				most, size = n, bytes
			}
		}
		t.Logf("of %d senders %d were heard at once and %d have to wait; at most %d marks, %d bytes of the record", senders, senders-refused, refused, most, size)
		if most > tells.MaxMarks || size > 5<<20 || most < senders/10 {
			t.Errorf("%d marks in %d bytes", most, size)
		}
		if _, err := h.stop(); err != nil {
			t.Error(err)
		}
	})
}
