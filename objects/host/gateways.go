package host

import (
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/internal/wire"
)

// silentGateways returns the gateways that have sent no beat for too long. A host that is not connected gives no
// gateway up.
func (in *incarnation) silentGateways(now time.Time) (silent []string) {
	connected := in.bus.Connected()
	in.mu.Lock()
	defer in.mu.Unlock()
	for gateway, last := range in.gateways {
		if !connected {
			in.gateways[gateway] = now
			continue
		}
		if now.Sub(last) > wire.MissedBeats*in.timing.Beat {
			silent = append(silent, gateway)
			delete(in.gateways, gateway)
		}
	}
	return silent
}

// onBeat notes that a gateway lives, or that it has stopped.
func (in *incarnation) onBeat(msg *nats.Msg) {
	var beat wire.Beat
	err := wire.Decode(msg.Data, &beat)
	if err == nil {
		err = checkName(beat.Gateway)
	}
	if err != nil {
		in.warnings.Log(in.log, "beat dropped: not understood", "err", err)
		return
	}
	in.noteGateway(beat.Gateway, beat.Bye)
	if !beat.Bye {
		in.probeGateway(beat.Gateway)
		in.tellEnded(beat.Gateway)
	}
}

// tellEnded tells a gateway that has just beaten which incarnations have ended lately. What one of them sent last may be
// lost, and nobody else knows of it. Each is told with several beats, so that one message less does no harm. An
// incarnation whose own lease is not valid says nothing about others.
func (in *incarnation) tellEnded(gateway string) {
	all := in.ended(wire.MissedBeats * in.timing.Beat)
	if _, valid := in.lease.Valid(); !valid {
		return
	}
	heads := wire.LaneHeads{Host: in.id}
	for _, e := range all {
		if e.Incarnation != in.id && len(heads.Ended) < wire.MaxEnded {
			heads.Ended = append(heads.Ended, wire.Ended{Incarnation: e.Incarnation, Beat: e.Beat})
		}
	}
	if len(heads.Ended) > 0 {
		in.logSendError(wire.Publish(in.bus, wire.GatewaySubject(gateway, wire.Heads), &heads))
	}
}

// noteGateway notes the beat or the goodbye of a gateway that is watched. Only gateways that hold sockets are watched,
// so a forged name costs nothing. A goodbye may be forged as well: the gateway is given up only if no beat follows
// within one and a half intervals between beats. A gateway that stops in order has reported the ends of its sockets
// before.
func (in *incarnation) noteGateway(gateway string, bye bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	last, watched := in.gateways[gateway]
	if !watched {
		return
	}
	now := time.Now()
	if bye {
		if now = now.Add(-(2*wire.MissedBeats - 3) * in.timing.Beat / 2); last.Before(now) {
			now = last
		}
	}
	in.gateways[gateway] = now
}

// trackGateway begins to watch a gateway that holds a socket for silence, which counts
// from now.
func (in *incarnation) trackGateway(gateway string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch _, watched := in.gateways[gateway]; {
	case watched:
	case len(in.gateways) >= maxGateways:
		in.warnings.Log(in.log, "gateway not watched: there are too many", "gateway", gateway)
	default:
		in.gateways[gateway] = time.Now()
	}
}

// loseGateway notifies every object that a gateway has died.
func (in *incarnation) loseGateway(gateway string) {
	for _, o := range in.all() {
		o.push(delivery{kind: gatewayLost, gateway: gateway})
	}
}
