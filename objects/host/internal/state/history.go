package state

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// MostKept is the longest time for which a history is kept, and for which the rest of one that was
// turned off stays.
const MostKept = 30 * 24 * time.Hour

// History is the part of a head that describes the object's past: the newest pin, and the changes
// since. A pin has the names that a head had at its moment, the changes between the pin before and
// it, and the names of all earlier pins. The state at a moment is that of the last pin before it,
// with the changes between them.
type History struct {
	Last  Moment    `json:"last"`            // of the newest change
	From  Moment    `json:"from,omitempty"`  // the oldest moment that is known; 0: the whole past is known
	Pin   *PinRef   `json:"pin,omitempty"`   // the newest; nil: the known past begins with an empty object
	Since []Segment `json:"since,omitempty"` // changes after the pin, oldest first
	Log   []byte    `json:"log,omitempty"`   // changes after those
	Kept  []Span    `json:"kept,omitempty"`  // entries that the present no longer names, and that the pin, or moments after it, need
	Ended bool      `json:"ended,omitempty"` // changes after Last were not noted
}

// PinRef is the name of a pin, with the facts that are needed without reading it.
type PinRef struct {
	Entry    Extent `json:"e"`
	At       Moment `json:"at"`
	Restored Moment `json:"restored,omitempty"` // the pin was made by a restore to this moment
	Gap      bool   `json:"gap,omitempty"`      // changes before it were not noted
}

// Pin is the content of a pin's entry.
type Pin struct {
	Head     Head      `json:"head"`
	Segments []Segment `json:"segments,omitempty"` // changes back to the pin before, oldest first
	Kept     []Span    `json:"kept,omitempty"`     // entries that the pin before and those changes need, and this pin does not
	Spared   []Span    `json:"spared,omitempty"`   // entries that a restore has brought back, and that earlier pins have in Kept
	Before   []PinRef  `json:"before,omitempty"`   // oldest first
}

// Segment is a log in an entry of its own. As text it is the Extent, an @, the moment of the last
// change, and a letter for each other field that is set. A Segment without a moment is a chunk, and
// its text is that of the Extent.
type Segment struct {
	Extent
	Last    Moment
	Indices int  // k and the number: the part after the last has the index of this segment and of those before it, so many in all
	Apart   bool // a: some of its values are apart
}

// all returns all entries of the segment.
func (s Segment) all() Span {
	if s.Indices > 0 {
		s.Parts++
	}
	return s.Span
}

// MarshalText implements encoding.TextMarshaler.
func (s Segment) MarshalText() ([]byte, error) { return s.appendText(nil), nil }

func (s Segment) appendText(out []byte) []byte {
	if out = s.Extent.appendText(out); s.Last == 0 {
		return out
	}
	out = strconv.AppendInt(append(out, '@'), int64(s.Last), 10)
	if s.Indices > 0 {
		out = strconv.AppendInt(append(out, 'k'), int64(s.Indices), 10)
	}
	if s.Apart {
		out = append(out, 'a')
	}
	return out
}

// UnmarshalText undoes MarshalText.
func (s *Segment) UnmarshalText(text []byte) error {
	extent, last, _ := strings.Cut(string(text), "@")
	last, s.Apart = strings.CutSuffix(last, "a")
	last, indices, _ := strings.Cut(last, "k")
	at, err := strconv.ParseInt(cmp.Or(last, "0"), 10, 64)
	if err == nil {
		s.Indices, err = strconv.Atoi(cmp.Or(indices, "0"))
	}
	if err == nil {
		s.Last = Moment(at)
		err = s.Extent.UnmarshalText([]byte(extent))
	}
	if err == nil && (at < 0 || s.Indices < 0 || s.Indices > manyIndices || string(s.appendText(nil)) != string(text)) {
		err = fmt.Errorf("%.80q is no segment", text)
	}
	return err
}

const (
	maxHistory   = 256 << 20 // bytes of a pin or a segment, before they are compressed
	maxSegments  = 1 << 16   // between two pins
	maxKept      = 256       // spans in a head's list of those kept; then there is a pin
	manySegments = 16        // of one owner; so many become one
	manyIndices  = 8         // of one owner; so many are in one entry
	pinRefSize   = 64        // approximate bytes that a pin has for each pin before it
)

