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

// CheckRegion refuses what cannot name a region: it becomes part of a subject.
func CheckRegion(region string) error {
	if !regionPattern.MatchString(region) {
		return fmt.Errorf("region %.40q: want 1 to 32 of a-z, 0-9 and -", region)
	}
	return nil
}

// NewName is a name for a gateway or another client, unlike all others. It begins with a
// token that is the same for all that connect to NATS as one user: below it is all that
// they hear, so the user may be kept from hearing what others do.
func NewName(inbox string) string { return inbox + "." + nuid.Next() }

// CheckInbox refuses what NewName cannot begin with.
func CheckInbox(inbox string) error {
	if !regionPattern.MatchString(inbox) || len(inbox) == 1 { // one letter names what hosts and gateways hear of each other
		return fmt.Errorf("inbox %.40q: want 2 to 32 of a-z, 0-9 and -", inbox)
	}
	return nil
}

var incarnationPattern = regexp.MustCompile(`^[A-Za-z0-9]{1,64}$`)

// HostQueue is the queue group in which the hosts of a region take claims.
const HostQueue = "hosts"

// BeatSubject is where gateways say that they live.
const BeatSubject = "hf.beat"

// Address is an object and the name by which it is known, "" for none: with it an owner can tell the object its name.
type Address struct {
	objects.ID
	Name string
	Near string // the region in which a claim asks first, "" for the client's own
}

// Named is the address with a name; one that does not derive the id is ignored.
func (a Address) Named(name string) Address {
	if id, err := a.Class().ID(name); err == nil && id == a.ID {
		a.Name = name
	}
	return a
}

// ObjectPrefix begins every subject on which an owner hears about its object.
const ObjectPrefix = "hf.o."

// The ends of these subjects. Where NATS users have permissions, gateways may publish to
// hf.o.*.*.g only, and hosts to hf.o.>.
const (
	fromGateway = ".g"
	fromHost    = ".h"
)

// ObjectSubject is where the owner of an object hears gateways.
func ObjectSubject(id objects.ID) string { return ObjectPrefix + id.Key() + fromGateway }

// ObjectHostSubject is where the owner of the object with this key hears hosts. It believes
// there what only hosts may say.
func ObjectHostSubject(key string) string { return ObjectPrefix + key + fromHost }

// OwnerSubject is what the owner of an object subscribes to: all of the above.
func OwnerSubject(id objects.ID) string { return ObjectPrefix + id.Key() + ".*" }

// ObjectOf is the key of the object that a message is for, and whether a host has sent it.
// The key of a subject that is not an object's is no object's key.
func ObjectOf(subject string) (key string, host bool) {
	key = strings.TrimPrefix(subject, ObjectPrefix)
	if key, host = strings.CutSuffix(key, fromHost); host {
		return key, true
	}
	return strings.TrimSuffix(key, fromGateway), false
}

// RequestOf is the part of a reply subject that is the same for every copy of a
// request. The reply subject of anything else is returned as it is.
func RequestOf(reply string) string {
	if dots := strings.Count(reply, "."); dots != 3 && dots != 4 || strings.HasPrefix(reply, InboxPrefix+"h.") {
		return reply // a name has a dot or, a host's, none
	}
	return reply[:strings.LastIndexByte(reply, '.')]
}

// CopyLife is how long a copy of a request may be on its way: for so long a new owner
// runs only what was sent to it.
const CopyLife = time.Minute

// OwnerQueue is the queue group in which the owner with this token listens. It has no
// other member: an owner that is frozen gets copies, and takes nothing from its
// successor.
func OwnerQueue(token uint64) string { return "o" + strconv.FormatUint(token, 10) }

// ClaimSubject is where the hosts of a region that run the class take claims, one each.
func ClaimSubject(region, class string) string { return "hf.claim." + region + "." + class }

// HostSubject is where one host takes claims.
func HostSubject(incarnation string) string { return "hf.host." + incarnation }

// HostsSubject is where all hosts that run the class say that they are there; of an
// empty class, all hosts.
func HostsSubject(class string) string {
	if class == "" {
		return "hf.hosts"
	}
	return "hf.hosts." + class
}

// GatewayInbox begins every subject on which a gateway hears about its sockets. One
// subscription covers them all, so that the gateway learns everything in the order
// in which it arrived.
func GatewayInbox(gateway string) string { return InboxPrefix + "h." + gateway + "." }

// GatewaySubject is where owners tell a gateway things of one kind.
func GatewaySubject(gateway, kind string) string { return GatewayInbox(gateway) + kind }

// What follows in a GatewaySubject.
const (
	Pushes = "push"  // LanePush
	Heads  = "heads" // LaneHeads
	Whichs = "which" // Which
)

// LaneInbox begins every subject on which a host's incarnation hears from gateways
// about its lanes.
func LaneInbox(incarnation string) string { return InboxPrefix + "l." + incarnation + "." }

// What follows after a LaneInbox.
const (
	Acks = "acks" // LaneAcks
	Hold = "held" // Held
)

// BodySubject is where a host's incarnation, or whoever else asks objects under this name, hears about bodies that are
// carried beside events. The name of a host has no dot, that of anybody else has one.
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

// SlotOf is the slot of a gateway's socket; false if the id is not one of the gateway's.
func SlotOf(gateway, id string) (uint32, bool) {
	slot, ok := strings.CutPrefix(id, gateway)
	if !ok || len(slot) < 2 || slot[0] != '-' {
		return 0, false
	}
	n, err := strconv.ParseUint(slot[1:], 36, 32)
	return uint32(n), err == nil
}

// FrameSubject is where is said that a frame was not taken. It names the frame, so that the
// server's "nobody listens" tells which frame that was.
func FrameSubject(gateway, socket string, seq uint64) string {
	return GatewayInbox(gateway) + "frame." + socket + "." + strconv.FormatUint(seq, 10)
}
