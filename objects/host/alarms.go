package host

import (
	"context"
	"fmt"
	"strings"
	"time"

	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/internal/engine"
)

// followAlarms carries wake-ups of a class to their objects, wherever those live,
// until ctx ends.
func (r *incarnation) followAlarms(ctx context.Context, class string) error {
	r.clock.Follow(ctx, class, r.log, r.wake)
	return nil
}

func (r *incarnation) wake(ctx context.Context, key string) error {
	class, hex, _ := strings.Cut(key, ".")
	id, err := objects.Class(class).ParseID(hex)
	if err != nil {
		return fmt.Errorf("wake %s: %w", key, err)
	}
	reply, err := r.client.Do(ctx, wire.Address{ID: id}, &wire.Request{Kind: wire.Alarm})
	if err != nil {
		return err
	}
	return reply.Err()
}

// setter sets an object's wake-up.
type setter func(ctx context.Context, key string, at time.Time) error

// schedule sets the wake-up for the alarm, or takes it back. What is set now is
// known from last, which it returns anew. It runs on the goroutine that puts.
func (o *object) schedule(a engine.Alarm, last time.Time, set setter) (time.Time, error) {
	next, ok := a.Next()
	if ok && next.Equal(last) || !ok && last.IsZero() {
		return last, nil // mostly
	}
	ctx, cancel := context.WithTimeout(o.in.work, o.in.timing.Commit)
	defer cancel()
	if ok {
		return next, set(ctx, o.key, next)
	}
	return time.Time{}, o.in.clock.Clear(ctx, o.key)
}

// sooner tells whether the alarm needs a wake-up before the one that is set.
func sooner(a engine.Alarm, last time.Time) bool {
	next, ok := a.Next()
	return ok && (last.IsZero() || next.Before(last))
}
