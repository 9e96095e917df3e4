package state

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"holdfast/objects/internal/engine"
)

// MostKept is how long a history is kept at most, and what is left of one that was turned off.
const MostKept = 30 * 24 * time.Hour

// History is what a head has of the object's past: changes since the newest pin, and the pin. A pin has the names that a
// head had at its moment, the changes before it back to the pin before, and the names of all earlier pins. The state at a
// moment is that of the last pin before it, with the changes between them.
type History struct {
	Last  Moment    `json:"last"`            // of the newest change
	From  Moment    `json:"from,omitempty"`  // the oldest that is known; 0: the object has its whole past
	Pin   *PinRef   `json:"pin,omitempty"`   // the newest; nil: what is known begins with nothing
	Since []Segment `json:"since,omitempty"` // changes after the pin, oldest first
	Log   []byte    `json:"log,omitempty"`   // changes after those
	Kept  []Span    `json:"kept,omitempty"`  // entries that were named after the pin's moment, or then, and are by nothing else now
	Ended bool      `json:"ended,omitempty"` // changes after Last were not noted
}

// PinRef is the name of a pin, with what is to be known of it without reading it.
type PinRef struct {
	Entry    Extent `json:"e"`
	At       Moment `json:"at"`
	Restored Moment `json:"restored,omitempty"` // a restore to this moment has made the pin
	Gap      bool   `json:"gap,omitempty"`      // changes before it were not noted
}

// Pin is what the entry of that name has.
type Pin struct {
	Head     Head      `json:"head"`
	Segments []Segment `json:"segments,omitempty"` // changes back to the pin before, oldest first
	Kept     []Span    `json:"kept,omitempty"`     // entries that the pin before and those changes need, and this one does not
	Spared   []Span    `json:"spared,omitempty"`   // entries that a restore has brought back, and that earlier pins have in Kept
	Before   []PinRef  `json:"before,omitempty"`   // oldest first
}

// Segment is a log that is an entry of its own. Its text is that of the Extent, an @, and the moment of the last change.
type Segment struct {
	Extent
	Last Moment
}

// MarshalText has segments be texts in JSON.
func (s Segment) MarshalText() ([]byte, error) {
	return strconv.AppendInt(append(s.appendText(nil), '@'), int64(s.Last), 10), nil
}

// UnmarshalText is the opposite of MarshalText.
func (s *Segment) UnmarshalText(text []byte) error {
	extent, last, _ := strings.Cut(string(text), "@")
	at, err := strconv.ParseInt(last, 10, 64)
	if err != nil || at <= 0 || strconv.FormatInt(at, 10) != last {
		return fmt.Errorf("%.80q is no segment", text)
	}
	s.Last = Moment(at)
	return s.Extent.UnmarshalText([]byte(extent))
}

const (
	maxHistory  = 256 << 20 // bytes of a pin or a segment, before they are compressed
	maxSegments = 1 << 16   // between two pins
	maxKept     = 256       // spans in a head's list of those kept; then there is a pin
	pinRefSize  = 64        // bytes that a pin has of each before it, about
)

// check refuses what no host has written. next is the last number that the head has given.
func (h *History) check(next uint64) error {
	if h.Last <= 0 || h.From < 0 || h.From > h.Last || len(h.Since) > maxSegments || len(h.Log) > maxHistory {
		return errors.New("its history cannot be")
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
	if err := checkSegments(h.Since, begin-1, next); err != nil {
		return err
	}
	return checkSpans(h.Kept, next)
}

func (p *PinRef) check(next uint64) error {
	if p.At <= 0 || p.Restored < 0 || p.Restored >= p.At {
		return errors.New("it has a pin that cannot be")
	}
	return p.Entry.checkParts(next)
}

// checkParts refuses an extent whose parts are not those of its bytes.
func (e Extent) checkParts(next uint64) error {
	if e.Number > next || e.Size <= 0 || e.Size > maxHistory || int(e.Parts) != (e.Size+sizes.chunk-1)/sizes.chunk {
		return fmt.Errorf("it names %s of %d bytes, which cannot be", e.Span, e.Size)
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
			return fmt.Errorf("it keeps %s, which cannot be", s)
		}
	}
	return nil
}

// decodePin reads what may be anybody's, as the pin of a reference.
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

