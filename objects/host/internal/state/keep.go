package state

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"holdfast/objects/internal/engine"
)

// history is the part of a state that keeps its past. The object's lock guards it.
type history struct {
	History
	keep    time.Duration // 0: changes are no longer noted
	begun   bool          // a head must describe the history
	empty   bool          // before it has begun: nothing was ever stored
	touched bool          // authors' keys have changed since, without a note of which

	changed map[string]struct{} // authors' keys that have changed since the last change that is noted
	pins    []PinRef            // all pins that exist, oldest first
	size    int64               // bytes of Since
	apart   map[string][]byte   // the chunk's items for values that the put in progress moves apart
	recent  []byte              // the logs of the last segments
	small   int                 // the number of those segments
	indices []index             // of segments that stay and whose indices are in no common entry yet, oldest first
	due     bool                // the next put makes a pin
	unnoted bool                // the next put makes a pin because some changes are not noted

	restored Moment   // a restore to this moment waits for the next put; 0: none
	spared   []Span   // entries that the restore has brought back
	pieces   []*Piece // pieces that the restore has made
	settled  bool     // a restore is on its way: nothing but commits may happen
	expiring *Expiry  // under way
}

// notes reports whether changes are noted.
func (h *history) notes() bool { return h.keep > 0 && h.begun && !h.Ended }

// openHistory reads what a head says of the past, as far as it is needed to go on. If the pin is
// damaged, the history begins anew.
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

// known returns the pins that have not expired; the newest is the last.
func known(before []PinRef, from Moment, newest PinRef) []PinRef {
	expired := 0
	for expired < len(before) && before[expired].At < from {
		expired++
	}
	return append(slices.Clone(before[expired:]), newest)
}

// KeepHistory makes the state keep its past for this long from now on; 0: not at all. The past that
// exists is kept until it is old.
func (s *State) KeepHistory(keep time.Duration) {
	h := s.history
	switch {
	case h == nil && keep <= 0:
		return
	case h == nil:
		v := s.view.Load()
		h = &history{empty: s.more == nil, changed: make(map[string]struct{})}
		for key := range v.data.All() {
			h.empty = h.empty && engine.Stays(key)
		}
		s.history = h
	case keep <= 0:
		h.Ended = true
	}
	h.keep = max(keep, 0)
}

// touch notes that keys were written.
func (h *history) touch(writes []engine.Write) {
	for _, w := range writes {
		switch {
		case engine.Stays(w.Key), h.restored > 0: // the key is not restored, or is in the pin that comes
		case h.notes():
			h.changed[w.Key] = struct{}{}
		default:
			h.touched = true
		}
	}
}

// Mark returns the moment of the present state: later writes are after it. Without a history it is
// the present time. wide is that of Put.
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
	case !h.notes() && !h.touched && h.restored == 0:
		h.Last = max(h.Last, MomentOf(now)) // what is noted first will be later
	case !h.notes() || h.unnoted || h.restored > 0:
		return h.Last.after(now)
	case len(h.changed) > 0:
		h.note(h.collect(v), 0, now)
	}
	return h.Last
}

// apartAt notes the chunk's item of a value that is now apart.
func (h *history) apartAt(it item) {
	if h == nil {
		return
	}
	if h.apart == nil {
		h.apart = make(map[string][]byte)
	}
	h.apart[it.key] = it.value
}

// collect returns the items that have changed since the last noted change.
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

// begin decides, before the journal is folded, what a put notes for the history: it returns the
// changed items, and whether the put makes a pin.
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

// pinDue reports whether a pin is due: the noted changes outweigh the entries that a pin keeps, or
// the last pin is so old that it could expire.
func (h *history) pinDue(v *view, now time.Time) bool {
	since := h.since()
	if !h.unnoted && h.Last <= since && len(h.changed) == 0 {
		return false // the pin would be the same
	}
	least := max(v.parts, v.data.Size(), sizes.pin, 4*pinRefSize*len(h.pins))
	old := since > 0 && now.Sub(since.Time()) > h.keep
	return h.due || h.unnoted || len(h.Log)+int(h.size) >= least || len(h.Kept) > maxKept || old
}

// since returns the moment of the newest pin or, without one, of about the first change; 0: there
// is none.
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

