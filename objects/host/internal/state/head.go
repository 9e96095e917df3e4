package state

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Head is the part of a record that describes an object with parts.
type Head struct {
	Next     uint64   `json:"next"`               // the last number that was assigned
	Job      uint64   `json:"job,omitempty"`      // of the merge under way; 0: none
	Live     int64    `json:"size,omitempty"`     // bytes of all keys and values, or more
	Runs     []Run    `json:"runs,omitempty"`     // the newest last; after a restore, segments of the past among them
	Manifest *Extent  `json:"manifest,omitempty"` // nil: there are no levels
	Below    int64    `json:"below,omitempty"`    // bytes of the levels' chunks
	Blobs    int64    `json:"blobs,omitempty"`    // bytes of values that are apart
	Dead     []Span   `json:"dead,omitempty"`     // entries that no head names any more, beside those in the manifest's list
	Gone     []string `json:"gone,omitempty"`     // keys that the journal deletes
	History  *History `json:"history,omitempty"`  // nil: the object's past is not kept
	Losses   []Loss   `json:"losses,omitempty"`   // owners that died, the last ones, oldest first
}

// Loss is an owner that died, as the next claim found the object. Entries that the lost owner had
// sent may arrive at any time. Their numbers identify them: the claimed head names none above Next,
// and none of the merge that was under way. As text a Loss is Claim, a colon, Next, a colon, and
// Job.
type Loss struct {
	Claim uint64 // token of the next claim
	Next  uint64 // the last number that was assigned, by the claimed head
	Job   uint64 // of the merge that was under way; 0: none
}

// maxLosses is how many losses a head has at most.
const maxLosses = 16

// MarshalText implements encoding.TextMarshaler.
func (l Loss) MarshalText() ([]byte, error) { return l.appendText(nil), nil }

func (l Loss) appendText(out []byte) []byte {
	out = strconv.AppendUint(out, l.Claim, 10)
	out = strconv.AppendUint(append(out, ':'), l.Next, 10)
	return strconv.AppendUint(append(out, ':'), l.Job, 10)
}

// UnmarshalText undoes MarshalText.
func (l *Loss) UnmarshalText(text []byte) error {
	claim, rest, _ := strings.Cut(string(text), ":")
	next, job, _ := strings.Cut(rest, ":")
	var err [3]error
	l.Claim, err[0] = strconv.ParseUint(claim, 10, 64)
	l.Next, err[1] = strconv.ParseUint(next, 10, 64)
	l.Job, err[2] = strconv.ParseUint(job, 10, 64)
	if errors.Join(err[:]...) != nil || string(l.appendText(nil)) != string(text) {
		return fmt.Errorf("%.80q is no loss", text)
	}
	return nil
}

// Run is a chunk that was a journal, or a segment of the past that a restore has put into the
// present.
type Run = Segment

// Extent is a Span with its size in bytes before compression. As text it is the Span, a colon, and
// the bytes.
type Extent struct {
	Span
	Size int
}

// MarshalText implements encoding.TextMarshaler.
func (e Extent) MarshalText() ([]byte, error) { return e.appendText(nil), nil }

func (e Extent) appendText(out []byte) []byte {
	return strconv.AppendInt(append(e.Span.appendText(out), ':'), int64(e.Size), 10)
}

// UnmarshalText undoes MarshalText.
func (e *Extent) UnmarshalText(text []byte) (err error) {
	span, size, _ := strings.Cut(string(text), ":")
	if e.Span, err = ParseSpan(span); err != nil {
		return err
	}
	if e.Size, err = strconv.Atoi(size); err != nil || e.Size <= 0 || strconv.Itoa(e.Size) != size {
		return fmt.Errorf("%.80q is no extent", text)
	}
	return nil
}

const (
	maxRuns = 1 << 16 // in a head: the largest commit has far fewer
	maxDead = 1 << 16
)

