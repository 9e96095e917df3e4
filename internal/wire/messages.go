package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"holdfast/objects"
)

// Kind is the kind of a Request.
type Kind uint8

// The kinds.
const (
	Call    Kind = 1 + iota // a typed call
	Fetch                   // an HTTP request, perhaps an upgrade
	Message                 // a frame of a socket
	Closed                  // a socket has ended
	Alarm                   // the alarm may be due
	Resume                  // an operator has the object go on: its alarm is not parked any more

	// Only a host may send these.
	Settled // a caller reports its settled asks: SettledAsks
	Probe   // an object that waits looks for others that wait for it

	Told      // messages that another object has told this one: Batch
	Forget    // a sender has nothing left for the object: ForgetBody
	MayForget // a receiver asks for a Forget: ForgetBody
	Parked    // an operator has parked messages sent again, or dropped: ParkedBody
	Restore   // an operator has the object put back: RestoreBody, answered by Restored
	Fork      // an operator has the object begin as another was: ForkBody, answered by Forked

	Look // a gateway or an operator asks how the object is. It is no event, and nobody claims the object for it
)

// FrameWindow is how many frames of one socket a gateway sends before the first of
// them is acknowledged. A host must let that many wait, however slow the object is:
// back-pressure then stops a client before the object refuses it.
const FrameWindow = 32

// Request is one event for an object.
type Request struct {
	Kind      Kind
	Gateway   string // the asking client; with N it names the request
	N         uint64 // 0 for frames: Seq names them
	Low       uint64 // the gateway waits for nothing below it
	Open      Open   // from Low on it waits for these and for nothing else below N; empty: not said
	For       uint64 // the token of the asked owner; 0: not known. Another owner does not run the request
	Region    string // the gateway's, with an upgrade
	Timeout   int64  // milliseconds left when it was sent
	Time      int64  // when the request was made, in Unix milliseconds; the same in all copies
	Again     bool   // the request may have run at another owner
	Key       string // the client's Idempotency-Key
	Principal []byte // JSON; empty: nobody in particular

	Call string
	Body []byte

	Takes  Takes         // the kinds of response that the asking client can take
	Large  bool          // the body is not in the request: it is carried beside the event, if the object streams
	Length int64         // of a large body; 0: not known
	Upload io.ReadCloser // a large body, which Client.Do carries. Close ends a Read. It is not sent

	Method string
	URL    string
	Host   string
	Header map[string][]string
	Remote string // the client's address

	Socket string // a frame's, or the one an upgrade would open
	Seq    uint64 // of frames and closes: 1, 2, 3 on each socket
	Binary bool
	Code   int // of a close
	Reason string
	Clean  bool
	Fault  objects.Code // of a close: the failure; "": none
	Final  bool         // of a close: the object has closed the socket, which does not come back

	Resumes  bool   // of an upgrade: the client speaks the protocol of package resume
	Session  string // the session to resume; "": none
	Secret   []byte
	Received uint64 // messages that the session's client has received

	// Only a host may send these.
	Asked   *Asked       // the asking object; nil: none
	Settled *SettledAsks // of Settled
	Probe   *Waiting     // of Probe

	Maker Maker // is charged for the object if it is new; nil: nobody. It is not sent
}

// Maker limits how many new objects somebody makes.
type Maker interface {
	MayMake() bool // reports whether an object may be claimed that nobody owns and that may be new
	Made()         // notes that a claimed object was new
}

func (r *Request) fields(c *coder) {
	number(c, 1, &r.Kind)
	text(c, 2, &r.Gateway)
	number(c, 3, &r.N)
	number(c, 4, &r.Low)
	number(c, 5, &r.For)
	text(c, 6, &r.Region)
	number(c, 7, &r.Timeout)
	text(c, 8, &r.Key)
	c.bytes(9, &r.Principal)
	text(c, 10, &r.Call)
	c.bytes(11, &r.Body)
	number(c, 12, &r.Time)
	c.bool(13, &r.Again)
	c.bytes(14, (*[]byte)(&r.Open))
	text(c, 20, &r.Method)
	text(c, 21, &r.URL)
	text(c, 22, &r.Host)
	c.header(23, &r.Header)
	text(c, 24, &r.Remote)
	text(c, 30, &r.Socket)
	number(c, 31, &r.Seq)
	c.bool(32, &r.Binary)
	number(c, 33, &r.Code)
	text(c, 34, &r.Reason)
	c.bool(35, &r.Clean)
	text(c, 36, &r.Fault)
	c.bool(37, &r.Final)
	optional(c, 40, &r.Asked)
	optional(c, 41, &r.Settled)
	optional(c, 42, &r.Probe)
	c.bool(50, &r.Resumes)
	text(c, 51, &r.Session)
	c.bytes(52, &r.Secret)
	number(c, 53, &r.Received)
	number(c, 60, &r.Takes)
	c.bool(61, &r.Large)
	number(c, 62, &r.Length)
}

