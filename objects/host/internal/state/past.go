package state

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"holdfast/objects/internal/engine"
)

var (
	// ErrNoPast: the history does not reach this moment.
	ErrNoPast = errors.New("the object's history does not have it")

	// ErrNoHistory: only the present state is known.
	ErrNoHistory = errors.New("the object has no history")
)

// Reach returns the first and the last moment that are known; false if there is no history. A first moment of 0 means
// the whole past.
func (h *Head) Reach() (from, last Moment, ok bool) {
	if h == nil || h.History == nil {
		return 0, 0, false
	}
	return h.History.From, h.History.Last, true
}

// OpenAt is Open for the state at a moment, for reading. If the history does not reach the moment, the error is
// ErrNoPast or ErrNoHistory. It is ErrDamaged, too, if entries are gone because the object has changed since the head
// was read.
func OpenAt(ctx context.Context, object string, head *Head, data *engine.Data, home Home, at Moment, now time.Time) (*State, error) {
	if head == nil || head.History == nil {
		return nil, ErrNoHistory
	}
	h := head.History
	if at >= h.Last && (!h.Ended || at == h.Last) {
		return Open(ctx, object, head, data, home, false, now)
	}
	s, items, err := h.open(ctx, object, home, at, now)
	if err != nil || len(items) == 0 {
		return s, err
	}
	v := *s.view.Load()
	f := folding{name: Name{Token: 1, Number: 1}, source: &source{Home: Home{Store: home.Store}, object: object}}
	for _, it := range items {
		f.add(it)
	}
	f.flush()
	if v.source == nil {
		v.source = f.source
	}
	v.runs = slices.Concat(v.runs, f.runs)
	s.live.Store(s.live.Load() + bytesOfItems(items))
	s.more.above += bytesOf(f.runs)
	v.parts = s.more.parts()
	s.view.Store(&v)
	return s, nil
}

// open returns the state at the end of the last segment before a moment, and the changes from there to the moment.
// The segments since the last pin become runs of that state, so that they are read only when needed.
func (h *History) open(ctx context.Context, object string, home Home, at Moment, now time.Time) (*State, []item, error) {
	src := &source{Home: home, object: object}
	if at < h.From {
		return nil, nil, fmt.Errorf("%w: it begins at %s", ErrNoPast, h.From.Text())
	}
	var pins []PinRef
	var newest *Pin
	if h.Pin != nil {
		var err error
		if newest, err = src.pin(ctx, *h.Pin); err != nil {
			return nil, nil, err
		}
		pins = known(newest.Before, h.From, *h.Pin)
	}
	next := slices.IndexFunc(pins, func(p PinRef) bool { return p.At > at })
	segments, gap := h.Since, h.Ended
	if next < 0 {
		next = len(pins)
	} else {
		gap = pins[next].Gap
	}
	read := func(i int) (*Pin, error) {
		if i == len(pins)-1 {
			return newest, nil
		}
		return src.pin(ctx, pins[i])
	}
	var s *State // of the pin before the moment
	g, reading := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		head := new(Head)
		if next > 0 {
			base, err := read(next - 1)
			if err != nil {
				return err
			}
			head = &base.Head
		}
		s, err = Open(reading, object, head, new(engine.Data), home, false, now)
		return err
	})
	if next < len(pins) {
		ends, err := read(next)
		if err != nil {
			return nil, nil, errors.Join(err, g.Wait())
		}
		segments = ends.Segments
	}
	last, changed := Moment(0), make(map[string]item) // last: the moment up to which changes are known
	if next > 0 {
		last = pins[next-1].At
	}
	var within []Segment // the moment is in this one
	if i := slices.IndexFunc(segments, func(s Segment) bool { return s.Last > at }); i >= 0 {
		segments, within = segments[:i], segments[i:i+1]
	}
	if n := len(segments); n > 0 {
		last = segments[n-1].Last
	}
	logs, err := src.logs(reading, within, last)
	if err = errors.Join(err, g.Wait()); err != nil {
		return nil, nil, err
	}
	if len(logs) > 0 {
		replay(changed, logs[0], at)
		last = within[0].Last
	}
	if next == len(pins) && last < at {
		changes, err := decodeLog(h.Log, last)
		if err != nil {
			return nil, nil, err
		}
		replay(changed, changes, at)
		if len(changes) > 0 {
			last = changes[len(changes)-1].At
		}
	}
	if gap && at > last {
		return nil, nil, fmt.Errorf("%w: from %s on it was not kept", ErrNoPast, last.Text())
	}
	if len(segments) > 0 {
		err = s.lay(ctx, src, segments)
	}
	return s, sortedItems(changed), err
}