// Check refuses a head that no host can have written.
func (h *Head) Check() error {
	switch {
	case len(h.Runs) > maxRuns || len(h.Dead) > maxDead:
		return errors.New("it names too many entries")
	case h.Live < 0 || h.Below < 0 || h.Blobs < 0 || h.Manifest == nil && h.Below > 0:
		return errors.New("its sizes are impossible")
	case h.Next == 1<<64-1:
		return errors.New("its numbers have no successor")
	}
	names := make(map[Name]bool)
	check := func(n Name) error {
		if n.Number > h.Next || names[n] {
			return fmt.Errorf("it names %s, which is impossible", n)
		}
		names[n] = true
		return nil
	}
	for _, r := range h.Runs {
		if err := check(r.Name); err != nil {
			return err
		}
		if r.Last > 0 {
			if err := r.checkParts(h.Next); err != nil {
				return err
			}
		} else if r.Parts != 1 || r.Size > maxBlock() || r.Indices > 0 || r.Apart {
			return fmt.Errorf("it has a run of %d bytes in %d parts, which is impossible", r.Size, r.Parts)
		}
	}
	for _, s := range h.Dead {
		if err := check(s.Name); err != nil {
			return err
		}
	}
	if h.Manifest != nil {
		if err := check(h.Manifest.Name); err != nil {
			return err
		}
		if m := h.Manifest; m.Size > maxManifest || int(m.Parts) != (m.Size+sizes.chunk-1)/sizes.chunk {
			return fmt.Errorf("it has a manifest of %d bytes in %d parts, which is impossible", m.Size, m.Parts)
		}
	}
	if h.Job > h.Next {
		return errors.New("its merge is impossible")
	}
	if h.History != nil {
		if err := h.History.check(h.Next); err != nil {
			return err
		}
	}
	if len(h.Losses) > maxLosses {
		return errors.New("it has lost too many owners")
	}
	for i, l := range h.Losses {
		if l.Claim == 0 || l.Next > h.Next || l.Job > l.Next || i > 0 && (l.Claim <= h.Losses[i-1].Claim || l.Next < h.Losses[i-1].Next) {
			return errors.New("its lost owners are impossible")
		}
	}
	for i, key := range h.Gone {
		if len(key) > maxKey || !utf8.ValidString(key) || i > 0 && h.Gone[i-1] >= key {
			return fmt.Errorf("it deletes %.80q, which is impossible", key)
		}
	}
	return nil
}

// AppendJSON appends the head as package json would.
func (h *Head) AppendJSON(out []byte) []byte {
	number := func(name string, n uint64) {
		if n > 0 {
			out = strconv.AppendUint(append(out, name...), n, 10)
		}
	}
	texts := func(name string, n int, text func(out []byte, i int) []byte) {
		for i := range n {
			if i == 0 {
				out = append(append(out, name...), '[')
			} else {
				out = append(out, ',')
			}
			out = text(out, i)
		}
		if n > 0 {
			out = append(out, ']')
		}
	}
	out = strconv.AppendUint(append(out, `{"next":`...), h.Next, 10)
	number(`,"job":`, h.Job)
	number(`,"size":`, uint64(h.Live))
	texts(`,"runs":`, len(h.Runs), func(out []byte, i int) []byte {
		return append(h.Runs[i].appendText(append(out, '"')), '"')
	})
	if h.Manifest != nil {
		out = append(h.Manifest.appendText(append(out, `,"manifest":"`...)), '"')
	}
	number(`,"below":`, uint64(h.Below))
	number(`,"blobs":`, uint64(h.Blobs))
	texts(`,"dead":`, len(h.Dead), func(out []byte, i int) []byte {
		return append(h.Dead[i].appendText(append(out, '"')), '"')
	})
	texts(`,"gone":`, len(h.Gone), func(out []byte, i int) []byte {
		key, err := json.Marshal(h.Gone[i])
		if err != nil {
			panic(err) // a string always encodes
		}
		return append(out, key...)
	})
	if h.History != nil {
		past, err := json.Marshal(h.History)
		if err != nil {
			panic(err) // it always encodes
		}
		out = append(append(out, `,"history":`...), past...)
	}
	texts(`,"losses":`, len(h.Losses), func(out []byte, i int) []byte {
		return append(h.Losses[i].appendText(append(out, '"')), '"')
	})
	return append(out, '}')
}

