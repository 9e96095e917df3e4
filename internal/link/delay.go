package link

import (
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// Delay is a round trip that connections are made to pay. It may be changed while they live;
// what is under way keeps the time that it was sent with. The zero value is no delay.
type Delay struct {
	rtt  atomic.Int64 // nanoseconds, never negative
	sent atomic.Int64 // until when nothing arrives that is sent from here, in Unix nanoseconds; 0: everything does
	held atomic.Int64 // likewise, in both directions
}

// New returns a delay of one round trip; less than 0 counts as 0.
func New(rtt time.Duration) *Delay {
	d := new(Delay)
	d.Set(rtt)
	return d
}

// Set changes the round trip for everything that is sent from now on, on every connection.
func (d *Delay) Set(rtt time.Duration) { d.rtt.Store(int64(max(rtt, 0))) }

// RTT returns the round trip as it was last set.
func (d *Delay) RTT() time.Duration { return time.Duration(d.rtt.Load()) }

// Hold has nothing that is sent from now on arrive before the time, in either direction, as when a
// cable is cut and mended: TCP sends again what was lost. What is under way still arrives.
func (d *Delay) Hold(until time.Time) { d.held.Store(until.UnixNano()) }

// HoldSent is Hold for bytes from this side alone.
func (d *Delay) HoldSent(until time.Time) { d.sent.Store(until.UnixNano()) }

// sending returns the delay of a byte from here, receiving that of a byte to here.
func (d *Delay) sending() time.Duration { return d.RTT()/2 + max(left(&d.held), left(&d.sent)) }

func (d *Delay) receiving() time.Duration { return d.RTT()/2 + left(&d.held) }

// left returns how long until a time, 0 if it has passed.
func left(until *atomic.Int64) time.Duration {
	at := until.Load()
	if at == 0 {
		return 0
	}
	return max(0, time.Until(time.Unix(0, at)))
}

// Option makes a NATS connection over TCP pay the delay. A connection takes about one and a
// half round trips to open: give nats.Timeout more than that if they are very long.
func (d *Delay) Option() nats.Option { return nats.SetCustomDialer(dialer{d}) }

// InProcess makes a NATS connection to a server in this process pay the delay.
func (d *Delay) InProcess(server nats.InProcessConnProvider) nats.Option {
	return nats.InProcessServer(inProcess{d, server})
}

type dialer struct{ delay *Delay }

// Dial connects as nats.go would by itself, its default timeout included.
func (d dialer) Dial(network, address string) (net.Conn, error) {
	raw, err := (&net.Dialer{Timeout: nats.DefaultTimeout}).Dial(network, address)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	return d.delay.Wrap(raw), nil
}

type inProcess struct {
	delay  *Delay
	server nats.InProcessConnProvider
}

func (p inProcess) InProcessConn() (net.Conn, error) {
	raw, err := p.server.InProcessConn()
	if err != nil {
		return nil, fmt.Errorf("open in-process connection: %w", err)
	}
	return p.delay.Wrap(raw), nil
}
