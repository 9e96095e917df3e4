// Package history has the records of a run of the fault suite, and judges them.
//
// A run writes one file of JSON lines: every request for a ticket, every socket with the messages
// that it sent and received, every alarm, and every fault with the proof that it happened. The
// checkers are pure functions of these records. They know nothing of processes and read no clock,
// so a kept file can be judged again, and a test can pass a history that must be rejected.
//
// All times are counted from the beginning of the run, on the monotonic clock of the one
// process that records.
package history

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"
)

// Record is one line of a history. Exactly one field is set.
type Record struct {
	Op     *Op     `json:"op,omitempty"`
	Alarm  *Alarm  `json:"alarm,omitempty"`
	Opened *Opened `json:"opened,omitempty"`
	Sent   *Sent   `json:"sent,omitempty"`
	Heard  *Heard  `json:"heard,omitempty"`
	Told   *Told   `json:"told,omitempty"`
	Closed *Closed `json:"closed,omitempty"`
	Fault  *Fault  `json:"fault,omitempty"`
	Roll   *Roll   `json:"roll,omitempty"`

	Restore *Restore `json:"restore,omitempty"`
}

// Kind says what an Op asks for.
type Kind string

// The kinds.
const (
	Claim Kind = "claim" // the next ticket
	Read  Kind = "read"  // the last ticket that was given
)

// Outcome says how an Op or a Try ended.
type Outcome string

// The outcomes.
const (
	OK      Outcome = "ok"
	Refused Outcome = "refused" // it certainly did not happen
	Unknown Outcome = "unknown" // it may have happened, or may happen yet
)

// Op is one operation of one client at one ticket object. A client with a key tries again
// until it has an answer; the Op is all of its tries.
type Op struct {
	Object  string        `json:"object"`
	Client  int           `json:"client"`
	Gateway string        `json:"gateway"`
	Kind    Kind          `json:"kind"`
	Key     string        `json:"key,omitempty"` // the Idempotency-Key; empty: tried once
	Start   time.Duration `json:"start"`
	End     time.Duration `json:"end"`
	Outcome Outcome       `json:"outcome"`
	Value   int           `json:"value,omitempty"` // the ticket, if OK
	Owner   string        `json:"owner,omitempty"` // the host that answered
	Epoch   string        `json:"epoch,omitempty"`
	Final   bool          `json:"final,omitempty"` // read when everything was over
	Failed  []Try         `json:"failed,omitempty"`
}

// Try is one request that was not answered with success.
type Try struct {
	Start   time.Duration `json:"start"`
	End     time.Duration `json:"end"`
	Outcome Outcome       `json:"outcome"`
	Dialed  bool          `json:"dialed"`           // false: there was no connection
	Status  int           `json:"status,omitempty"` // of HTTP; 0: no answer
	Code    string        `json:"code,omitempty"`   // of the answer
	Cause   string        `json:"cause,omitempty"`
}

// Alarm is an alarm that was set. The object counts the alarms that were set and that ran.
type Alarm struct {
	Object string        `json:"object"`
	N      int           `json:"n"`
	Set    time.Duration `json:"set"`           // when it was asked for
	Due    time.Duration `json:"due"`           // the earliest allowed time of its run
	Ran    time.Duration `json:"ran,omitempty"` // when it was first seen to have run; 0: never
	Runs   int           `json:"runs"`          // committed runs that the object counts after this alarm, of all alarms
}

// Role says how a socket behaves.
type Role string

// The roles.
const (
	Idle    Role = "idle"    // listens
	Busy    Role = "busy"    // sends at a rate
	Visitor Role = "visitor" // comes, says little and goes
	Herald  Role = "herald"  // comes when all faults are over, and calls the roll
)

// Opened is a socket that its room has greeted. Its number identifies the stream of messages that
// it sends; a client that connects again gets a new number.
type Opened struct {
	Conn    int           `json:"conn"`
	Room    string        `json:"room"`
	Gateway string        `json:"gateway"`
	Role    Role          `json:"role"`
	User    string        `json:"user"`  // as the room calls it
	Peers   []string      `json:"peers"` // users that were there already
	Dialed  time.Duration `json:"dialed"`
	At      time.Duration `json:"at"` // of the greeting
}

// Sent is the N-th message of a socket, about to be written.
type Sent struct {
	Conn int           `json:"conn"`
	N    int           `json:"n"`
	At   time.Duration `json:"at"`
}