// manifest is the content of a manifest's entry.
type manifest struct {
	levels [][]*ref
	dead   []Span // entries that no head names any more
}

// maxManifest is the size in bytes of the largest manifest; that of 10 GB has a few millions.
const maxManifest = 64 << 20

// encode returns the manifest as bytes.
func (m *manifest) encode() []byte {
	out := binary.AppendUvarint(nil, uint64(len(m.levels)))
	text := func(s string) { out = append(binary.AppendUvarint(out, uint64(len(s))), s...) }
	name := func(n Name) {
		out = binary.AppendUvarint(out, n.Token)
		out = binary.AppendUvarint(out, n.Number)
		out = binary.AppendUvarint(out, uint64(n.Part))
	}
	for _, level := range m.levels {
		out = binary.AppendUvarint(out, uint64(len(level)))
		for _, r := range level {
			name(r.Name)
			out = binary.AppendUvarint(out, uint64(r.size))
			text(r.first)
			text(r.last)
		}
	}
	out = binary.AppendUvarint(out, uint64(len(m.dead)))
	for _, s := range m.dead {
		name(s.Name)
		out = binary.AppendUvarint(out, uint64(s.Parts))
	}
	return out
}

var errManifest = fmt.Errorf("%w: it is no manifest", ErrDamaged)

// decodeManifest reads a manifest, which may have any content.
func decodeManifest(data []byte) (*manifest, error) {
	r := reader{rest: data}
	m := &manifest{}
	levels := r.number(maxLevels)
	for range levels {
		n := r.number(uint64(len(r.rest)) / 6) // each takes at least this many bytes
		level := make([]*ref, 0, min(n, 1<<16))
		for i := range n {
			c := &ref{Name: r.name(), size: int(r.number(uint64(maxBlock()))), bounded: true}
			c.first, c.last = r.text(), r.text()
			if r.bad || c.size == 0 || c.first > c.last || i > 0 && level[i-1].last >= c.first {
				return nil, errManifest
			}
			level = append(level, c)
		}
		m.levels = append(m.levels, level)
	}
	for range r.number(uint64(len(r.rest)) / 4) {
		m.dead = append(m.dead, Span{r.name(), uint32(r.number(maxParts))})
		if r.bad {
			return nil, errManifest
		}
	}
	if r.bad || len(r.rest) > 0 {
		return nil, errManifest
	}
	return m, nil
}

// reader decodes numbers and texts. After the first impossible one it is bad, and returns zeros.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) number(most uint64) uint64 {
	n, w := binary.Uvarint(r.rest)
	if r.bad || w <= 0 || n > most {
		r.bad = true
		return 0
	}
	r.rest = r.rest[w:]
	return n
}

func (r *reader) name() Name {
	n := Name{r.number(1<<64 - 1), r.number(1<<64 - 1), uint32(r.number(maxParts))}
	if n.Token == 0 || n.Number == 0 {
		r.bad = true
	}
	return n
}

func (r *reader) text() string {
	n := r.number(maxKey)
	if r.bad || n > uint64(len(r.rest)) {
		r.bad = true
		return ""
	}
	s := string(r.rest[:n])
	r.rest = r.rest[n:]
	return s
}

// bytesOf returns the size of the chunks of levels.
func bytesOf(levels ...[]*ref) (n int64) {
	for _, level := range levels {
		for _, r := range level {
			n += int64(r.size)
		}
	}
	return n
}

// within returns the chunks of a level that may have keys from first to last.
func within(level []*ref, first, last string) []*ref {
	begin, _ := slices.BinarySearchFunc(level, first, func(r *ref, key string) int { return strings.Compare(r.last, key) })
	end := begin
	for end < len(level) && level[end].first <= last {
		end++
	}
	return level[begin:end]
}
