package tells

import (
	"testing"
	"time"

	"holdfast/objects/internal/engine"
)

// A receiver takes no batch of more than MaxBatch messages, and may handle any part of one.
func TestABatchIsNeverLargerThanItsReceiverTakes(t *testing.T) {
	for handles := 0; handles < MaxBatch; handles += 17 {
		o := New("teller.1")
		for n := range uint64(4 * MaxBatch) {
			m := engine.Told{N: n + 1, To: "teller.2", Call: "note"}
			if err := o.Note(engine.Write{Key: engine.OutboxKey(m.N), Value: m.Encode()}, 0); err != nil {
				t.Fatal(err)
			}
		}
		now := time.Unix(0, 0)
		for batches, left := 0, 4*MaxBatch; left > 0; batches++ {
			b, ok := o.Take(now)
			if !ok || len(b.Numbers) > MaxBatch || batches > 4*MaxBatch {
				t.Fatalf("of a receiver that handles %d: batch %d has %d messages, %d are left", handles+1, batches, len(b.Numbers), left)
			}
			n := min(handles+1, len(b.Numbers))
			left -= n
			o.Answered(b, Answer{Handled: b.Numbers[n-1]}, now, 0, false)
			now = now.Add(time.Millisecond)
		}
		if n := o.Sending(); n != 0 {
			t.Errorf("%d messages are left", n)
		}
	}
}
