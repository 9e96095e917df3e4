// Package wire is what gateways and hosts say to each other over NATS.
//
//	gateway ──hf.o.<class>.<id>──────────▶ the owner        answered on _HF.<gateway>.<n>
//	   ╰── nobody there? ──hf.claim.<region>.<class>, then hf.claim.any.<class>──▶ a host claims it
//	gateway ◀──hf.g.<gateway>──────────── the owner         frames for sockets, one message a gateway
//	gateway ◀──hf.g.<gateway>.sockets──── a new owner       which sockets do you hold?
//	gateway ──hf.beat────────────────────▶ all hosts        the gateway lives
//
// An object enters a subject as class and 64 hex digits, nothing else does; what
// a client sent travels inside the message. Messages are CBOR.
//
// # Once
//
// A request is known by its gateway and a number that grows. It may be sent many
// times under that number, to one owner after the other: an owner that has it in
// hand ignores the second, one whose record remembers it answers from there.
// Every request also says Low, the lowest number for this object that the gateway
// still waits for; below it an owner may forget.
//
// The package knows no JetStream: a request is a question, not a record.
package wire

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/fxamacker/cbor/v2"
	"github.com/nats-io/nats.go"

	"holdfast/objects"
)

// InboxPrefix begins every subject that a host may answer to. A reply subject
// outside of it could name anything, even a record.
const InboxPrefix = "_HF."

// Answerable tells whether a question's reply subject is an inbox. Any other may
// name something else, a record for one, and must not be written to.
func Answerable(subject string) bool {
	return strings.HasPrefix(subject, InboxPrefix) || strings.HasPrefix(subject, nats.InboxPrefix)
}

var regionPattern = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// CheckRegion refuses what cannot name a region: it becomes part of a subject.
func CheckRegion(region string) error {
	if !regionPattern.MatchString(region) || region == AnyRegion {
		return fmt.Errorf("region %.40q: want 1 to 32 of a-z, 0-9 and -, and not %q", region, AnyRegion)
	}
	return nil
}

// AnyRegion takes the place of a region in ClaimSubject.
const AnyRegion = "any"

// HostQueue is the queue group in which hosts take claims.
const HostQueue = "hosts"

// BeatSubject is where gateways say that they live.
const BeatSubject = "hf.beat"

// ObjectSubject is where the owner of an object listens.
func ObjectSubject(id objects.ID) string { return "hf.o." + id.Key() }

// ObjectPrefix is what ObjectSubject puts before an id's Key.
const ObjectPrefix = "hf.o."

// ClaimSubject is where the hosts of a region that run the class take claims.
func ClaimSubject(region, class string) string { return "hf.claim." + region + "." + class }

// GatewaySubject is where a gateway hears from owners.
func GatewaySubject(gateway string) string { return "hf.g." + gateway }

// SocketsSubject is where a gateway tells which sockets it holds for an object.
func SocketsSubject(gateway string) string { return "hf.g." + gateway + ".sockets" }

// Kind is what a Request asks for.
type Kind uint8

// The kinds.
const (
	Call    Kind = 1 + iota // a typed call
	Fetch                   // an HTTP request, perhaps an upgrade
	Message                 // a frame that a socket sent
	Closed                  // a socket has ended
	Alarm                   // the alarm may be due
)

// Request is one event for an object.
type Request struct {
	Kind    Kind   `cbor:"1,keyasint"`
	Gateway string `cbor:"2,keyasint"`           // who asks; with N it names the request
	N       uint64 `cbor:"3,keyasint,omitempty"` // 0 for frames: Seq names them
	Low     uint64 `cbor:"4,keyasint,omitempty"` // the gateway waits for nothing below it
	Name    string `cbor:"5,keyasint,omitempty"` // the object's name, for its record
	Region  string `cbor:"6,keyasint,omitempty"` // the gateway's
	Timeout int64  `cbor:"7,keyasint,omitempty"` // milliseconds left when it was sent
	Key     string `cbor:"8,keyasint,omitempty"` // the client's Idempotency-Key

	Call string `cbor:"10,keyasint,omitempty"`
	Body []byte `cbor:"11,keyasint,omitempty"`

	Method string              `cbor:"20,keyasint,omitempty"`
	URL    string              `cbor:"21,keyasint,omitempty"`
	Host   string              `cbor:"22,keyasint,omitempty"`
	Header map[string][]string `cbor:"23,keyasint,omitempty"`
	Remote string              `cbor:"24,keyasint,omitempty"` // the client's address

	Socket string `cbor:"30,keyasint,omitempty"` // a frame's, or the one an upgrade would open
	Seq    uint64 `cbor:"31,keyasint,omitempty"` // of frames and closes: 1, 2, 3 on each socket
	Binary bool   `cbor:"32,keyasint,omitempty"`
	Code   int    `cbor:"33,keyasint,omitempty"` // of a close
	Reason string `cbor:"34,keyasint,omitempty"`
	Clean  bool   `cbor:"35,keyasint,omitempty"`
}