// logs reads segments, a few at a time: the changes of each. after is the moment of the last change before them.
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
			data, err := s.assemble(ctx, segment.Span, segmentEntry, segment.Size)
			if err == nil {
				logs[i], err = decodeLog(data, after)
			}
			if err == nil && (len(logs[i]) == 0 || logs[i][len(logs[i])-1].At != segment.Last) {
				err = fmt.Errorf("%w: %s does not end when its name says", ErrDamaged, segment.Span)
			}
			return err
		})
	}
	return logs, g.Wait()
}

// history is the part of a state that keeps its past. The object's lock guards it.
type history struct {
	History
	keep    time.Duration // 0: changes are noted no more
	begun   bool          // there is something that a head has to have
	empty   bool          // if it has not begun: nothing was ever stored
	touched bool          // authors' keys have changed, and that is noted nowhere

	changed map[string]struct{} // authors' keys, since the last change that is noted
	pins    []PinRef            // that are there, oldest first
	size    int64               // bytes of Since
	apart   map[string][]byte   // of the values that the put at work has apart: what the chunk has of them
	due     bool                // the next put makes a pin
	unnoted bool                // likewise, since there are changes that are noted nowhere

	restored Moment   // a restore to this moment waits for the next put; 0: none
	spared   []Span   // what it has brought back
	pieces   []*Piece // what it has made
	settled  bool     // nothing but commits happens: a restore is on its way
	expiring *Expiry  // under way
}

// notes reports whether changes are noted.
func (h *history) notes() bool { return h.keep > 0 && h.begun && !h.Ended }

// openHistory reads what a head has of the past, as far as it is needed to go on. A pin that is damaged is not: the
// history begins anew.
func openHistory(ctx context.Context, src *source, head *History) (*history, error) {
	h := &history{History: *head, begun: true, changed: make(map[string]struct{})}
	for _, s := range h.Since {
		h.size += int64(s.Size)
	}
	if h.Pin == nil {
		return h, nil
	}
	pin, err := src.pin(ctx, *h.Pin)
	if errors.Is(err, ErrDamaged) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	h.pins = known(pin.Before, h.From, *h.Pin)
	return h, nil
}

// known are the pins that have not expired, and the newest.
func known(before []PinRef, from Moment, newest PinRef) []PinRef {
	expired := 0
	for expired < len(before) && before[expired].At < from {
		expired++
	}
	return append(slices.Clone(before[expired:]), newest)
}

// KeepHistory has the state keep its past for so long from now on; 0: not at all. What is there of it is kept until it
// is old.
func (s *State) KeepHistory(keep time.Duration) {
	h := s.history
	switch {
	case h == nil && keep <= 0:
		return
	case h == nil:
		v := s.view.Load()
		h = &history{empty: s.more == nil, changed: make(map[string]struct{})}
		for key := range v.data.All() {
			h.empty = h.empty && isReserved(key)
		}
		s.history = h
	case keep <= 0:
		h.Ended = true
	}
	h.keep = max(keep, 0)
}

// touch notes that keys are written.
func (h *history) touch(writes []engine.Write) {
	for _, w := range writes {
		switch {
		case isReserved(w.Key), h.restored > 0: // it never comes back, or is in the pin that comes
		case h.notes():
			h.changed[w.Key] = struct{}{}
		default:
			h.touched = true
		}
	}
}

// Mark is the moment of the state as it is now: what is applied later is after it. If nothing is noted it is the present
// time. wide is that of Put.
func (s *State) Mark(now time.Time, wide func() bool) Moment {
	h := s.history
	if h == nil {
		return MomentOf(now)
	}
	v := s.view.Load()
	if h.touched && !h.begun && h.empty && wide() {
		h.resume(v)
	}
	switch {
	case !h.begun && h.empty && !h.touched:
		h.Last = max(h.Last, MomentOf(now)) // the first change is later
	case !h.notes() || h.unnoted || h.restored > 0:
		return h.Last.after(now)
	case len(h.changed) > 0:
		h.note(h.collect(v), 0, now)
	}
	return h.Last
}

// apartAt notes what a chunk has of a value that is apart from now on.
func (h *history) apartAt(it item) {
	if h == nil {
		return
	}
	if h.apart == nil {
		h.apart = make(map[string][]byte)
	}
	h.apart[it.key] = it.value
}

// collect is what has changed since the last change that is noted.
func (h *history) collect(v *view) []item {
	items := make([]item, 0, len(h.changed))
	for key := range h.changed {
		it := item{key: key, kind: deleted}
		if value, ok := v.data.Get(key); ok {
			it.kind, it.value = put, value
		}
		items = append(items, it)
	}
	clear(h.changed)
	slices.SortFunc(items, func(a, b item) int { return strings.Compare(a.key, b.key) })
	return items
}

