package objects

import (
	"fmt"
	"time"

	"holdfast/objects/internal/engine"
)

// Settings of a class. A zero field is the default.
type Settings struct {
	Hibernate time.Duration // 10 s: without an event, until the instance is dropped; negative: never
	Evict     time.Duration // 5 min: likewise, until the host lets go of the object; negative: never
	EventTime time.Duration // 30 s: then the Tx is cancelled, and the event fails with Unavailable when its handler returns
	Queue     time.Duration // half a second: an event that would wait longer for those before it is Overloaded

	History time.Duration // not at all: how far back Tx.Restore and `holdfast restore` reach, at most MaxHistory; negative: not at all, to override with With

	Value  int // MaxValue, which is also the most: bytes of a value, as stored; TooLarge beyond, for this and the next two
	Writes int // MaxWrites, likewise: bytes of all keys and values that an event writes
	State  int // MaxState, likewise: bytes of all keys and values of an object

	Body int // MaxBody, which is also the most: bytes of a request's body; TooLarge beyond

	// Upload is how many bytes a larger body may have: that of a client's request which a worker forwards, and which has more
	// than Body or than the gateway's Limits.Body. The event begins before such a body has come, and only Tx.Stream can read it.
	// The default is 0: a larger body is TooLarge.
	Upload int64

	Response int // MaxBody, likewise: bytes of the response to a request; more abort the event
	Frame    int // MaxFrame, likewise: bytes of a client's message; the socket is closed with 1009 beyond

	// Resume is for how long a socket that has lost its connection, or its gateway, may come back as the same Socket.
	// What was sent to it meanwhile follows; of more than ResumeWindow the oldest is missing, and the client learns how much.
	// While the socket is away it is among Sockets; if it does not come back WebSocketClose runs when the time is over. The
	// default is 0, not at all; the most is MaxResume. A client has to know how to come back: clients/js and package client do.
	// See docs/sockets.md.
	Resume       time.Duration
	ResumeWindow int // 256 KiB, at most MaxResumeWindow: bytes that an object keeps of what it has sent, for sockets that come back
}

// Limits of sockets that come back.
const (
	MaxResume       = 10 * time.Minute
	MaxResumeWindow = 16 << 20
)

// With is the implementation with other settings: those that are not zero replace what it has. So a program can override
// what a package has set: app.Config{Objects: {room.Objects.With(objects.Settings{Hibernate: time.Minute})}}. It panics over
// a setting that cannot be.
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
