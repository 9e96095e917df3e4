package flow

import "time"

// outgoing is the bytes that a side sends.
type outgoing struct {
	kept   ring   // from acked on; the other may not have them
	wrote  uint64 // how many there were. The end follows at this place
	acked  uint64 // the other has all before
	sent   uint64 // what was sent, since it was gone back last
	most   uint64 // what was sent ever
	room   uint64 // the other takes bytes before this
	end    End
	reason string
	gone   bool // the other reads no more

	since time.Time // when the oldest bytes were sent that are not acknowledged, or others were acknowledged
	tries uint      // how often it was gone back since
}

// next adds to a segment what is to be sent next, and reports whether there is anything.
func (o *outgoing) next(seg *Segment, most int, now time.Time) bool {
	if o.gone {
		return false
	}
	before := o.sent
	if limit := min(o.wrote, o.room); o.sent < limit {
		seg.Data = o.kept.piece(int(o.sent-o.acked), int(min(limit-o.sent, uint64(most))))
		o.sent += uint64(len(seg.Data))
	}
	if o.end != More && o.sent == o.wrote {
		seg.End, seg.Reason = o.end, o.reason
		o.sent++
	}
	if o.sent == before {
		return false
	}
	if before == o.acked {
		o.since = now
	}
	o.most = max(o.most, o.sent)
	return true
}

// resendAt is when what was sent is sent again, if it is not acknowledged before.
func (o *outgoing) resendAt(after time.Duration) (at time.Time, waits bool) {
	return o.since.Add(after << min(o.tries, 2)), o.sent > o.acked && !o.gone
}

// goBack has what is not acknowledged sent again, if it is time to.
func (o *outgoing) goBack(now time.Time, after time.Duration) {
	if at, waits := o.resendAt(after); waits && !now.Before(at) {
		o.sent = o.acked
		o.tries++
	}
}

// onSegment takes what the other says of the bytes.
func (o *outgoing) onSegment(seg Segment, now time.Time) {
	if seg.Got > o.acked {
		o.kept.drop(int(min(seg.Got-o.acked, uint64(o.kept.n))))
		o.acked = seg.Got
		if o.end != More && o.kept.n == 0 {
			o.kept = ring{} // nothing more is kept
		}
		o.sent = max(o.sent, o.acked)
		o.since, o.tries = now, 0
	}
	o.room = max(o.room, seg.Room)
	if seg.Again && seg.Got == o.acked {
		o.sent = o.acked
	}
	if seg.Gone {
		o.gone, o.kept = true, ring{}
	}
}

// incoming is the bytes that a side receives.
type incoming struct {
	kept   ring   // that nobody has read
	got    uint64 // how many have come, in order, and the end
	room   uint64 // bytes before this are taken
	end    End
	reason string
	gone   bool // nobody reads them

	told, toldGot uint64    // room and got, as said last
	again         bool      // bytes are missing, which the other is to be told
	asked         time.Time // when that was noticed
}

// urgency is when something is to be said.
type urgency uint8

const (
	never urgency = iota
	soon
	atOnce
)

// take counts bytes as read.
func (i *incoming) take(n int, window uint64) {
	i.kept.drop(n)
	i.room += uint64(n)
}

// onSegment takes bytes, in order alone and as many as there is room for. It says when that is to be acknowledged.
func (i *incoming) onSegment(seg Segment, set Settings, now time.Time) urgency {
	switch {
	case len(seg.Data) == 0 && seg.End == More:
		return never
	case i.end != More:
		return atOnce // the other does not know that it has arrived
	case seg.From > i.got:
		if now.Sub(i.asked) < set.Resend {
			return never // all that follows a gap would ask for the same
		}
		i.again, i.asked = true, now
		return atOnce
	}
	known := min(i.got-seg.From, uint64(len(seg.Data)))
	fresh := seg.Data[known:]
	fresh = fresh[:min(uint64(len(fresh)), i.room-min(i.room, i.got))]
	i.got += uint64(len(fresh))
	if i.gone {
		i.room += uint64(len(fresh))
	} else {
		i.kept.add(fresh)
	}
	if seg.End != More && seg.From+uint64(len(seg.Data)) == i.got {
		i.end, i.reason = seg.End, seg.Reason
		i.got++
		return atOnce
	}
	if len(fresh) == 0 || i.gone || i.got-i.toldGot >= uint64(max(1, set.Window/4)) {
		return atOnce
	}
	return soon
}
