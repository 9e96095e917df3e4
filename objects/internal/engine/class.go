package engine

import (
	"cmp"
	"context"
	"math"
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

	Fetches, Alarms bool // an instance has handlers for HTTP requests, and for alarms
}

// Resume says how a class lets sockets come back that have lost their connection. With a zero Time they do not come
// back.
type Resume struct {
	Time  time.Duration // for how long they may be away
	Bytes int           // of sent messages that an object keeps for them
}

// Life says how long an idle object is kept, and how long events may wait. A zero field means the host's default.
type Life struct {
	Hibernate time.Duration // without an event, until the instance is dropped
	Evict     time.Duration // likewise, until the object is released
	Queue     time.Duration // an event that would wait longer is refused
}

// Soonest returns the idle time after which an object must be checked.
func (l Life) Soonest() time.Duration { return min(l.Hibernate, l.Evict) }

// Never is longer than any wait.
const Never = 100 * 365 * 24 * time.Hour

// Or returns l with its zero fields taken from the host's.
func (l Life) Or(hosts Life) Life {
	return Life{cmp.Or(l.Hibernate, hosts.Hibernate), cmp.Or(l.Evict, hosts.Evict), cmp.Or(l.Queue, hosts.Queue)}
}

// Limits are the limits of a class. All fields are required.
type Limits struct {
	Key        int           // bytes of a storage key
	Value      int           // bytes of a value
	Writes     int           // bytes of all keys and values that an event writes
	State      int           // bytes of all keys and values, as stored
	Call       int           // bytes of a call's input, and of its output
	Body       int           // bytes of a request's body that is in memory when the event begins
	Upload     int64         // bytes of a larger body, which a stream reads; 0: not allowed
	Response   int           // bytes of a response's body
	Frame      int           // bytes of a message from a client
	Message    int           // bytes of a message that an object sends
	Sockets    int           // open at once
	Tags       int           // of one socket
	Tag        int           // bytes of a tag
	Attachment int           // bytes of a socket's attachment, as JSON
	Told       int           // bytes of the input of a told message
	Tells      int           // undelivered messages that the object has told
	Event      time.Duration // that an event takes
}

// Author is the code of a class: package objects stands between the engine and an author's struct. self is the value
// that Open returned. An error of a handler is a refusal if Refusal says so, and a fault otherwise; a panic is a fault.
type Author interface {
	Begin() *Tx // of an event that begins; its Face is set
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

// Codes of the engine's refusals. Package objects defines their meaning.
const (
	invalid  = "invalid"
	notFound = "not_found"
	tooLarge = "too_large"
	tooMany  = "too_many"

	overloaded = "overloaded"

	unavailable = "unavailable"
)

// World is what a host gives to an instance. The host owns it and keeps it while the instance sleeps; only events
// change it.
type World struct {
	Key     string // the object's id, "class.hex"
	Name    string // the name by which the object is addressed, "" for a random id
	Data    Stored // the storage as of the last event
	Object  Object
	Sockets *Sockets
	Now     func() time.Time
	Owner   Owner
	Fits    func(bytes int) bool // whether the host can keep a state of so many bytes; nil: of any size

	Born    uint64          // for the count of told messages, if there is none yet: no other life of the object has the same
	Context context.Context // of the constructor; nil: context.Background
	Strict  int             // in so many events of an instance, and from then on in one of so many, every use of a Tx by another goroutine is found, which takes some microseconds; 0: never
}

// Object is what an instance asks its host about its object during an event.
type Object interface {
	Alarm() Alarm                 // as the last event left it
	Answered(s *Socket) time.Time // when a gateway last answered the socket by itself; zero: never
	Told() int                    // told messages under way
	FreeTasks() int               // how many tasks may begin
	FreeStreams() int             // how many streams may begin
	Misused(err error)            // a Tx was used outside of its event
}

// Alone is an Object without an alarm and with room for everything, for tests and benchmarks.
type Alone struct{}

func (Alone) Alarm() Alarm               { return Alarm{} }
func (Alone) Answered(*Socket) time.Time { return time.Time{} }
func (Alone) Told() int                  { return 0 }
func (Alone) FreeTasks() int             { return math.MaxInt }
func (Alone) FreeStreams() int           { return math.MaxInt }
func (Alone) Misused(error)              {}

// Owner is a host that owns an object.
type Owner struct {
	Host   string
	Region string
	Epoch  uint64
}
