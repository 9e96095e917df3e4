// Package alarm wakes objects up.
//
// The time of an alarm is in the object's record, set in the same commit as
// everything else; the record is the authority. This package keeps a hint: a message schedule of NATS, which publishes
// a wake-up at that time. The owner compares the wake-up with the record, so a wake-up too many or too early does no
// harm; a missing one must not happen:
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

	"holdfast/objects"
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
	js       jetstream.JetStream
	replicas int // 0: an existing stream keeps its own
	config   jetstream.StreamConfig
}

// Open binds to the stream and makes it if there is none. An existing stream gets the replicas, unless they are 0. A
// new stream takes at most bytes; 0: no limit.
func Open(ctx context.Context, js jetstream.JetStream, storage jetstream.StorageType, replicas int, bytes int64) (*Clock, error) {
	c := &Clock{js, replicas, jetstream.StreamConfig{
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
		MaxBytes:          -1,
	}}
	if bytes > 0 {
		c.config.MaxBytes = bytes
	}
	return c, c.Make(ctx)
}

// Make makes the stream if there is none.
func (c *Clock) Make(ctx context.Context) error {
	stream, err := c.js.Stream(ctx, streamName)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		_, err = c.js.CreateStream(ctx, c.config)
	case err == nil:
		if is := stream.CachedInfo().Config; c.replicas > 0 && is.Replicas != c.replicas {
			is.Replicas = c.replicas
			_, err = c.js.UpdateStream(ctx, is)
		}
	}
	if err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another host was quicker
		return fmt.Errorf("open stream %s: %w", streamName, err)
	}
	return nil
}

// reach is how far ahead a wake-up is scheduled at most: the server counts in nanoseconds, which do not reach the year
// 9999. An object that is woken before its alarm is due schedules the rest then.
const reach = 365 * 24 * time.Hour

// within returns t, at most reach from now.
func within(t, now time.Time) time.Time {
	if most := now.Add(reach); t.After(most) {
		return most
	}
	return t
}

// pace is the time until the next wake-up after an early one.
const pace = time.Second

// Again returns when to wake an object again after an early wake-up: when the alarm is due
// or, if it is due already by the server's clock, a little later. The owner's clock is behind
// then, and a wake-up at once would be early again.
func Again(next, server time.Time) time.Time {
	if soonest := server.Add(pace); next.Before(soonest) {
		return soonest
	}
	return next
}

// Set has the object, given by its Key, woken at the time, or at once if that is
// past. A wake-up that was set before is replaced.
func (c *Clock) Set(ctx context.Context, object string, t time.Time) error {
	if err := c.set(ctx, object, within(t, time.Now())); err != nil {
		return fmt.Errorf("schedule the alarm of %s: %w", object, err)
	}
	return nil
}

// SetAgain is Set after a wake-up that came early. It asks the server for its time first.
func (c *Clock) SetAgain(ctx context.Context, object string, t time.Time) error {
	stream, err := c.js.Stream(ctx, streamName)
	if err == nil {
		server := stream.CachedInfo().TimeStamp // just asked for
		err = c.set(ctx, object, within(Again(t, server), server))
	}
	if err != nil {
		return fmt.Errorf("schedule the alarm of %s again: %w", object, err)
	}
	return nil
}

func (c *Clock) set(ctx context.Context, object string, t time.Time) error {
	msg := nats.NewMsg(at + object)
	// The client's WithScheduleAt cuts the time to whole seconds, which is early.
	msg.Header.Set("Nats-Schedule", "@at "+t.UTC().Format(time.RFC3339Nano))
	msg.Header.Set("Nats-Schedule-Target", due+object)
	msg.Header.Set("Nats-Schedule-TTL", keep.String())
	_, err := c.js.PublishMsg(ctx, msg)
	if errors.Is(err, jetstream.ErrNoStreamResponse) {
		if made := c.Make(ctx); made != nil {
			return errors.Join(err, made)
		}
		_, err = c.js.PublishMsg(ctx, msg)
	}
	return err
}

// Clear takes the wake-up back. A wake-up that is already firing may still come.
func (c *Clock) Clear(ctx context.Context, object string) error {
	stream, err := c.js.Stream(ctx, streamName)
	if err == nil {
		err = stream.Purge(ctx, jetstream.WithPurgeSubject(at+object))
	}
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) { // with the stream, the wake-up has gone
		return fmt.Errorf("clear the alarm of %s: %w", object, err)
	}
	return nil
}

