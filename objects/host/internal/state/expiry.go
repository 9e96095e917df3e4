package state

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Expiry is the removal of the oldest part of a history: everything before the second oldest pin.
type Expiry struct {
	source *source
	starts PinRef   // the pin that is removed; zero: none
	ends   PinRef   // the oldest pin that stays
	later  []PinRef // pins that restores have made
	spans  []Span
}

// PlanExpiry returns the removal that is due, nil for none. It is under way until InstallExpiry.
func (s *State) PlanExpiry(object string, home Home, now time.Time) *Expiry {
	h := s.history
	if h == nil || !h.begun || h.settled || h.expiring != nil {
		return nil
	}
	keep := h.keep
	if h.Ended {
		keep = MostKept
	}
	old := MomentOf(now.Add(-keep))
	ends := slices.IndexFunc(h.pins, func(p PinRef) bool { return p.At > h.From })
	if ends < 0 && h.Ended && h.Last <= old {
		s.endHistory()
	}
	if ends < 0 || h.pins[ends].At > old {
		return nil
	}
	e := &Expiry{source: &source{Home: home, object: object}, ends: h.pins[ends]}
	if ends > 0 {
		e.starts = h.pins[ends-1]
	}
	for _, p := range h.pins[ends+1:] {
		if p.Restored > 0 {
			e.later = append(e.later, p)
		}
	}
	h.expiring = e
	return e
}

// endHistory purges the rest of a history that was turned off.
func (s *State) endHistory() {
	h := s.history
	spans := h.Kept
	for _, segment := range h.Since {
		spans = append(spans, segment.all())
	}
	if h.Pin != nil {
		spans = append(spans, h.Pin.Entry.Span)
	}
	for _, span := range spans {
		s.more.discard(garbage{Span: span, size: int(span.Parts) * sizes.chunk})
	}
	s.history = nil
	if h.keep > 0 {
		s.KeepHistory(h.keep)
	}
}

// Run reads the entries to remove.
func (e *Expiry) Run(ctx context.Context) error {
	pin, err := e.source.pin(ctx, e.ends)
	if errors.Is(err, ErrDamaged) {
		return nil // the entries that it names stay for ever
	}
	if err != nil {
		return err
	}
	spared := make(map[Name]bool)
	for _, ref := range e.later {
		later, err := e.source.pin(ctx, ref)
		if err != nil {
			return err
		}
		namesOf(spared, later.Spared)
	}
	spans := pin.Kept
	for _, s := range pin.Segments {
		spans = append(spans, s.all())
	}
	e.spans = less(spans, spared)
	if e.starts.At > 0 {
		e.spans = append(e.spans, e.starts.Entry.Span)
	}
	return nil
}

// InstallExpiry dooms the entries to remove; after an error it dooms none. The next head no longer
// has them.
func (s *State) InstallExpiry(e *Expiry, err error) {
	h := s.history
	h.expiring = nil
	if err != nil {
		return
	}
	for _, span := range e.spans {
		s.more.discard(garbage{Span: span, size: int(span.Parts) * sizes.chunk})
	}
	h.From = e.ends.At
	h.pins = slices.DeleteFunc(h.pins, func(p PinRef) bool { return p.At < h.From })
}