// lay makes segments the newest runs of a state of the past.
func (s *State) lay(ctx context.Context, src *source, segments []Segment) error {
	v, m := *s.view.Load(), s.more
	var runs, some []*ref // some: those with values that are apart
	size := int64(0)
	for _, segment := range segments {
		r := refOf(segment)
		if runs = append(runs, r); segment.Apart {
			some = append(some, r)
		}
		size += int64(segment.Size)
	}
	if err := src.hold(ctx, some); err != nil {
		return err
	}
	for _, r := range some {
		for c, i := r.held.Load(), 0; i < c.n; i++ {
			if it := c.item(i); it.kind == apart {
				b, err := parseBlob(it.value)
				if err != nil {
					return err
				}
				m.blobs += int64(b.size)
				size += int64(b.size)
			}
		}
	}
	m.above += bytesOf(runs)
	v.runs, v.parts = slices.Concat(v.runs, runs), m.parts()
	s.live.Add(size)
	s.view.Store(&v)
	return nil
}

// Text returns the moment as a bookmark.
func (m Moment) Text() string { return engine.BookmarkText(int64(m)) }

// bytesOfItems returns the bytes of keys and values.
func bytesOfItems(items []item) (n int64) {
	for _, it := range items {
		switch it.kind {
		case put:
			n += int64(len(it.key) + len(it.value))
		case apart:
			if b, err := parseBlob(it.value); err == nil {
				n += int64(len(it.key) + b.size)
			}
		}
	}
	return n
}

// Event is an entry of an object's history: a change, a restore, or a gap.
type Event struct {
	Change
	Restored Moment // a restore put the object back to this moment; 0: it was no restore
	Gap      bool   // changes before it were not noted
}

// Changes yields the object's history, newest first. An error comes last. If a part expires while it is read, the
// error is ErrDamaged.
func (h *History) Changes(ctx context.Context, object string, home Home) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		src := &source{Home: home, object: object}
		var pins []PinRef
		segments := h.Since
		var newest *Pin
		if h.Pin != nil {
			var err error
			if newest, err = src.pin(ctx, *h.Pin); err != nil {
				yield(Event{}, err)
				return
			}
			pins = known(newest.Before, h.From, *h.Pin)
		}
		begins := func() Moment { // of the interval of the segments
			if len(pins) == 0 {
				return 0
			}
			return pins[len(pins)-1].At
		}
		after := begins()
		if len(segments) > 0 {
			after = segments[len(segments)-1].Last
		}
		changes, err := decodeLog(h.Log, after)
		for {
			for i := len(changes) - 1; i >= 0 && err == nil; i-- {
				if !yield(Event{Change: changes[i]}, nil) {
					return
				}
			}
			for i := len(segments) - 1; i >= 0 && err == nil; i-- {
				after := begins()
				if i > 0 {
					after = segments[i-1].Last
				}
				var logs [][]Change
				if logs, err = src.logs(ctx, segments[i:i+1], after); err != nil {
					break
				}
				for _, c := range slices.Backward(logs[0]) {
					if !yield(Event{Change: c}, nil) {
						return
					}
				}
			}
			if err != nil {
				yield(Event{}, err)
				return
			}
			if len(pins) == 0 {
				return
			}
			last := pins[len(pins)-1]
			if last.Restored > 0 || last.Gap {
				if !yield(Event{Change: Change{At: last.At}, Restored: last.Restored, Gap: last.Gap}, nil) {
					return
				}
			}
			if last.At <= h.From {
				return // everything before has expired
			}
			pin := newest
			if last.Entry != h.Pin.Entry {
				if pin, err = src.pin(ctx, last); err != nil {
					yield(Event{}, err)
					return
				}
			}
			changes, segments, pins = nil, pin.Segments, pins[:len(pins)-1]
		}
	}
}