// Heard says that a socket received the messages First to Last of another socket, without a gap.
type Heard struct {
	Conn  int           `json:"conn"`
	From  int           `json:"from"`
	First int           `json:"first"`
	Last  int           `json:"last"`
	At    time.Duration `json:"at"`    // of First
	Until time.Duration `json:"until"` // of Last
}

// Told says that a room reported another socket's beginning or end to a socket.
type Told struct {
	Conn int           `json:"conn"`
	User string        `json:"user"`
	End  bool          `json:"end"`
	At   time.Duration `json:"at"`
}

// Closed is the end of a socket, as its client saw it.
type Closed struct {
	Conn   int           `json:"conn"`
	Client bool          `json:"client"` // the client closed it
	Code   int           `json:"code"`   // 1006: there was no close frame
	Reason string        `json:"reason,omitempty"`
	At     time.Duration `json:"at"`
}

// Fault is one fault that was injected.
type Fault struct {
	Key     string        `json:"key"`
	At      time.Duration `json:"at"`
	Healed  time.Duration `json:"healed"`            // when nothing was broken any more
	Over    time.Duration `json:"over"`              // when every object had answered again
	Elected time.Duration `json:"elected,omitempty"` // when NATS answered again, if its leader was hit
	Victims []string      `json:"victims"`
	Objects []string      `json:"objects"` // those that it hit
	Gone    []string      `json:"gone"`    // gateways whose process ended, with the sockets that they held
	Excused []string      `json:"excused"` // gateways that could not reach anybody or be reached: failures of their clients do not count
	Proof   string        `json:"proof"`   // the proof that it happened; empty: none
}

// Roll marks the end of all faults: messages that are sent later must reach every open socket.
type Roll struct {
	At time.Duration `json:"at"`
}

// Writer records a history, from many goroutines.
type Writer struct {
	mu    sync.Mutex // guards what follows
	out   *json.Encoder
	all   []Record
	spans map[[2]int]*Heard // by receiver and stream: messages without a gap so far
	err   error             // of the first write that failed
}

// NewWriter makes a Writer of JSON lines.
func NewWriter(w io.Writer) *Writer {
	return &Writer{out: json.NewEncoder(w), spans: make(map[[2]int]*Heard)}
}

// Add records a record.
func (w *Writer) Add(r Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.add(r)
}

func (w *Writer) add(r Record) {
	w.all = append(w.all, r)
	if err := w.out.Encode(r); err != nil && w.err == nil {
		w.err = fmt.Errorf("write the history: %w", err)
	}
}

// Hear records that a socket received message n of another socket. Consecutive messages become one
// record, which is written when the sequence breaks or the history ends.
func (w *Writer) Hear(conn, from, n int, at time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	span := w.spans[[2]int{conn, from}]
	if span != nil && n == span.Last+1 {
		span.Last, span.Until = n, at
		return
	}
	if span != nil {
		w.add(Record{Heard: span})
	}
	w.spans[[2]int{conn, from}] = &Heard{Conn: conn, From: from, First: n, Last: n, At: at, Until: at}
}

// Records returns everything so far.
func (w *Writer) Records() []Record {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := slices.Clone(w.all)
	for _, span := range w.spans {
		heard := *span
		all = append(all, Record{Heard: &heard})
	}
	return all
}

// Close writes the sequences that are not finished.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, span := range w.spans {
		w.add(Record{Heard: span})
	}
	clear(w.spans)
	return w.err
}

// ReadAll reads a history.
func ReadAll(r io.Reader) ([]Record, error) {
	var all []Record
	for in := json.NewDecoder(r); ; {
		var record Record
		err := in.Decode(&record)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read record %d of the history: %w", len(all)+1, err)
		}
		all = append(all, record)
	}
}

// faults returns the faults of a history, in the order of time.
func faults(records []Record) []*Fault {
	var all []*Fault
	for _, r := range records {
		if r.Fault != nil {
			all = append(all, r.Fault)
		}
	}
	return all
}

// by groups values.
func by[K comparable, V any](values []V, key func(V) K) map[K][]V {
	groups := make(map[K][]V)
	for _, v := range values {
		groups[key(v)] = append(groups[key(v)], v)
	}
	return groups
}

// sorted returns the keys of a map, for flaws that come in the same order every time.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// most is how many flaws of one kind are described. All are counted.
const most = 500

// describe adds a flaw to those that are described already.
func describe(flaws []string, format string, args ...any) []string {
	if len(flaws) < most {
		flaws = append(flaws, fmt.Sprintf(format, args...))
	}
	return flaws
}