// resume begins to note changes. If the object was not always empty, a pin with its present state
// comes first.
func (h *history) resume(v *view) {
	h.unnoted = h.begun || !h.empty
	if !h.unnoted {
		for key := range v.data.All() {
			if !engine.Stays(key) {
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

// record notes the changes of a put, and adds the entries that this needs to before.
func (s *State) record(p Put, home Home, changed []item, pin bool, before *Before) *Before {
	h := s.history
	if h == nil || !h.begun {
		return before
	}
	if s.more == nil {
		s.more = new(more)
	}
	if s.more.next == 0 { // no head has named an entry: entries that exist are orphans
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

// segment turns the log into an entry, together with the last segments if they are many or fill
// most of a chunk.
func (s *State) segment(p Put) []*Piece {
	h, m := s.history, s.more
	m.next++
	h.size += int64(len(h.Log))
	content := h.Log
	if len(h.recent)+len(content) > sizes.chunk { // a larger one would be read for a single key
		h.recent, h.small = nil, 0
	}
	h.recent, h.small, h.Log = append(h.recent, content...), h.small+1, nil
	if h.small == manySegments || h.small > 1 && len(h.recent) > sizes.chunk/2 {
		small := len(h.Since) - (h.small - 1)
		for _, one := range h.Since[small:] {
			m.discard(garbage{Span: one.all(), size: one.Size})
		}
		content, h.Since = h.recent, slices.Clone(h.Since[:small])
		h.recent, h.small = nil, 0
	}
	span, pieces := cutUp(segmentEntry, Name{Token: p.Token, Number: m.next}, content)
	one := Segment{Extent: Extent{span, len(content)}, Last: h.Last}
	sums, apart, err := indexOf(content)
	if err != nil {
		panic(err) // it was appended here
	}
	if one.Apart = apart; len(content) > sizes.smallRun {
		entry := h.index(index{span.Name, sums})
		if one.Indices = len(entry); one.Indices > 0 {
			pieces = append(pieces, &Piece{Name: span.part(span.Parts), what: indexEntry, content: encodeIndices(entry)})
		}
	}
	h.Since = append(h.Since, one)
	return pieces
}

// index returns the indices for the entry beside a new segment: the segment's own, last, and every
// so often those of the segments before it, so that readers need few entries. It returns nothing if
// the index is too large for an entry.
func (h *history) index(own index) []index {
	alone := []index{own}
	size := func(all []index) (n int) {
		for _, i := range all {
			n += maxIndexHead + len(i.sums)
		}
		return n
	}
	switch {
	case size(alone) > sizes.chunk:
		return nil
	case h.small > 0: // another segment will replace this one
		return alone
	case size(h.indices)+size(alone) > sizes.chunk:
		h.indices = nil
	}
	h.indices = append(h.indices, own)
	if len(h.indices) < manyIndices {
		return alone
	}
	all := h.indices
	h.indices = nil
	return all
}

// pin makes a pin of the state at the put. The journal was folded, or it has everything.
func (s *State) pin(p Put) (pieces []*Piece) {
	h, m, v := s.history, s.more, s.view.Load()
	m.next++
	name := Name{Token: p.Token, Number: m.next}
	pin := Pin{
		Head:     Head{Next: m.next, Live: s.live.Load(), Manifest: m.manifest, Below: m.below, Blobs: m.blobs},
		Segments: h.Since, Kept: h.Kept, Spared: h.spared, Before: h.pins,
	}
	for _, r := range v.runs {
		pin.Head.Runs = append(pin.Head.Runs, r.run())
	}
	var own []Span // entries that only the pin names
	if !v.layered() {
		f := folding{name: name, source: &source{object: p.Object}}
		for key, value := range v.data.All() {
			if !engine.Stays(key) {
				pin.Head.Live += int64(len(key) + len(value))
				f.add(item{key, put, value})
			}
		}
		f.flush()
		for _, r := range f.runs {
			pin.Head.Runs = append(pin.Head.Runs, r.run())
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
	h.recent, h.small, h.indices = nil, 0, nil
	h.due, h.unnoted, h.restored, h.spared = false, false, 0, nil
	return append(pieces, more...)
}

// discard notes entries that the head will no longer name. Entries that the past needs are kept
// until that part of the past expires.
func (s *State) discard(g garbage) {
	h := s.history
	if h == nil || !h.begun || !g.blob && (h.Pin == nil || g.Number > h.Pin.Entry.Number) {
		s.more.discard(g)
		return
	}
	h.Kept = joined(append(h.Kept, g.Span))
}
