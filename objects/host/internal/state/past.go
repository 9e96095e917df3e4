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
	// ErrNoPast is a moment at which nothing is known of the object.
	ErrNoPast = errors.New("the object's history does not have it")

	// ErrNoHistory is that nothing is known of any moment but the present.
	ErrNoHistory = errors.New("the object has no history")
)

// Reach is the first and the last moment that are known; false if there is no history. From 0 the object has its whole past.
func (h *Head) Reach() (from, last Moment, ok bool) {
	if h == nil || h.History == nil {
		return 0, 0, false
	}
	return h.History.From, h.History.Last, true
}

// OpenAt is Open of the state at a moment, to be read. If that is known no more, or was never noted, the error is ErrNoPast or
// ErrNoHistory; it is ErrDamaged, too, if entries are gone because the object has changed since the head was read.
func OpenAt(ctx context.Context, object string, head *Head, data *engine.Data, home Home, at Moment, now time.Time) (*State, error) {
	if head == nil || head.History == nil {
		return nil, ErrNoHistory
	}
	h := head.History
	if at >= h.Last && (!h.Ended || at == h.Last) {
		return Open(ctx, object, head, data, home, false, now)
	}
	s, items, err := h.open(ctx, object, home, at, now)
	if err != nil {
		return nil, err
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
	if s.more == nil {
		s.more = new(more)
	}
	s.more.above += bytesOf(f.runs)
	v.parts = s.more.parts()
	s.view.Store(&v)
	return s, nil
}

// open is the state of the last pin before a moment, and what has changed from there to the moment.
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
	var base *Pin
	g, reading := errgroup.WithContext(ctx)
	if next > 0 {
		g.Go(func() (err error) {
			base, err = read(next - 1)
			return err
		})
	}
	if next < len(pins) {
		ends, err := read(next)
		if err != nil {
			return nil, nil, errors.Join(err, g.Wait())
		}
		segments = ends.Segments
	}
	begin, changed := Moment(0), make(map[string]item)
	if next > 0 {
		begin = pins[next-1].At
	}
	if i := slices.IndexFunc(segments, func(s Segment) bool { return s.Last >= at }); i >= 0 {
		segments = segments[:i+1]
	}
	logs, err := src.logs(reading, segments, begin)
	if err = errors.Join(err, g.Wait()); err != nil {
		return nil, nil, err
	}
	last := begin
	for _, changes := range logs {
		replay(changed, changes, at)
		last = changes[len(changes)-1].At
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
	head := &Head{}
	if base != nil {
		head = &base.Head
	}
	s, err := Open(ctx, object, head, new(engine.Data), home, false, now)
	return s, sortedItems(changed), err
}

// Text is the moment as a bookmark.
func (m Moment) Text() string { return engine.BookmarkText(int64(m)) }

// bytesOfItems is the bytes of keys and values.
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

// Event is something in an object's history: a change, a restore, or time of which nothing is known.
type Event struct {
	Change
	Restored Moment // the change is that the object was put back to this moment; 0: it is another
	Gap      bool   // changes before were not noted
}

// Changes yields the object's history, the newest first. An error comes last. What has expired while it is read is an error
// that is ErrDamaged.
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
		begins := func() Moment { // of the interval that segments are in
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
				return // what is before has expired
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
