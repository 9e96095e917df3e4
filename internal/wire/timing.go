package wire

import "time"

// Timing is all durations of gateways and hosts. Zero fields mean the defaults. Hosts that share a NATS may differ in
// TTL, because a lease says how long it lasts.
type Timing struct {
	TTL    time.Duration // 3 s, at most 10 min: a host's lease, renewed every third of it. Failover after a crash takes TTL + Margin
	Margin time.Duration // TTL/10: the most that two clocks may differ by over one TTL; also the holder's safety

	Commit time.Duration // 2 s: how long one read of a record, or setting an alarm, may take
	Claim  time.Duration // 5 s: how long a gateway waits for a host's answer to a claim

	Hibernate time.Duration // 10 s without an event: the instance is dropped
	Evict     time.Duration // 5 min without an event: the object is released; after Hibernate if it keeps nothing

	Request time.Duration // 15 s: the longest a request may take, gateway's retries included
	Silence time.Duration // 1 s: with no answer for so long, a gateway asks who owns the object
	Beat    time.Duration // 2 s: a gateway says that it lives; silent for MissedBeats of them its sockets count as lost
	Keep    time.Duration // 12 s: the longest time for which unacknowledged output to a gateway is kept
	Drain   time.Duration // 10 s: a stopping process releases everything within this
}

// MissedBeats is after how many missed beats a host counts a gateway's sockets as lost. The
// gateway closes them no later.
const MissedBeats = 5

// WithDefaults fills the zero fields.
func (t Timing) WithDefaults() Timing {
	set := func(d *time.Duration, otherwise time.Duration) {
		if *d <= 0 {
			*d = otherwise
		}
	}
	set(&t.TTL, 3*time.Second)
	set(&t.Margin, t.TTL/10)
	set(&t.Commit, 2*time.Second)
	set(&t.Claim, 5*time.Second)
	set(&t.Hibernate, 10*time.Second)
	set(&t.Evict, 5*time.Minute)
	set(&t.Request, 15*time.Second)
	set(&t.Silence, time.Second)
	set(&t.Beat, 2*time.Second)
	set(&t.Keep, 12*time.Second)
	set(&t.Drain, 10*time.Second)
	return t
}