// note adds a change to the log.
func (h *history) note(items []item, commit uint64, now time.Time) {
	h.Last = h.Last.after(now)
	h.Log = appendChange(h.Log, h.Last, commit, items)
}

// begin decides what a put does for the history, before the journal is folded: it takes what has changed, and says whether
// there is a pin.
func (s *State) begin(p Put) (changed []item, pin bool) {
	h, v := s.history, s.view.Load()
	if h == nil {
		return nil, false
	}
	if h.touched && !h.notes() && h.keep > 0 && !p.Last {
		if v.layered() || p.Wide() {
			h.resume(v)
		} else {
			h.empty = false
		}
	}
	if !h.notes() {
		return nil, h.restored > 0
	}
	pin = h.restored > 0 || !p.Last && h.pinDue(v, p.Now)
	return h.collect(v), pin
}

// pinDue reports whether it is time for a pin: so much was noted that the entries that it keeps do not matter, or so long
// ago that it could go.
func (h *history) pinDue(v *view, now time.Time) bool {
	since := h.since()
	if !h.unnoted && h.Last <= since && len(h.changed) == 0 {
		return false // the pin would be the same
	}
	least := max(v.parts, v.data.Size(), sizes.pin, 4*pinRefSize*len(h.pins))
	old := since > 0 && now.Sub(since.Time()) > h.keep
	return h.due || h.unnoted || len(h.Log)+int(h.size) >= least || len(h.Kept) > maxKept || old
}

// since is the moment of the newest pin or, without one, about that of the first change; 0: there is none.
func (h *history) since() Moment {
	switch {
	case h.Pin != nil:
		return h.Pin.At
	case h.From > 0:
		return h.From
	case len(h.Since) > 0:
		return h.Since[0].Last
	}
	first, _ := binary.Uvarint(h.Log)
	return Moment(first)
}

// resume begins to note changes. What an object has that was never empty is in a pin first.
func (h *history) resume(v *view) {
	h.unnoted = h.begun || !h.empty
	if !h.unnoted {
		for key := range v.data.All() {
			if !isReserved(key) {
				h.changed[key] = struct{}{}
			}
		}
		if len(h.changed) == 0 { // there is still nothing
			h.touched = false
			return
		}
	}
	h.touched, h.begun, h.Ended = false, true, false
}

// record notes what a put has changed, and adds what has to be in the store for that to what has to be there before the put.
func (s *State) record(p Put, home Home, changed []item, pin bool, before *Before) *Before {
	h := s.history
	if h == nil || !h.begun {
		return before
	}
	if s.more == nil {
		s.more = new(more)
	}
	if s.more.next == 0 { // no head has named an entry: whatever has been written before is an orphan
		s.untidy = true
	}
	pieces := h.pieces
	if h.pieces = nil; len(pieces) > 0 {
		s.view.Load().landing(p.Commit)
	}
	for i := range changed {
		if value, ok := h.apart[changed[i].key]; ok {
			changed[i].kind, changed[i].value = apart, value
		}
	}
	clear(h.apart)
	if len(changed) > 0 && !h.unnoted {
		h.note(changed, p.Commit, p.Now)
	}
	if len(h.Log) > sizes.log || pin && len(h.Log) > 0 {
		pieces = append(pieces, s.segment(p)...)
	}
	if pin {
		pieces = append(pieces, s.pin(p)...)
	}
	if len(pieces) == 0 {
		return before
	}
	if before == nil {
		if before = new(Before); s.untidy || len(s.more.losses) > 0 && !s.sought {
			before = s.tidied(p, home)
		}
	}
	if before.source == nil {
		before.source = &source{Home: home, object: p.Object}
	}
	before.pieces = append(before.pieces, pieces...)
	return before
}

// segment makes an entry of the log.
func (s *State) segment(p Put) []*Piece {
	h, m := s.history, s.more
	m.next++
	span, pieces := cutUp(segmentEntry, Name{Token: p.Token, Number: m.next}, h.Log)
	h.Since = append(h.Since, Segment{Extent{span, len(h.Log)}, h.Last})
	h.size += int64(len(h.Log))
	h.Log = nil
	return pieces
}

