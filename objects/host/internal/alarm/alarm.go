// Package alarm wakes objects up.
//
// The time of an alarm is in the object's record, set in the same commit as
// everything else; that is the authority. What is kept here is a hint: a message
// schedule of NATS, which publishes a wake-up when the time has come. Whoever
// owns the object then compares with the record, so a wake-up too many or too
// early costs a look and does no harm; one too few must not happen:
//
//	earlier than before    schedule, then commit
//	later, or none         commit, then schedule
//	after every wake-up, and at every claim: schedule again what the record says
package alarm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	streamName = "HF_ALARMS"
	at         = "hf.alarm.at."  // + <class>.<id>: the schedule
	due        = "hf.alarm.due." // + <class>.<id>: the wake-up
)

// keep is how long a wake-up waits for a host that runs the class.
const keep = 7 * 24 * time.Hour

// Clock is the stream of schedules.
type Clock struct {
	js     jetstream.JetStream
	stream jetstream.Stream
}

// Open binds to the stream and makes it if there is none.
func Open(ctx context.Context, js jetstream.JetStream, storage jetstream.StorageType, replicas int) (*Clock, error) {
	stream, err := js.Stream(ctx, streamName)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = js.CreateStream(ctx, jetstream.StreamConfig{
			Name:              streamName,
			Description:       "wake-ups for durable objects",
			Subjects:          []string{at + "*.*", due + "*.*"},
			MaxMsgsPerSubject: 1,
			Discard:           jetstream.DiscardOld, // schedules allow no other
			Storage:           storage,
			Replicas:          max(1, replicas),
			AllowMsgTTL:       true,
			AllowMsgSchedules: true,
			AllowRollup:       true,
		})
	}
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		stream, err = js.Stream(ctx, streamName)
	}
	if err != nil {
		return nil, fmt.Errorf("open stream %s: %w", streamName, err)
	}
	return &Clock{js, stream}, nil
}

// Set has the object, given by its Key, woken at the time, or at once if that is
// past. A wake-up that was set before is replaced.
func (c *Clock) Set(ctx context.Context, object string, t time.Time) error {
	msg := nats.NewMsg(at + object)
	// Not the client's WithScheduleAt: it cuts to the second, which is early.
	msg.Header.Set("Nats-Schedule", "@at "+t.UTC().Format(time.RFC3339Nano))
	msg.Header.Set("Nats-Schedule-Target", due+object)
	msg.Header.Set("Nats-Schedule-TTL", keep.String())
	if _, err := c.js.PublishMsg(ctx, msg); err != nil {
		return fmt.Errorf("schedule the alarm of %s: %w", object, err)
	}
	return nil
}

// Clear takes the wake-up back. One that is firing may still come.
func (c *Clock) Clear(ctx context.Context, object string) error {
	if err := c.stream.Purge(ctx, jetstream.WithPurgeSubject(at+object)); err != nil {
		return fmt.Errorf("clear the alarm of %s: %w", object, err)
	}
	return nil
}

// again is how soon a wake-up that nobody acknowledged comes again: a host that dies
// may take some along. One that is only slow is carried twice, which does no harm.
// A host asks for wake-ups as often, and again when it hears nothing: what it asks
// of a consumer that has no leader is lost without a word.
const again = 3 * time.Second

// parallel is how many wake-ups one host carries at a time.
const parallel = 256

// Follow takes wake-ups for a class until ctx ends, together with all others
// that follow it, and has each carried to its object. One that fails comes again.
func (c *Clock) Follow(ctx context.Context, class string, log *slog.Logger, wake func(ctx context.Context, object string) error) error {
	consumer, err := c.stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable:       "due-" + class,
		FilterSubject: due + class + ".*",
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       again,
		MaxAckPending: 4 * parallel,
	})
	if err != nil {
		return fmt.Errorf("follow alarms of %s: %w", class, err)
	}
	var carried sync.WaitGroup
	defer carried.Wait()
	slots := make(chan struct{}, parallel)
	consuming, err := consumer.Consume(func(msg jetstream.Msg) {
		slots <- struct{}{}
		carried.Go(func() {
			defer func() { <-slots }()
			carry(ctx, msg, log, wake)
		})
	}, jetstream.PullMaxMessages(parallel), jetstream.PullExpiry(again), jetstream.PullHeartbeat(again/3))
	if err != nil {
		return fmt.Errorf("follow alarms of %s: %w", class, err)
	}
	<-ctx.Done()
	consuming.Stop()
	<-consuming.Closed()
	return nil
}

func carry(ctx context.Context, msg jetstream.Msg, log *slog.Logger, wake func(context.Context, string) error) {
	object := strings.TrimPrefix(msg.Subject(), due)
	if err := wake(ctx, object); err != nil {
		log.Warn("alarm not delivered; it comes again", "object", object, "err", err)
		err = msg.NakWithDelay(time.Second)
		if err != nil && ctx.Err() == nil {
			log.Warn("alarm not handed back", "object", object, "err", err)
		}
		return
	}
	if err := msg.Ack(); err != nil && ctx.Err() == nil {
		log.Warn("alarm not acknowledged; it comes again", "object", object, "err", err)
	}
}