// Takes says which responses the asking client can take.
type Takes uint8

// The values of Takes. Package engine has the same.
const (
	TakesWhole  Takes = iota // only whole responses
	TakesStream              // also streamed responses
	TakesNoMore              // also streamed responses, but there are too many of them now
)

// Reply answers a Request.
type Reply struct {
	Code    objects.Code // "" is success
	Message string
	Ref     string
	Details []byte // JSON
	Moved   bool   // ask the next owner, under the same number
	Unsure  bool   // with Moved: it may have happened here; its record knows
	Busy    bool   // with Overloaded: the queue is full, and the record was not searched for an earlier answer
	Kept    bool   // the record remembers this answer: it counts for every copy of the request

	Owner Owner
	Token uint64 // of the owner's claim, also with Moved: a reply under an older one is void

	Status int
	Header map[string][]string
	Body   []byte
	Stream *StreamAt     // the rest of the response, carried beside events; nil: Body is all
	Rest   io.ReadCloser // the rest, as Client.Do returns it. It is not sent

	Gap bool // of a frame: frames before it are missing

	Woke bool // the object slept: its instance was constructed for the request

	Life *Life // the answer to Look
}

func (r *Reply) fields(c *coder) {
	text(c, 1, &r.Code)
	text(c, 2, &r.Message)
	text(c, 3, &r.Ref)
	c.bool(4, &r.Moved)
	c.bool(5, &r.Unsure)
	c.bool(6, &r.Busy)
	c.bool(7, &r.Kept)
	c.bytes(8, &r.Details)
	if c.reads || r.Owner != (Owner{}) {
		c.part(10, &r.Owner)
	}
	number(c, 11, &r.Token)
	number(c, 20, &r.Status)
	c.header(21, &r.Header)
	c.bytes(22, &r.Body)
	optional(c, 23, &r.Stream)
	c.bool(32, &r.Gap)
	c.bool(33, &r.Woke)
	optional(c, 34, &r.Life)
}

// Life is an object's state, as its owner knows it without an event.
type Life struct {
	Awake       bool   // its instance is in memory
	Since       uint64 // milliseconds since Awake last changed
	Woken       string // kind of the event for which the last instance was constructed; "": this owner has constructed none
	Constructed uint64 // instances constructed by this owner
	Sockets     uint64 // open sockets
	Running     uint64 // milliseconds for which the present event has run; 0: none runs
}

func (l *Life) fields(c *coder) {
	c.bool(1, &l.Awake)
	number(c, 2, &l.Since)
	text(c, 3, &l.Woken)
	number(c, 4, &l.Constructed)
	number(c, 5, &l.Sockets)
	number(c, 6, &l.Running)
}

// fits reports whether the reply is no larger than a NATS message may be.
func (r *Reply) fits(most int64) bool {
	const rest = 1 << 10 // more than all other fields take
	n := len(r.Body) + len(r.Message) + len(r.Details) + rest
	for name, values := range r.Header {
		for _, value := range values {
			n += len(name) + len(value) + 16
		}
	}
	return int64(n) <= most || int64(len(Encode(r))) <= most
}

// TooLarge returns the refusal to send instead of a reply that does not fit into a NATS message.
func (r *Reply) TooLarge() *Reply {
	small := &Reply{Code: objects.TooLarge, Message: "the answer is larger than a NATS message may be", Kept: r.Kept, Owner: r.Owner, Token: r.Token}
	if r.Kept {
		small.Code, small.Message = objects.Done, "this was done; its answer is larger than a NATS message may be"
	}
	return small
}

// checkCode refuses codes that are not a word: codes become labels of metrics.
func checkCode(code objects.Code) error {
	if len(code) > 64 || strings.ContainsFunc(string(code), func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("%.80q is no code", string(code))
	}
	return nil
}