// pin makes a pin of the state as the put has it. The journal is folded, or it is all that there is.
func (s *State) pin(p Put) (pieces []*Piece) {
	h, m, v := s.history, s.more, s.view.Load()
	m.next++
	name := Name{Token: p.Token, Number: m.next}
	pin := Pin{
		Head:     Head{Next: m.next, Live: s.live.Load(), Manifest: m.manifest, Below: m.below, Blobs: m.blobs},
		Segments: h.Since, Kept: h.Kept, Spared: h.spared, Before: h.pins,
	}
	for _, r := range v.runs {
		pin.Head.Runs = append(pin.Head.Runs, Run{r.span(), r.size})
	}
	var own []Span // nothing but the pin names them
	if !v.layered() {
		f := folding{name: name, source: &source{object: p.Object}}
		for key, value := range v.data.All() {
			if !isReserved(key) {
				pin.Head.Live += int64(len(key) + len(value))
				f.add(item{key, put, value})
			}
		}
		f.flush()
		for _, r := range f.runs {
			pin.Head.Runs = append(pin.Head.Runs, Run{r.span(), r.size})
			own = append(own, r.span())
		}
		name, pieces = f.name, f.pieces
	}
	if h.unnoted || h.restored > 0 {
		h.Last = h.Last.after(p.Now)
	}
	ref := PinRef{At: h.Last, Restored: h.restored, Gap: h.unnoted && (len(h.pins) > 0 || len(h.Since) > 0)}
	if h.unnoted && !ref.Gap {
		h.From = ref.At
	}
	content, err := json.Marshal(pin)
	if err != nil {
		panic(err) // it always encodes
	}
	span, more := cutUp(pinEntry, name, content)
	ref.Entry = Extent{span, len(content)}
	h.Pin, h.pins = &ref, append(h.pins, ref)
	h.Since, h.size, h.Kept = nil, 0, own
	h.due, h.unnoted, h.restored, h.spared = false, false, 0, nil
	return append(pieces, more...)
}

// discard notes that entries will be named by the head no more. Those that the past needs are kept until it is old.
func (s *State) discard(g garbage) {
	h := s.history
	if h == nil || !h.begun || !g.blob && (h.Pin == nil || g.Number > h.Pin.Entry.Number) {
		s.more.discard(g)
		return
	}
	h.Kept = joined(append(h.Kept, g.Span))
}

// joined are the same spans, sorted, with those that follow each other as one.
func joined(spans []Span) []Span {
	spans = slices.Clone(spans) // heads have the others
	slices.SortFunc(spans, func(a, b Span) int { return a.compare(b.Name) })
	all := spans[:0]
	for _, s := range spans {
		if n := len(all); n > 0 && all[n-1].part(all[n-1].Parts) == s.Name && all[n-1].Parts+s.Parts <= maxParts {
			all[n-1].Parts += s.Parts
		} else {
			all = append(all, s)
		}
	}
	return all
}

// less are spans without some names.
func less(spans []Span, without map[Name]bool) []Span {
	if len(without) == 0 {
		return spans
	}
	var left []Span
	for _, s := range spans {
		for i := range s.Parts {
			if name := s.part(i); !without[name] {
				left = append(left, Span{name, 1})
			}
		}
	}
	return joined(left)
}

// namesOf are all names of spans.
func namesOf(into map[Name]bool, spans []Span) {
	for _, s := range spans {
		for i := range s.Parts {
			into[s.part(i)] = true
		}
	}
}

// Expiry is what an object's oldest past takes with it when it goes: all before the oldest pin but one.
type Expiry struct {
	source *source
	starts PinRef   // the pin that goes; its zero value is none
	ends   PinRef   // the oldest that stays
	later  []PinRef // made by restores
	spans  []Span
}

// PlanExpiry says which part of the past is to go, nil for none. It is under way until InstallExpiry.
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

// endHistory has the rest of a history that was turned off purged.
func (s *State) endHistory() {
	h := s.history
	spans := h.Kept
	for _, segment := range h.Since {
		spans = append(spans, segment.Span)
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

// Run reads what is to go.
func (e *Expiry) Run(ctx context.Context) error {
	pin, err := e.source.pin(ctx, e.ends)
	if errors.Is(err, ErrDamaged) {
		return nil // what it names stays for ever
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
	e.spans = less(pin.Kept, spared)
	for _, s := range pin.Segments {
		e.spans = append(e.spans, s.Span)
	}
	if e.starts.At > 0 {
		e.spans = append(e.spans, e.starts.Entry.Span)
	}
	return nil
}

// InstallExpiry has what is to go purged; after an error nothing is. It is in the next head.
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
