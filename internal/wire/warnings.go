package wire

import (
	"log/slog"
	"sync"
	"time"
)

// Warnings limits log lines about what comes from outside to one a second of each
// kind. The text of a line is its kind, so it must be constant. The zero Warnings is ready.
type Warnings struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// Log logs a line, unless one of its kind was logged within the last second.
func (w *Warnings) Log(log *slog.Logger, text string, args ...any) {
	if w.allow(text, time.Now()) {
		log.Warn(text, args...) //nolint:sloglint // its callers give a constant
	}
}

func (w *Warnings) allow(kind string, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if last, ok := w.last[kind]; ok && now.Sub(last) < time.Second {
		return false
	}
	if w.last == nil {
		w.last = make(map[string]time.Time)
	}
	w.last[kind] = now
	return true
}
