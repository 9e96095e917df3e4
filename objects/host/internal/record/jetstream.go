package record

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"holdfast/objects"
)

// oldest is the first server version whose fence is reliable: it keeps the subjects of expectations apart and fences
// proposals by the leader's term.
const oldest = "2.14.4"

// SmallState is the bytes of keys and values that a record without parts may have.
const SmallState = 512 << 10

// payload is the smallest max_payload that suffices: a record of SmallState, with room for its head and its answers.
const payload = SmallState + 256<<10

// JetStream returns the connection's JetStream, after making sure that it can be
// used. Errors say what is wrong with the server and what to do.
func JetStream(ctx context.Context, nc *nats.Conn) (jetstream.JetStream, error) {
	switch {
	case !AtLeast(nc.ConnectedServerVersion(), oldest):
		return nil, objects.Errorf(objects.Unavailable, "the NATS server at %s is version %s: Holdfast needs %s or later, upgrade it",
			nc.ConnectedAddr(), nc.ConnectedServerVersion(), oldest)
	case nc.MaxPayload() < payload:
		return nil, objects.Errorf(objects.Unavailable, "the NATS server at %s allows messages of %d bytes: set max_payload to at least %d",
			nc.ConnectedAddr(), nc.MaxPayload(), payload)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if _, err := js.AccountInfo(ctx); err != nil {
		if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) || errors.Is(err, nats.ErrNoResponders) {
			return nil, objects.Errorf(objects.Unavailable, "the NATS server at %s is up but JetStream is off: start nats-server with -js, or enable jetstream for the account", nc.ConnectedAddr())
		}
		return nil, fmt.Errorf("ask %s for JetStream: %w", nc.ConnectedAddr(), err)
	}
	return js, nil
}

// Space returns the sizes of new streams, in bytes, so that none displaces another: three quarters of the account's
// free space for records, and an eighth for alarms. Both are 0 if the account has no limit of its own.
func Space(ctx context.Context, js jetstream.JetStream, memory bool, replicas int) (records, alarms int64, err error) {
	info, err := js.AccountInfo(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("ask for the account's space: %w", err)
	}
	left, used := info.Limits.MaxStore, info.Store
	if memory {
		left, used = info.Limits.MaxMemory, info.Memory
	}
	if left <= 0 {
		return 0, 0, nil
	}
	each := max(0, left-int64(used)) / int64(max(1, replicas))
	return each / 4 * 3, each / 8, nil
}

// AtLeast reports whether version a is b or later. Only the numbers count.
func AtLeast(a, b string) bool {
	as, bs := numbers(a), numbers(b)
	for i := range bs {
		if as[i] != bs[i] {
			return as[i] > bs[i]
		}
	}
	return true
}

func numbers(version string) (n [3]int) {
	version, _, _ = strings.Cut(strings.TrimPrefix(version, "v"), "-")
	for i, part := range strings.SplitN(version, ".", 3) {
		n[i], _ = strconv.Atoi(part) // a part that is no number counts as 0
	}
	return n
}
