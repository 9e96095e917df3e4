package wire

import "time"

// Ticks is a ticker that can be silent. The caller's lock guards Begin and End.
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

// Begin starts the ticks, if they have not been started.
func (t *Ticks) Begin() {
	if !t.begun {
		t.begun = true
		t.ticker.Reset(t.every)
	}
}

// End stops the ticks. No tick comes after it.
func (t *Ticks) End() {
	t.begun = false
	t.ticker.Stop()
}