// Reply answers a Request.
type Reply struct {
	Code    objects.Code `cbor:"1,keyasint,omitempty"` // "" is success
	Message string       `cbor:"2,keyasint,omitempty"`
	Ref     string       `cbor:"3,keyasint,omitempty"`
	Moved   bool         `cbor:"4,keyasint,omitempty"` // ask the next owner, under the same number
	Unsure  bool         `cbor:"5,keyasint,omitempty"` // with Moved: it may have happened here; its record knows

	Owner Owner  `cbor:"10,keyasint,omitempty"`
	Token uint64 `cbor:"11,keyasint,omitempty"` // of the owner's claim: a reply under an older one is void

	Status int                 `cbor:"20,keyasint,omitempty"`
	Header map[string][]string `cbor:"21,keyasint,omitempty"`
	Body   []byte              `cbor:"22,keyasint,omitempty"`
	Tags   []string            `cbor:"23,keyasint,omitempty"` // of the socket that was accepted

	Seq uint64 `cbor:"31,keyasint,omitempty"` // frames up to this one are settled
	Gap bool   `cbor:"32,keyasint,omitempty"` // frames after Seq are missing: send them again
}

// Err is the reply's failure as an error, nil for success.
func (r *Reply) Err() error {
	if r.Code == "" {
		return nil
	}
	return &objects.Error{Code: r.Code, Message: r.Message, Ref: r.Ref}
}

// Owner is who answered.
type Owner struct {
	Host   string `cbor:"1,keyasint,omitempty"`
	Region string `cbor:"2,keyasint,omitempty"`
	Epoch  uint64 `cbor:"3,keyasint,omitempty"`
}

// Claim asks a host to own an object; with an empty ID it only asks whether
// somebody runs the class.
type Claim struct {
	Class string `cbor:"1,keyasint"`
	ID    string `cbor:"2,keyasint,omitempty"`
	Name  string `cbor:"3,keyasint,omitempty"`
}

// ClaimReply answers a Claim.
type ClaimReply struct {
	Owned   bool   `cbor:"1,keyasint,omitempty"` // by the host that answers
	Other   string `cbor:"2,keyasint,omitempty"` // somebody else's lease holds
	Failure string `cbor:"3,keyasint,omitempty"` // why it could not be tried
}

// Push is what an owner has gateways do to sockets, in order.
type Push struct {
	Object string     `cbor:"1,keyasint"` // the object's Key
	Token  uint64     `cbor:"2,keyasint"`
	Ops    []SocketOp `cbor:"3,keyasint"`
}

// SocketOp is one operation on sockets of one gateway.
type SocketOp struct {
	Op      objects.Op `cbor:"1,keyasint"`
	Sockets []string   `cbor:"2,keyasint"`
	Binary  bool       `cbor:"3,keyasint,omitempty"`
	Data    []byte     `cbor:"4,keyasint,omitempty"` // a message, or an attachment
	Code    int        `cbor:"5,keyasint,omitempty"`
	Reason  string     `cbor:"6,keyasint,omitempty"`
}

// WhichSockets asks a gateway for its sockets of an object, on behalf of the owner with the token.
type WhichSockets struct {
	Object string `cbor:"1,keyasint"`
	Token  uint64 `cbor:"2,keyasint"`
}

// HeldSockets answers WhichSockets, in the order in which they were accepted.
type HeldSockets struct {
	Sockets []HeldSocket `cbor:"1,keyasint"`
}

// HeldSocket is one socket at its gateway.
type HeldSocket struct {
	ID         string   `cbor:"1,keyasint"`
	Region     string   `cbor:"2,keyasint,omitempty"`
	Tags       []string `cbor:"3,keyasint,omitempty"`
	Attachment []byte   `cbor:"4,keyasint,omitempty"`
	Next       uint64   `cbor:"5,keyasint,omitempty"` // number of the first frame that the new owner will get
}

// Beat says that a gateway lives.
type Beat struct {
	Gateway string `cbor:"1,keyasint"`
	Region  string `cbor:"2,keyasint,omitempty"`
	Bye     bool   `cbor:"3,keyasint,omitempty"` // it has stopped, and closed its sockets
}

// decoding refuses what no peer of ours sends: doubled keys, indefinite lengths, deep nesting.
var decoding = func() cbor.DecMode {
	mode, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, MaxNestedLevels: 8,
		MaxArrayElements: objects.MaxSockets, UTF8: cbor.UTF8DecodeInvalid,
	}.DecMode()
	if err != nil {
		panic(err)
	}
	return mode
}()

// Encode makes a message's payload of one of this package's types.
func Encode(v any) []byte {
	data, err := cbor.Marshal(v)
	if err != nil {
		panic("wire: encode: " + err.Error()) // our own types always encode
	}
	return data
}

// Decode reads a payload into a pointer to one of this package's types.
func Decode(data []byte, v any) error { return decoding.Unmarshal(data, v) }
