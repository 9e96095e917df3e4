package sockets

import (
	"context"
	"sync"
	"time"

	"holdfast/internal/wire"
	"holdfast/objects"
)

// pulse is the time of the last beat that reached NATS.
type pulse struct {
	soon chan struct{} // has a token when the next beat is due at once

	mu        sync.Mutex
	confirmed time.Time // when the last beat was sent that NATS has confirmed
}

func (p *pulse) confirm(sent time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.confirmed = sent
}

func (p *pulse) last() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.confirmed
}

// givenUp reports whether hosts may have given the gateway up by now. sent is when the
// last beat was sent that NATS has confirmed. A host receives a beat after it was sent,
// so no host gives the gateway up before givenUp reports true.
func givenUp(sent, now time.Time, beat time.Duration) bool {
	return now.Sub(sent) >= wire.MissedBeats*beat
}

// checkPulse closes all sockets if hosts may have given the gateway up: hosts have
// reported these sockets as ended to the objects. It also runs before each beat, because
// a process that was frozen may send a beat before it does anything else.
func (h *Hub) checkPulse(now time.Time) {
	if givenUp(h.pulse.last(), now, h.Timing.Beat) {
		h.closeAll(End{Code: closeRestart, Reason: "the gateway could not be heard by the hosts; connect again", Fault: objects.Unavailable})
	}
}

// beat publishes this gateway's beats until ctx ends. A beat that NATS does not confirm
// is repeated after a quarter of the interval.
func (h *Hub) beat(ctx context.Context) {
	timer := time.NewTimer(h.Timing.Beat)
	defer timer.Stop()
	for {
		sent := time.Now()
		h.checkPulse(sent)
		pause := h.Timing.Beat / 4
		if h.sendBeat(ctx, wire.Beat{Gateway: h.Name, Region: h.Region}, h.Timing.Beat) {
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

// Bye publishes that this gateway has closed its sockets.
func (h *Hub) Bye() {
	h.sendBeat(context.Background(), wire.Beat{Gateway: h.Name, Region: h.Region, Bye: true}, h.Timing.Silence)
}

// sendBeat publishes a beat. It reports whether NATS confirmed it in time.
func (h *Hub) sendBeat(ctx context.Context, b wire.Beat, within time.Duration) bool {
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
