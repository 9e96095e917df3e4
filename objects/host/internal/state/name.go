package state

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Name names an entry of an object. No two entries of an object ever have the same name: the Token is that of the
// claim under which the entry was written. No other claim has this token, and within a claim numbers only rise.
type Name struct {
	Token  uint64
	Number uint64 // of the commit or the merge that wrote the entry; rises through all claims
	Part   uint32 // of the entries of that commit or merge
}

// String returns the name as a token of a subject: token-number-part.
func (n Name) String() string { return string(n.appendText(make([]byte, 0, 32))) }

func (n Name) appendText(out []byte) []byte {
	out = strconv.AppendUint(out, n.Token, 10)
	out = strconv.AppendUint(append(out, '-'), n.Number, 10)
	return strconv.AppendUint(append(out, '-'), uint64(n.Part), 10)
}

func (n Name) compare(m Name) int {
	return cmp.Or(cmp.Compare(n.Token, m.Token), cmp.Compare(n.Number, m.Number), cmp.Compare(n.Part, m.Part))
}

var errName = errors.New("it names no entry")

// ParseName decodes the output of String, and refuses everything else.
func ParseName(s string) (Name, error) {
	token, rest, _ := strings.Cut(s, "-")
	number, part, _ := strings.Cut(rest, "-")
	var n Name
	var err [3]error
	var p uint64
	n.Token, err[0] = strconv.ParseUint(token, 10, 64)
	n.Number, err[1] = strconv.ParseUint(number, 10, 64)
	p, err[2] = strconv.ParseUint(part, 10, 32)
	n.Part = uint32(p)
	if errors.Join(err[:]...) != nil || n.Token == 0 || n.Number == 0 || n.String() != s {
		return Name{}, fmt.Errorf("%w: %.80q", errName, s)
	}
	return n, nil
}

// Span is a number of entries with consecutive parts.
type Span struct {
	Name
	Parts uint32
}

// maxParts bounds a Span: the largest value has far fewer.
const maxParts = 1 << 20

// part returns the name of the i-th entry.
func (s Span) part(i uint32) Name { return Name{s.Token, s.Number, s.Part + i} }

// String returns the first name and, unless it is 1, the number of entries.
func (s Span) String() string { return string(s.appendText(make([]byte, 0, 32))) }

func (s Span) appendText(out []byte) []byte {
	out = s.Name.appendText(out)
	if s.Parts == 1 {
		return out
	}
	return strconv.AppendUint(append(out, '+'), uint64(s.Parts), 10)
}

// ParseSpan decodes the output of String, and refuses everything else.
func ParseSpan(s string) (Span, error) {
	first, count, more := strings.Cut(s, "+")
	n, err := ParseName(first)
	if err != nil {
		return Span{}, err
	}
	span := Span{n, 1}
	if more {
		parts, err := strconv.ParseUint(count, 10, 32)
		if err != nil || parts > maxParts {
			return Span{}, fmt.Errorf("%w: %.80q", errName, s)
		}
		span.Parts = uint32(parts)
	}
	if span.Parts == 0 || span.String() != s || span.Part > maxParts {
		return Span{}, fmt.Errorf("%w: %.80q", errName, s)
	}
	return span, nil
}

// MarshalText implements encoding.TextMarshaler.
func (s Span) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText undoes MarshalText.
func (s *Span) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSpan(string(text))
	return err
}

// joined returns the same spans, sorted, with consecutive ones joined.
func joined(spans []Span) []Span {
	spans = slices.Clone(spans) // heads share the originals
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

// less returns spans without some names.
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

// namesOf adds all names of spans to a set.
func namesOf(into map[Name]bool, spans []Span) {
	for _, s := range spans {
		for i := range s.Parts {
			into[s.part(i)] = true
		}
	}
}
