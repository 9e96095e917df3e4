package sockets

import (
	"context"
	"sync"
	"time"

	"holdfast/internal/wire"
	"holdfast/objects"
)

// pulse knows when hosts can have heard this gateway last.
type pulse struct {
	soon chan struct{} // has a token when the next beat is due at once

	mu    sync.Mutex
	heard time.Time // when the last beat was sent of which NATS has confirmed the arrival
}

func (p *pulse) confirm(sent time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard = sent
}

func (p *pulse) last() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.heard
}

// missedBeats is how many beats a host may miss before it counts a gateway's sockets as lost.
const missedBeats = 5

// givenUp reports whether hosts may have given the gateway up by now. heard is when
// the last beat was sent that reached NATS. Sending comes before hearing, so no host
// gives the gateway up earlier than the gateway expects.
func givenUp(heard, now time.Time, beat time.Duration) bool {
	return now.Sub(heard) >= missedBeats*beat
}

// checkPulse closes all sockets if hosts may have given the gateway up: they have told
// the objects that these sockets ended. It is asked before each beat too, because a
// process that was frozen may beat before it looks at anything else.
func (h *Hub) checkPulse(now time.Time) {
	if givenUp(h.pulse.last(), now, h.Timing.Beat) {
		h.closeAll(End{Code: closeRestart, Reason: "the gateway could not be heard by the hosts; connect again", Fault: objects.Unavailable})
	}
}

// beat tells the hosts that this gateway lives, until ctx ends. A beat that NATS has
// not confirmed is repeated sooner than the next is due.
func (h *Hub) beat(ctx context.Context) {
	timer := time.NewTimer(h.Timing.Beat)
	defer timer.Stop()
	for {
		sent := time.Now()
		h.checkPulse(sent)
		pause := h.Timing.Beat / 4
		if h.say(ctx, wire.Beat{Gateway: h.Name, Region: h.Region}, h.Timing.Beat) {
			h.pulse.confirm(sent)
			pause = h.Timing.Beat
		}
		timer.Reset(pause)
		select {
		case <-timer.C:
		case <-h.pulse.soon:
		case <-ctx.Done():
			return
		}
	}
}

// Bye tells the hosts that this gateway has closed its sockets.
func (h *Hub) Bye() {
	h.say(context.Background(), wire.Beat{Gateway: h.Name, Region: h.Region, Bye: true}, h.Timing.Silence)
}

// say sends a beat. It reports whether NATS has confirmed within the time that it got it.
func (h *Hub) say(ctx context.Context, b wire.Beat, within time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	err := wire.Publish(h.bus, wire.BeatSubject, &b)
	if err == nil {
		err = h.bus.FlushWithContext(ctx)
	}
	if err != nil {
		h.Log.Debug("beat not confirmed", "err", err) // hosts count the silence, and so does checkPulse
	}
	return err == nil
}
