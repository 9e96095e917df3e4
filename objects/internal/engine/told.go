package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Told is a message that an object has told and that is not delivered yet, as it is stored.
type Told struct {
	N    uint64    `json:"n"`              // the object's number for it; it orders the messages of one pair
	To   string    `json:"to"`             // the receiver, "class.hex"
	Name string    `json:"name,omitempty"` // the receiver's name, if it is known
	Near string    `json:"near,omitempty"` // the region whose hosts are preferred if nobody owns the receiver
	Call string    `json:"call"`
	Key  string    `json:"key,omitempty"`
	At   time.Time `json:"at,omitzero"` // when to deliver it; zero: at once

	Tries int       `json:"tries,omitempty"` // failures of its handler so far
	Due   time.Time `json:"due,omitzero"`    // when to try again, after a failure
	Err   *Failure  `json:"err,omitempty"`   // of the last try
	Hook  int       `json:"hook,omitempty"`  // of a parked message: failures of Undelivered so far

	Body []byte `json:"-"` // the call's input
}

// Failure is an error in its stored form.
type Failure struct {
	Code      string `json:"code"`
	Message   string `json:"message,omitempty"`
	Reference string `json:"ref,omitempty"`
}

// When returns when to deliver the message, or to try again.
func (m Told) When() time.Time {
	if m.Due.After(m.At) {
		return m.Due
	}
	return m.At
}

// Encode returns the message as a stored value: a line of JSON, then the body unchanged.
func (m Told) Encode() []byte {
	head, err := json.Marshal(m)
	if err != nil {
		panic(err) // our own type always encodes
	}
	return Raw(append(append(head, '\n'), m.Body...))
}

// DecodeTold decodes the output of Encode. The body shares the value's memory.
func DecodeTold(value []byte) (m Told, err error) {
	raw, ok := RawOf(value)
	if !ok {
		return m, errors.New("a told message is not raw")
	}
	head, body, ok := bytes.Cut(raw, []byte("\n"))
	if !ok {
		return m, errors.New("a told message has no body")
	}
	if err := json.Unmarshal(head, &m); err != nil {
		return m, fmt.Errorf("a told message: %w", err)
	}
	m.Body = body
	return m, nil
}

// OutboxKey returns the key of the message with this number.
func OutboxKey(n uint64) string { return fmt.Sprintf("%s%016x", OutboxAt, n) }

// ParkedKey returns the key of the parked message with this number.
func ParkedKey(n uint64) string { return fmt.Sprintf("%s%016x", ParkedAt, n) }

// TimerKey returns the key of a message that is not due, or is for the object itself.
func TimerKey(n uint64, key string) string {
	if key != "" {
		return TimersAt + "=" + key
	}
	return fmt.Sprintf("%s%016x", TimersAt, n)
}

// Count numbers the messages that an object tells. Born distinguishes the lives of an object whose record was removed.
type Count struct{ Born, Last uint64 }

// Encode returns the count as a stored value.
func (c Count) Encode() []byte { return fmt.Appendf(nil, "[%d,%d]", c.Born, c.Last) }

// DecodeCount decodes the output of Encode; the zero Count for no bytes.
func DecodeCount(value []byte) (c Count, err error) {
	if len(value) == 0 {
		return c, nil
	}
	var pair [2]uint64
	if err := json.Unmarshal(value, &pair); err != nil {
		return c, fmt.Errorf("the count of told messages: %w", err)
	}
	return Count{pair[0], pair[1]}, nil
}

// Next returns the count after one more message. born is the Born of a count that begins.
func (c Count) Next(born uint64) Count {
	if c.Last == 0 {
		c.Born = born
	}
	c.Last++
	return c
}

// Tell makes the message part of the transaction. It replaces a message with the same key that is not due yet.
func (t *Tx) Tell(m Told) {
	t.use()
	if most := t.limits().Told; len(m.Body) > most {
		t.Abort(t.errorf(tooLarge, "the input of call %.80q has %d bytes, at most %d can be told", m.Call, len(m.Body), most))
	}
	pending := t.told + t.run.world.Object.Told()
	if most := t.limits().Tells; pending >= most {
		t.Abort(t.errorf(overloaded, "the object has %d messages under way, more are not allowed", most))
	}
	t.told++
	count, err := DecodeCount(t.stored(ToldCount))
	if err != nil {
		t.Abort(err)
	}
	count = count.Next(t.run.world.Born)
	m.N = count.Last
	t.Store(ToldCount, count.Encode())
	if !m.At.After(t.began) {
		m.At = time.Time{}
	}
	if m.Key != "" {
		t.Store(TimerKey(0, m.Key), nil)
	}
	if !m.At.IsZero() || m.To == t.Key() {
		t.Store(TimerKey(m.N, m.Key), m.Encode())
	} else {
		t.Store(OutboxKey(m.N), m.Encode())
	}
}

func (t *Tx) stored(key string) []byte {
	value, _ := t.Stored(key)
	return value
}

// Cancel removes the message with this key that is not due yet, and reports whether there was one.
func (t *Tx) Cancel(key string) bool {
	at := TimerKey(0, key)
	_, ok := t.Stored(at)
	if ok {
		t.Store(at, nil)
	}
	return ok
}

// Pending returns the message with this key that is not due yet or, if there is none, the parked one.
func (t *Tx) Pending(key string) (m Told, ok bool) {
	if value, ok := t.Stored(TimerKey(0, key)); ok {
		return t.decodeTold(value), true
	}
	for _, value := range t.Entries(ParkedAt, After(ParkedAt), false) {
		if m := t.decodeTold(value); m.Key == key {
			return m, true
		}
	}
	return m, false
}

func (t *Tx) decodeTold(value []byte) Told {
	m, err := DecodeTold(value)
	if err != nil {
		t.Abort(err)
	}
	return m
}

// forgetOwn removes the object's messages to itself.
func (t *Tx) forgetOwn() {
	for key, value := range t.Entries(TimersAt, After(TimersAt), false) {
		if t.decodeTold(value).To == t.Key() {
			t.Store(key, nil)
		}
	}
}

// HearsUndelivered reports whether the instance has a handler for parked messages.
func (i *Instance) HearsUndelivered() bool { return i.class.Author.HearsUndelivered(i.self) }

// Told runs the call of a told message. The handled writes, which say that the message was handled, land with its
// effect.
func (i *Instance) Told(ctx context.Context, call string, input []byte, handled ...Write) Outcome {
	return i.run(ctx, func(t *Tx, _ *Outcome) error {
		for _, w := range handled {
			t.Store(w.Key, w.Value)
		}
		_, err := i.class.Author.Call(i.self, t, call, input)
		return err
	})
}

// Undelivered runs the handler for a parked message. The parked writes land with its effect.
func (i *Instance) Undelivered(ctx context.Context, m Told, parked ...Write) Outcome {
	return i.run(ctx, func(t *Tx, _ *Outcome) error {
		for _, w := range parked {
			t.Store(w.Key, w.Value)
		}
		return i.class.Author.Undelivered(i.self, t, m)
	})
}
