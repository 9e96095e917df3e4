package engine

import (
	"cmp"
	"context"
	"net/http"
	"time"
)

// Class is a kind of object, as a host runs it.
type Class struct {
	Name   string
	Limits Limits
	Author Author

	Life Life

	History time.Duration // for how long the object's past is kept; 0: not at all

	Resume Resume

	Fetches, Alarms bool // whether an instance may answer HTTP requests, and have alarms
}

// Resume is how a class lets sockets come back that have lost their connection. Without a Time it does not.
type Resume struct {
	Time  time.Duration // for how long they may be away
	Bytes int           // of what was sent that an object keeps for them
}

// Life is for how long what an object takes is kept for it. A zero field is the host's.
type Life struct {
	Hibernate time.Duration // without an event, until the instance is dropped
	Evict     time.Duration // likewise, until the object is released
	Queue     time.Duration // an event that would wait longer is refused
}

// Soonest returns when an idle object is to be looked at.
func (l Life) Soonest() time.Duration { return min(l.Hibernate, l.Evict) }

// Never is longer than anything waits.
const Never = 100 * 365 * 24 * time.Hour

// Or is l with what it lacks.
func (l Life) Or(hosts Life) Life {
	return Life{cmp.Or(l.Hibernate, hosts.Hibernate), cmp.Or(l.Evict, hosts.Evict), cmp.Or(l.Queue, hosts.Queue)}
}

// Limits are those of a class. All of them are needed.
type Limits struct {
	Key        int           // bytes of a storage key
	Value      int           // bytes of a value
	Writes     int           // bytes of all keys and values that an event writes
	State      int           // bytes of all keys and values, as stored
	Call       int           // bytes of a call's input, and of its output
	Body       int           // bytes of a request's body that is there when the event begins
	Upload     int64         // bytes of a larger one, that a stream reads; 0: there is none
	Response   int           // bytes of a response's body
	Frame      int           // bytes of a message from a client
	Message    int           // bytes of a message that an object sends
	Sockets    int           // open at once
	Tags       int           // of one socket
	Tag        int           // bytes of a tag
	Attachment int           // bytes of a socket's attachment, as JSON
	Told       int           // bytes of the input of a told message
	Tells      int           // messages under way that the object has told
	Event      time.Duration // that an event takes
}

// Author is the code of a class: package objects between the engine and an author's struct. self is what Open returned.
// An error that a handler returns is a refusal if Refusal says so, and a fault otherwise; a panic is a fault.
type Author interface {
	Begin() *Tx // of an event that is to begin; its Face is set
	Open(tx *Tx) (self any)
	Call(self any, tx *Tx, name string, input []byte) (output []byte, err error)
	Fetch(self any, tx *Tx, w http.ResponseWriter, r *http.Request) error
	Message(self any, tx *Tx, from *Socket, m Message) error
	Closed(self any, tx *Tx, s *Socket, end Close) error
	Alarm(self any, tx *Tx, info AlarmInfo) error
	Alarms(self any) bool
	Undelivered(self any, tx *Tx, m Told) error // a message of the object is parked
	HearsUndelivered(self any) bool
	Sleep(self any, tx *Tx) error
	Sleeps(self any) bool

	Errorf(code, format string, args ...any) error // a refusal
	Refusal(err error) (refusal error, ok bool)    // the refusal in err; an improper one comes back as a fault
}

// Codes of the refusals that the engine makes. Package objects says what they mean.
const (
	invalid  = "invalid"
	notFound = "not_found"
	tooLarge = "too_large"
	tooMany  = "too_many"

	overloaded = "overloaded"

	unavailable = "unavailable"
)

// World is what a host gives to an instance. The host owns all of it and keeps it while the instance sleeps; only events
// change it.
type World struct {
	Key     string // the object's id, "class.hex"
	Name    string // the name by which the object is addressed, "" for a random id
	Data    Stored // the storage as of the last event
	Alarm   func() Alarm
	Sockets *Sockets
	Now     func() time.Time
	Owner   Owner
	Fits    func(bytes int) bool // whether the host can keep a state of so many bytes; nil: of any size

	Answered func(*Socket) time.Time // when a gateway has answered the socket by itself last; nil: never

	Born uint64     // of what the object tells, if it has told nothing yet: no other life of the object has it
	Told func() int // messages under way; nil: none
	Free func() int // tasks that may begin; nil: any number

	FreeStreams func() int // streams that may; likewise

	Context context.Context // of the constructor; nil: context.Background
	Misuse  func(err error) // is told of a Tx used outside of its event; nil: nobody is
	Strict  int             // in so many events of an instance, and from then on in one of so many, find every use of a Tx by another goroutine, which costs some microseconds; 0: never
}

// Owner is a host that owns an object.
type Owner struct {
	Host   string
	Region string
	Epoch  uint64
}
