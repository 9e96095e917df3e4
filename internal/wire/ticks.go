package wire

import "time"

// Ticks ticks while something is awaited, and is silent otherwise. A lock of its user's
// guards Begin and End.
type Ticks struct {
	C <-chan time.Time

	ticker *time.Ticker
	every  time.Duration
	begun  bool
}

// NewTicks makes a Ticks that is silent.
func NewTicks(every time.Duration) *Ticks {
	ticker := time.NewTicker(every)
	ticker.Stop()
	return &Ticks{C: ticker.C, ticker: ticker, every: every}
}

// Begin has it tick, unless it does.
func (t *Ticks) Begin() {
	if !t.begun {
		t.begun = true
		t.ticker.Reset(t.every)
	}
}

// End has it tick no more. No tick comes after it.
func (t *Ticks) End() {
	t.begun = false
	t.ticker.Stop()
}