// again is the time after which an unacknowledged wake-up is delivered again: a host that dies loses some. A slow one
// is delivered twice, which does no harm. A host also repeats its pull request at this interval: a request to a
// consumer without a leader is lost.
const again = 3 * time.Second

// parallel is how many wake-ups one host delivers at a time.
const parallel = 256

// ErrNoObject is the error of a forged wake-up, whose subject names no object. It is not delivered again.
var ErrNoObject = errors.New("the wake-up names no object")

// Follow takes wake-ups for a class until ctx ends, together with all other hosts that follow it, and calls wake for
// each. A wake-up that fails comes again, except after ErrNoObject. If the consumer or the stream has gone, Follow
// makes it anew within seconds.
func (c *Clock) Follow(ctx context.Context, class string, log *slog.Logger, wake func(ctx context.Context, object string) error) {
	var carried sync.WaitGroup
	defer carried.Wait()
	slots := make(chan struct{}, parallel)
	for {
		err := c.consume(ctx, class, func(msg jetstream.Msg) {
			slots <- struct{}{}
			carried.Go(func() {
				defer func() { <-slots }()
				carry(ctx, msg, log, wake)
			})
		})
		if ctx.Err() != nil {
			return
		}
		log.Warn("alarms not followed; trying again", "class", class, "err", err)
		select {
		case <-time.After(again / 3):
		case <-ctx.Done():
			return
		}
	}
}

// consume takes wake-ups until ctx ends or the consumer has gone.
func (c *Clock) consume(ctx context.Context, class string, each func(jetstream.Msg)) error {
	making, cancel := context.WithTimeout(ctx, again)
	defer cancel()
	consumer, err := c.consumer(making, class)
	if err != nil {
		return err
	}
	trouble := make(chan error, 1) // one error is enough to look for the cause
	consuming, err := consumer.Consume(each, jetstream.PullMaxMessages(parallel), jetstream.PullExpiry(again), jetstream.PullHeartbeat(again/3),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
			select {
			case trouble <- err:
			default:
			}
		}))
	if err != nil {
		return err
	}
	defer func() {
		consuming.Stop()
		<-consuming.Closed()
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-consuming.Closed():
			return errors.New("the consumer has ended")
		case err := <-trouble:
			if gone(ctx, consumer, err) {
				return err
			}
		}
	}
}

func (c *Clock) consumer(ctx context.Context, class string) (jetstream.Consumer, error) {
	config := jetstream.ConsumerConfig{
		Durable:       "due-" + class,
		FilterSubject: due + class + ".*",
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       again,
		MaxAckPending: 4 * parallel,
	}
	consumer, err := c.js.CreateOrUpdateConsumer(ctx, streamName, config)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if err = c.Make(ctx); err == nil {
			consumer, err = c.js.CreateOrUpdateConsumer(ctx, streamName, config)
		}
	}
	return consumer, err
}

// gone reports whether a consumer in trouble has been deleted. A consumer that has no leader,
// or that a lost connection cannot reach, goes on by itself.
func gone(ctx context.Context, consumer jetstream.Consumer, trouble error) bool {
	if errors.Is(trouble, jetstream.ErrConsumerDeleted) || errors.Is(trouble, jetstream.ErrBadRequest) {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, again/3)
	defer cancel()
	_, err := consumer.Info(ctx)
	return errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrConsumerDoesNotExist)
}

func carry(ctx context.Context, msg jetstream.Msg, log *slog.Logger, wake func(context.Context, string) error) {
	object := strings.TrimPrefix(msg.Subject(), due)
	err := wake(ctx, object)
	if errors.Is(err, ErrNoObject) {
		if err := msg.Term(); err != nil && ctx.Err() == nil {
			log.Debug("wake-up not dropped; it comes again", "object", object, "err", err)
		}
		return
	}
	if err != nil {
		level := slog.LevelWarn
		if objects.CodeOf(err) == objects.StorageFull {
			level = slog.LevelDebug // the host's log has said so, once
		}
		log.Log(ctx, level, "alarm not delivered; it comes again", "object", object, "err", err)
		if err := msg.NakWithDelay(time.Second); err != nil && ctx.Err() == nil {
			log.Warn("alarm not handed back", "object", object, "err", err)
		}
		return
	}
	if err := msg.Ack(); err != nil && ctx.Err() == nil {
		log.Warn("alarm not acknowledged; it comes again", "object", object, "err", err)
	}
}
