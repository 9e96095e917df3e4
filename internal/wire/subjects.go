package wire

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nuid"

	"holdfast/objects"
)

// InboxPrefix begins every subject that a host may answer to. A reply subject
// outside of it could name anything, even a record.
const InboxPrefix = "_HF."

var regionPattern = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// CheckRegion refuses names that a region cannot have: the name becomes part of a subject.
func CheckRegion(region string) error {
	if !regionPattern.MatchString(region) {
		return fmt.Errorf("region %.40q: want 1 to 32 of a-z, 0-9 and -", region)
	}
	return nil
}

// NewName returns a unique name for a gateway or another client. It begins with a token that
// is the same for all that connect to NATS as one user. All their subscriptions are below
// it, so permissions can keep the user from subscribing to anybody else's messages.
func NewName(inbox string) string { return inbox + "." + nuid.Next() }

// CheckInbox refuses tokens that a NewName cannot begin with.
func CheckInbox(inbox string) error {
	if !regionPattern.MatchString(inbox) || len(inbox) == 1 { // one letter is for the subjects between hosts and gateways
		return fmt.Errorf("inbox %.40q: want 2 to 32 of a-z, 0-9 and -", inbox)
	}
	return nil
}

var incarnationPattern = regexp.MustCompile(`^[A-Za-z0-9]{1,64}$`)

// HostQueue is the queue group in which the hosts of a region take claims.
const HostQueue = "hosts"

// BeatSubject is where gateways say that they live.
const BeatSubject = "hf.beat"

// Address is an object's id and its name, "" for none. An owner learns the object's name from it.
type Address struct {
	objects.ID
	Name string
	Near string // the region in which a claim asks first, "" for the client's own
}

// Named returns the address with a name; one that does not derive the id is ignored.
func (a Address) Named(name string) Address {
	if id, err := a.Class().ID(name); err == nil && id == a.ID {
		a.Name = name
	}
	return a
}

// ObjectPrefix begins every subject that an owner subscribes to for its object.
const ObjectPrefix = "hf.o."

// The ends of these subjects. Where NATS users have permissions, gateways may publish to
// hf.o.*.*.g only, and hosts to hf.o.>.
const (
	fromGateway = ".g"
	fromHost    = ".h"
)

// ObjectSubject returns the subject of gateways' requests to an object.
func ObjectSubject(id objects.ID) string { return ObjectPrefix + id.Key() + fromGateway }

// ObjectHostSubject returns the subject of hosts' requests to the object with this key. The owner
// accepts there the requests that only hosts may send.
func ObjectHostSubject(key string) string { return ObjectPrefix + key + fromHost }

// OwnerSubject returns the subscription of an object's owner: all of the above.
func OwnerSubject(id objects.ID) string { return ObjectPrefix + id.Key() + ".*" }

// ObjectOf returns the key of a message's object, and whether a host has sent the message.
// For a subject that is not an object's it returns a key that no object has.
func ObjectOf(subject string) (key string, host bool) {
	key = strings.TrimPrefix(subject, ObjectPrefix)
	if key, host = strings.CutSuffix(key, fromHost); host {
		return key, true
	}
	return strings.TrimSuffix(key, fromGateway), false
}

// RequestOf returns the part of a reply subject that is the same for every copy of a
// request. The reply subject of anything else is returned as it is.
func RequestOf(reply string) string {
	if dots := strings.Count(reply, "."); dots != 3 && dots != 4 || strings.HasPrefix(reply, InboxPrefix+"h.") {
		return reply // a gateway's name has a dot, a host's has none
	}
	return reply[:strings.LastIndexByte(reply, '.')]
}

// CopyLife is how long a copy of a request may be on its way. For so long a new owner runs
// only copies that name it.
const CopyLife = time.Minute

// OwnerQueue returns the queue group of the owner with this token. It has no other member: a
// frozen owner gets copies of its successor's messages, and takes none away.
func OwnerQueue(token uint64) string { return "o" + strconv.FormatUint(token, 10) }

// ClaimSubject returns where the hosts of a region that run the class take claims, one each.
func ClaimSubject(region, class string) string { return "hf.claim." + region + "." + class }

// HostSubject returns where one host takes claims.
func HostSubject(incarnation string) string { return "hf.host." + incarnation }

// HostsSubject returns the subject of questions to all hosts that run the class; to all hosts for
// an empty class.
func HostsSubject(class string) string {
	if class == "" {
		return "hf.hosts"
	}
	return "hf.hosts." + class
}

// GatewayInbox begins every subject of messages to a gateway about its sockets. One
// subscription covers them all, so the gateway gets them in the order of their arrival.
func GatewayInbox(gateway string) string { return InboxPrefix + "h." + gateway + "." }

// GatewaySubject returns the subject of owners' messages of one kind to a gateway.
func GatewaySubject(gateway, kind string) string { return GatewayInbox(gateway) + kind }

// What follows in a GatewaySubject.
const (
	Pushes = "push"  // LanePush
	Heads  = "heads" // LaneHeads
	Whichs = "which" // Which
)

// LaneInbox begins every subject of gateways' messages to a host's incarnation about its
// lanes.
func LaneInbox(incarnation string) string { return InboxPrefix + "l." + incarnation + "." }

// What follows after a LaneInbox.
const (
	Acks = "acks" // LaneAcks
	Hold = "held" // Held
)

// BodySubject returns the subject of segments of bodies for a host's incarnation or another client. The name of a host
// has no dot, other names have one.
func BodySubject(name string) string {
	if strings.Contains(name, ".") {
		return InboxPrefix + name + ".b"
	}
	return InboxPrefix + "b." + name
}

// SocketID names a socket by its gateway and its slot there.
func SocketID(gateway string, slot uint32) string {
	return gateway + "-" + strconv.FormatUint(uint64(slot), 36)
}

// SlotOf returns the slot of a gateway's socket, and false if the id is not one of the gateway's.
func SlotOf(gateway, id string) (uint32, bool) {
	slot, ok := strings.CutPrefix(id, gateway)
	if !ok || len(slot) < 2 || slot[0] != '-' {
		return 0, false
	}
	n, err := strconv.ParseUint(slot[1:], 36, 32)
	return uint32(n), err == nil
}

// FrameSubject returns the reply subject of a frame, for the news that it was not taken. It names
// the frame, because the server's "no responders" does not.
func FrameSubject(gateway, socket string, seq uint64) string {
	return GatewayInbox(gateway) + "frame." + socket + "." + strconv.FormatUint(seq, 10)
}