// Err returns the reply's failure as an error, nil for success.
func (r *Reply) Err() error {
	if r.Code == "" {
		return nil
	}
	e := &objects.Error{Code: r.Code, Message: r.Message, Reference: r.Ref}
	if len(r.Details) > 0 && json.Unmarshal(r.Details, &e.Details) != nil {
		e.Details = nil // forged: no owner of ours sends it
	}
	return e
}

// Fail makes the reply report a failure.
func (r *Reply) Fail(e *objects.Error) {
	r.Code, r.Message, r.Ref = e.Code, e.Message, e.Reference
	if len(e.Details) == 0 {
		return
	}
	if details, err := json.Marshal(e.Details); err == nil && len(details) <= objects.MaxDetails {
		r.Details = details
	}
}

// Owner is the owner that answered.
type Owner struct {
	Host   string
	Region string
	Epoch  uint64
}

func (o *Owner) fields(c *coder) {
	text(c, 1, &o.Host)
	text(c, 2, &o.Region)
	number(c, 3, &o.Epoch)
}

// Claim asks a host to own an object. With an empty ID it only asks for hosts: those
// that run the class or, if that is empty too, all.
type Claim struct {
	Class  string
	ID     string
	Name   string
	Lost   uint64 // an announcement to all hosts of the class, without an answer: the token of an owner whose predecessor was lost with an event in hand
	Resume bool   // an operator lifts the object's quarantine
	Named  bool   // another host has named the asked one, as the owner or as the host that alone takes new claims

	Heard *Heard // of a gateway that may lack something: it does not need the claim if it lacks nothing. nil: it is needed
}

func (m *Claim) fields(c *coder) {
	text(c, 1, &m.Class)
	text(c, 2, &m.ID)
	text(c, 3, &m.Name)
	number(c, 4, &m.Lost)
	c.bool(5, &m.Resume)
	optional(c, 6, &m.Heard)
	c.bool(7, &m.Named)
}

// Heard is how far a gateway is in the streams of an object's owners.
type Heard struct {
	Gateway   string
	Positions []LanePosition // without heads
}

func (h *Heard) fields(c *coder) {
	text(c, 1, &h.Gateway)
	parts(c, 2, &h.Positions)
}

// ClaimReply answers a Claim.
type ClaimReply struct {
	Owned   bool         // the answering host owns the object
	Other   string       // for people: another owner, whose lease has not run out
	Owner   string       // its incarnation, or that of the host that alone takes new claims; empty: nobody else is to be asked
	Failure string       // the reason for which the claim could not be tried
	Code    objects.Code // of Failure; empty: the client tries again
	Ref     string       // of Failure, as in the host's log

	Token uint64 // of the answering host's claim, if Owned
	Held  uint64 // milliseconds for which the host has owned the object
	Host  string // incarnation of the host that answers a question for hosts
	Where string // its region, or that of Owner
	Busy  bool   // the claim is under way: another answer follows

	New bool // with Owned: there was no record of the object

	Whole bool // nobody owns the object, and the gateway of Heard lacks nothing
}

func (r *ClaimReply) fields(c *coder) {
	c.bool(1, &r.Owned)
	text(c, 2, &r.Other)
	text(c, 3, &r.Failure)
	text(c, 4, &r.Code)
	number(c, 5, &r.Token)
	number(c, 6, &r.Held)
	text(c, 7, &r.Host)
	text(c, 8, &r.Where)
	c.bool(9, &r.Busy)
	text(c, 10, &r.Ref)
	c.bool(12, &r.New)
	c.bool(13, &r.Whole)
	text(c, 14, &r.Owner)
}

// why returns the reason for which the object is not owned.
func (r *ClaimReply) why() error {
	switch {
	case r.Failure != "":
		return errors.New("ask for an owner: " + r.Failure)
	case r.Other != "":
		return errors.New("it is owned by " + r.Other)
	}
	return errors.New("nobody owns it")
}

// Beat says that a gateway lives.
type Beat struct {
	Gateway string
	Region  string
	Bye     bool // the gateway has stopped, and closed its sockets
}

func (b *Beat) fields(c *coder) {
	text(c, 1, &b.Gateway)
	text(c, 2, &b.Region)
	c.bool(3, &b.Bye)
}
