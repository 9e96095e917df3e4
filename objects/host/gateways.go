package host

import (
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/internal/wire"
)

// silentGateways are the gateways without a beat for too long. A host that is not
// connected gives no gateway up.
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
	watched := in.noteGateway(beat.Gateway, beat.Bye)
	switch {
	case !beat.Bye:
		in.probeGateway(beat.Gateway)
	case watched:
		in.loseGateway(beat.Gateway)
	}
}

// noteGateway notes the beat of a gateway, or its goodbye, and reports whether the
// gateway is watched. Only those that hold sockets are, so a forged name costs nothing.
func (in *incarnation) noteGateway(gateway string, bye bool) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	_, watched := in.gateways[gateway]
	switch {
	case watched && bye:
		delete(in.gateways, gateway)
	case watched:
		in.gateways[gateway] = time.Now()
	}
	return watched
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
