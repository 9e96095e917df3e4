package flow

import "time"

// outgoing is the sending half of a side.
type outgoing struct {
	kept   ring   // bytes from acked on; the other may not have them
	wrote  uint64 // bytes written so far. The end has this offset
	acked  uint64 // the other has all bytes before this offset
	sent   uint64 // bytes before this were sent, since the last goBack
	most   uint64 // bytes before this were sent at least once
	room   uint64 // the other takes bytes before this
	end    End
	reason string
	gone   bool // the other does not read any more

	since time.Time // when the oldest unacknowledged bytes were sent, or when bytes were last acknowledged
	tries uint      // calls of goBack that sent again since then
}

// next adds the next bytes to a segment, and reports whether there are any.
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

// resendAt returns when unacknowledged bytes are sent again.
func (o *outgoing) resendAt(after time.Duration) (at time.Time, waits bool) {
	return o.since.Add(after << min(o.tries, 2)), o.sent > o.acked && !o.gone
}

// goBack has unacknowledged bytes sent again, if it is time to.
func (o *outgoing) goBack(now time.Time, after time.Duration) {
	if at, waits := o.resendAt(after); waits && !now.Before(at) {
		o.sent = o.acked
		o.tries++
	}
}

// onSegment notes which bytes the other has, and how many more it takes.
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

// incoming is the receiving half of a side.
type incoming struct {
	kept   ring   // unread bytes
	got    uint64 // bytes that have come, in order; the end counts as one
	room   uint64 // bytes before this offset are taken
	end    End
	reason string
	gone   bool // nobody reads them

	sentRoom, sentGot uint64    // room and got in the last segment
	again             bool      // bytes are missing, and the next segment says so
	asked             time.Time // when the gap was noticed
}

// urgency is when a segment must be sent.
type urgency uint8

const (
	never urgency = iota
	soon
	atOnce
)

// markRead drops n bytes that were read, and makes room for as many.
func (i *incoming) markRead(n int) {
	i.kept.drop(n)
	i.room += uint64(n)
}

// onSegment takes bytes, only in order and as many as there is room for. It returns when they must be acknowledged.
func (i *incoming) onSegment(seg Segment, set Settings, now time.Time) urgency {
	switch {
	case len(seg.Data) == 0 && seg.End == More:
		return never
	case i.end != More:
		return atOnce // the other does not know that it has arrived
	case seg.From > i.got:
		if now.Sub(i.asked) < set.Resend {
			return never // every segment behind a gap would ask for the same bytes
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
	if len(fresh) == 0 || i.gone || i.got-i.sentGot >= uint64(max(1, set.Window/4)) {
		return atOnce
	}
	return soon
}
