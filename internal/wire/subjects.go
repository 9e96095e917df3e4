package wire

import (
	"fmt"
	"regexp"
	"strings"

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
