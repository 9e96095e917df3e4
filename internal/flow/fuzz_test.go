package flow

import (
	"testing"
	"time"
)

// Whatever the other side says, a side keeps no more than a window of it, and its own bytes stay what they were.
func FuzzASideWithstandsAnything(f *testing.F) {
	f.Add(uint64(0), []byte("abc"), uint8(0), uint64(0), uint64(8), false, false)
	f.Add(uint64(1)<<63, []byte("a"), uint8(3), uint64(9), uint64(1)<<62, true, true)
	f.Fuzz(func(t *testing.T, from uint64, data []byte, end uint8, got, room uint64, again, gone bool) {
		set := tiny
		set.Window, set.Data = 8, 4
		now := dawn
		s := New(set, true, now)
		s.Write([]byte("own"))
		for n := range uint64(4) {
			_ = s.Receive(Segment{From: from + n, Data: data, End: End(end), Got: got, Room: room, Again: again, Gone: gone}, now)
			for seg, ok := s.Next(now); ok; seg, ok = s.Next(now) {
				if len(seg.Data) > set.Data || seg.From > 4 {
					t.Fatalf("says %+v", seg)
				}
			}
			if s.in.kept.n > set.Window || s.in.got > s.in.room+1 {
				t.Fatalf("keeps %d bytes, %d of %d", s.in.kept.n, s.in.got, s.in.room)
			}
			now = now.Add(time.Second)
			_ = s.Dead(now)
		}
	})
}
