package objects

import (
	"fmt"
	"time"

	"holdfast/objects/internal/engine"
)

// Settings of a class. A zero field means the default.
type Settings struct {
	Hibernate time.Duration // 10 s: time without an event until the instance is dropped; negative: never
	Evict     time.Duration // 5 min: time without an event until the host releases the object; negative: never
	EventTime time.Duration // 30 s: then the Tx is cancelled, and the event fails with Unavailable when its handler returns
	Queue     time.Duration // half a second: an event that would wait longer in the queue is Overloaded

	History time.Duration // none: how far back Tx.Restore and `holdfast restore` reach, at most MaxHistory; negative: none, to override with With

	Value  int // MaxValue, which is also the most: bytes of a value, as stored; TooLarge beyond, for this and the next two
	Writes int // MaxWrites, likewise: bytes of all keys and values that an event writes
	State  int // MaxState, likewise: bytes of all keys and values of an object

	Body int // MaxBody, which is also the most: bytes of a request's body; TooLarge beyond

	// Upload is the most bytes of a large body: a client's request that a worker forwards, with more than Body or than the
	// gateway's Limits.Body. The event begins before such a body has come, and only Tx.Stream can read it. The default is 0: a
	// large body is TooLarge.
	Upload int64

	Response int // MaxBody, likewise: bytes of the response to a request; more abort the event
	Frame    int // MaxFrame, likewise: bytes of a client's message; the socket is closed with 1009 beyond

	// Resume is how long a socket that has lost its connection, or its gateway, may come back as the same Socket. It then
	// gets the messages that were sent meanwhile; if they exceed ResumeWindow the oldest are missing, and the client learns how
	// many. While the socket is away it is among Sockets; if it does not come back WebSocketClose runs when the time is over.
	// The default is 0, not at all; the most is MaxResume. The client must support it: clients/js and package client do. See
	// docs/sockets.md.
	Resume       time.Duration
	ResumeWindow int // 256 KiB, at most MaxResumeWindow: bytes of sent messages that an object keeps for sockets that come back
}

// Limits of sockets that come back.
const (
	MaxResume       = 10 * time.Minute
	MaxResumeWindow = 16 << 20
)

// With returns the implementation with other settings: fields that are not zero replace the implementation's. So a program
// can override a package's settings: app.Config{Objects: {room.Objects.With(objects.Settings{Hibernate: time.Minute})}}. With
// panics over an invalid setting.
func (i *Implementation) With(s Settings) *Implementation {
	refuse := func(name string, v any) {
		panic(fmt.Sprintf("objects: class %s: the setting %s cannot be %v", i.class, name, v))
	}
	with, class := *i, *i.engine
	size := func(name string, v, most int, to *int) {
		switch {
		case v < 0 || v > most:
			refuse(name, v)
		case v > 0:
			*to = v
		}
	}
	size("Value", s.Value, MaxValue, &class.Limits.Value)
	size("Writes", s.Writes, MaxWrites, &class.Limits.Writes)
	size("State", s.State, MaxState, &class.Limits.State)
	size("Body", s.Body, MaxBody, &class.Limits.Body)
	size("Response", s.Response, MaxBody, &class.Limits.Response)
	size("Frame", s.Frame, MaxFrame, &class.Limits.Frame)
	if s.Upload < 0 {
		refuse("Upload", s.Upload)
	} else if s.Upload > 0 {
		class.Limits.Upload = s.Upload
	}
	wait := func(name string, v time.Duration, mayBeNever bool, to *time.Duration) {
		switch {
		case v < 0 && !mayBeNever:
			refuse(name, v)
		case v < 0:
			*to = engine.Never
		case v > 0:
			*to = v
		}
	}
	wait("Hibernate", s.Hibernate, true, &class.Life.Hibernate)
	wait("Evict", s.Evict, true, &class.Life.Evict)
	wait("EventTime", s.EventTime, false, &class.Limits.Event)
	wait("Queue", s.Queue, false, &class.Life.Queue)
	switch {
	case s.History > MaxHistory:
		refuse("History", s.History)
	case s.History != 0:
		class.History = max(s.History, 0)
	}
	if s.Resume > MaxResume {
		refuse("Resume", s.Resume)
	}
	wait("Resume", s.Resume, false, &class.Resume.Time)
	size("ResumeWindow", s.ResumeWindow, MaxResumeWindow, &class.Resume.Bytes)
	with.engine = &class
	class.Author = author{&with}
	return &with
}