// check refuses a history that no host can have written. next is the last number that the head has
// assigned.
func (h *History) check(next uint64) error {
	if h.Last <= 0 || h.From < 0 || h.From > h.Last || len(h.Since) > maxSegments || len(h.Log) > maxHistory {
		return errors.New("its history is impossible")
	}
	begin := h.From
	if h.Pin != nil {
		if err := h.Pin.check(next); err != nil {
			return err
		}
		if begin = h.Pin.At; h.From > begin {
			return errors.New("its history begins after its pin")
		}
	}
	if err := checkSegments(h.Since, max(begin-1, 0), next); err != nil {
		return err
	}
	return checkSpans(h.Kept, next)
}

func (p *PinRef) check(next uint64) error {
	if p.At <= 0 || p.Restored < 0 || p.Restored >= p.At {
		return errors.New("it has an impossible pin")
	}
	return p.Entry.checkParts(next)
}

// checkParts refuses an extent with a number of parts that does not fit its size.
func (e Extent) checkParts(next uint64) error {
	if e.Number > next || e.Size <= 0 || e.Size > maxHistory || int(e.Parts) != (e.Size+sizes.chunk-1)/sizes.chunk {
		return fmt.Errorf("it names %s of %d bytes, which is impossible", e.Span, e.Size)
	}
	return nil
}

func checkSegments(segments []Segment, after Moment, next uint64) error {
	for _, s := range segments {
		if s.Last <= after {
			return errors.New("its segments are in no order")
		}
		if err := s.checkParts(next); err != nil {
			return err
		}
		after = s.Last
	}
	return nil
}

func checkSpans(spans []Span, next uint64) error {
	for _, s := range spans {
		if s.Number > next {
			return fmt.Errorf("it keeps %s, which is impossible", s)
		}
	}
	return nil
}

// decodePin reads the pin of a reference, which may have any content.
func decodePin(data []byte, ref PinRef) (*Pin, error) {
	p := new(Pin)
	err := json.Unmarshal(data, p)
	if err == nil {
		err = p.Head.Check()
	}
	if err == nil {
		err = checkSpans(p.Kept, ref.Entry.Number)
	}
	after := Moment(0)
	for _, r := range p.Before {
		if err == nil {
			err = r.check(ref.Entry.Number)
		}
		if err == nil && (r.At <= after || r.At >= ref.At) {
			err = errors.New("the pins before it are in no order")
		}
		after = r.At
	}
	if err == nil {
		err = checkSegments(p.Segments, 0, ref.Entry.Number)
	}
	if err == nil && (p.Head.History != nil || len(p.Head.Gone) > 0) {
		err = errors.New("it has what only heads have")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s is no pin: %w", ErrDamaged, ref.Entry.Span, err)
	}
	return p, nil
}

// pin reads a pin.
func (s *source) pin(ctx context.Context, ref PinRef) (*Pin, error) {
	data, err := s.assemble(ctx, ref.Entry.Span, pinEntry, ref.Entry.Size)
	if err != nil {
		return nil, err
	}
	return decodePin(data, ref)
}

// logs reads the changes of segments, a few segments at a time. after is the moment of the last
// change before them.
func (s *source) logs(ctx context.Context, segments []Segment, after Moment) ([][]Change, error) {
	logs := make([][]Change, len(segments))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(inFlight)
	for i, segment := range segments {
		after := after
		if i > 0 {
			after = segments[i-1].Last
		}
		g.Go(func() error {
			var err error
			logs[i], err = s.log(ctx, segment, after)
			return err
		})
	}
	return logs, g.Wait()
}

// log reads a segment.
func (s *source) log(ctx context.Context, segment Segment, after Moment) ([]Change, error) {
	data, err := s.assemble(ctx, segment.Span, segmentEntry, segment.Size)
	if err != nil {
		return nil, err
	}
	changes, err := decodeLog(data, after)
	if err == nil && (len(changes) == 0 || changes[len(changes)-1].At != segment.Last) {
		err = fmt.Errorf("%w: %s does not end when its name says", ErrDamaged, segment.Span)
	}
	return changes, err
}
