package app

import (
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// tally adds up the rounds of a race.
type tally struct {
	n     int
	order []string // counters, in the gateway's order
	of    map[string]*column

	lastRun string // the name under which the gateway has kept the last round's events; "": not kept
}

// column is one counter over all rounds.
type column struct {
	Rounds     int   `json:"rounds"`
	Answered   int   `json:"answered"`
	Duplicates int   `json:"duplicates"`
	Gaps       int   `json:"gaps"`         // numbers that nobody was given
	Cached     int   `json:"cachedReads"`  // claims that read from a region's cache
	Lost       int   `json:"lost"`         // certainly
	LostMax    int   `json:"lostMax"`      // if what is unknown counted
	Unknown    int   `json:"unknown"`      // claims whose fate is not known
	Refused    int   `json:"refused"`      // claims that did not happen
	Wasted     int   `json:"wastedWrites"` // refused by the store, and tried again
	PerRound   []int `json:"lostPerRound"`
	Unread     int   `json:"unreadRounds"` // in which the stored value could not be read
	P50Us      int64 `json:"p50Us"`
	P99Us      int64 `json:"p99Us"`
	TriesP50   int64 `json:"attemptsP50"` // of one claim
	TriesP99   int64 `json:"attemptsP99"`

	took, tries *hdrhistogram.Histogram
}

func newTally(n int) *tally { return &tally{n: n, of: make(map[string]*column)} }

func (t *tally) column(name string) *column {
	c := t.of[name]
	if c == nil {
		c = &column{
			took:  hdrhistogram.New(1, time.Minute.Microseconds(), 3),
			tries: hdrhistogram.New(1, 10_000, 3),
		}
		t.of[name], t.order = c, append(t.order, name)
	}
	return c
}

func (t *tally) attempt(line raceLine) {
	c := t.column(line.Counter)
	if line.Outcome == "ok" {
		_ = c.took.RecordValue(min(max(line.AnsweredUs-line.SentUs, 1), time.Minute.Microseconds())) // within its range
	}
	if n := int64(len(line.Tries)); n > 0 {
		_ = c.tries.RecordValue(min(n, 10_000)) // likewise
	}
	for _, try := range line.Tries {
		if try.Refused {
			c.Wasted++
		}
	}
}

func (t *tally) verdict(line raceLine) {
	c := t.column(line.Counter)
	c.Rounds++
	c.Answered += line.Answered
	c.Duplicates += line.Duplicates
	c.Gaps += line.Gaps
	c.Cached += line.Cached
	c.Lost += line.Lost
	c.LostMax += line.LostMax
	c.Unknown += line.Unknown
	c.Refused += line.Refused
	c.PerRound = append(c.PerRound, line.Lost)
	if line.Before == nil || line.After == nil {
		c.Unread++
	}
}

// wrong says why a counter was not correct; empty if it was.
func (t *tally) wrong(name string) string {
	c := t.of[name]
	switch {
	case c == nil:
		return name + " was not raced"
	case c.Answered == 0:
		return name + " answered nobody"
	case c.Lost > 0 || c.Duplicates > 0:
		return fmt.Sprintf("%s lost %d and gave %d twice, of %d claims", name, c.Lost, c.Duplicates, c.Answered)
	}
	return ""
}

// raceReport is the JSON form of the result.
type raceReport struct {
	OK       bool               `json:"ok"`
	Error    *envelope          `json:"error,omitempty"`
	URL      string             `json:"url"`
	Rounds   int                `json:"rounds"`
	N        int                `json:"n"`
	GapMS    float64            `json:"gapMs"`
	SpreadMS float64            `json:"spreadMs"`
	From     []string           `json:"from,omitempty"`
	KVTTLMS  float64            `json:"kvTtlMs,omitempty"`
	KVLimit  bool               `json:"kvLimit,omitempty"`
	Page     string             `json:"page,omitempty"` // that shows the last round's events
	Counters map[string]*column `json:"counters"`
}

func (t *tally) report(o raceOptions) *raceReport {
	t.percentiles()
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	return &raceReport{
		OK: true, URL: o.url, Rounds: o.rounds, N: o.n, GapMS: ms(o.gap), SpreadMS: ms(o.spread),
		From: o.from, KVTTLMS: ms(o.kvTTL), KVLimit: o.kvLimit, Page: t.page(o), Counters: t.of,
	}
}

// page returns the address of the last round's recorded events, "" if there is none.
func (t *tally) page(o raceOptions) string {
	if t.lastRun == "" {
		return ""
	}
	return o.url + "/?run=" + url.QueryEscape(t.lastRun)
}

func (t *tally) percentiles() {
	for _, c := range t.of {
		c.P50Us, c.P99Us = c.took.ValueAtQuantile(50), c.took.ValueAtQuantile(99)
		c.TriesP50, c.TriesP99 = c.tries.ValueAtQuantile(50), c.tries.ValueAtQuantile(99)
	}
}

// write prints the result for people.
func (t *tally) write(w io.Writer, o raceOptions) error {
	t.percentiles()
	var out strings.Builder
	fmt.Fprintf(&out, "%s of %s at each counter, gap %v, spread %v%s, at %s\n\n", count(o.rounds, "round"), count(t.n, "claim"), o.gap, o.spread, o.more(), o.url)
	for _, name := range t.order {
		c := t.of[name]
		fmt.Fprintf(&out, "  %-8s lost  %s\n", name, c.histogram(t.n))
		fmt.Fprintf(&out, "  %-8s %s   p50 %s  p99 %s\n", "", c.attempts(), micros(c.P50Us), micros(c.P99Us))
		for _, also := range c.reservations() {
			fmt.Fprintf(&out, "  %-8s %s\n", "", also)
		}
	}
	if page := t.page(o); page != "" {
		fmt.Fprintf(&out, "\n  the last round, event by event: %s\n", page)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// more describes the options that differ from a plain race.
func (o raceOptions) more() string {
	said := ""
	if len(o.from) > 0 {
		said += ", from " + strings.Join(o.from, ", ")
	}
	if o.kvTTL > 0 {
		said += fmt.Sprintf(", KV cache %v", o.kvTTL)
	}
	if o.kvLimit {
		said += ", KV 1 write/s"
	}
	return said
}

// attempts describes the cost of a claim.
func (c *column) attempts() string {
	said := "attempts per claim 1"
	if c.TriesP99 > 1 {
		said = fmt.Sprintf("attempts per claim p50 %d p99 %d   wasted writes %d per round", c.TriesP50, c.TriesP99, c.Wasted/max(c.Rounds, 1))
	}
	if c.Duplicates > 0 {
		said = fmt.Sprintf("%s given twice   %s", count(c.Duplicates, "ticket"), said)
	}
	return said
}

// reservations returns the facts that qualify the figures.
func (c *column) reservations() []string {
	var all []string
	if c.Gaps > 0 {
		all = append(all, count(c.Gaps, "number")+" in between given to nobody")
	}
	if c.Cached > 0 {
		all = append(all, count(c.Cached, "claim")+" read from a region's cache")
	}
	if c.Refused > 0 {
		all = append(all, fmt.Sprintf("%s did not happen (refused or unavailable): not counted as lost", count(c.Refused, "claim")))
	}
	if c.Unknown > 0 {
		all = append(all, fmt.Sprintf("%s may or may not have counted: up to %d lost", count(c.Unknown, "claim"), c.LostMax))
	}
	if c.Unread > 0 {
		all = append(all, fmt.Sprintf("in %s the stored value could not be read: nobody can say what was lost", count(c.Unread, "round")))
	}
	return all
}

// histogram shows how often each number of increments was lost in one round.
func (c *column) histogram(n int) string {
	if c.Lost == 0 {
		return "0 everywhere"
	}
	bins := binsFor(n)
	most := 0
	for _, lost := range c.PerRound {
		for i := range bins {
			if lost >= bins[i].from && (lost <= bins[i].to || i == len(bins)-1) {
				bins[i].rounds++
				most = max(most, bins[i].rounds)
			}
		}
	}
	parts := make([]string, len(bins))
	for i, b := range bins {
		parts[i] = fmt.Sprintf("%s %s %d", b.label(), bar(b.rounds, most), b.rounds)
	}
	return strings.Join(parts, "   ")
}

// bin counts the rounds in which from to to increments were lost.
type bin struct{ from, to, rounds int }

func (b bin) label() string {
	if b.from == b.to {
		return fmt.Sprint(b.from)
	}
	return fmt.Sprintf("%d-%d", b.from, b.to)
}

// binsFor divides 0 to n-1: zero, three parts, and the two worst values by themselves.
func binsFor(n int) []bin {
	if n < 8 {
		bins := make([]bin, max(n, 1))
		for i := range bins {
			bins[i] = bin{from: i, to: i}
		}
		return bins
	}
	return []bin{{from: 0, to: 0}, {from: 1, to: n/3 - 1}, {from: n / 3, to: 2*n/3 - 1}, {from: 2 * n / 3, to: n - 3}, {from: n - 2, to: n - 2}, {from: n - 1, to: n - 1}}
}

// bar returns a bar of up to eight blocks, in eighths.
func bar(value, most int) string {
	const blocks = 8
	eighths := value * blocks * 8 / max(most, 1)
	if value > 0 {
		eighths = max(eighths, 1)
	}
	if eighths == 0 {
		return "▏"
	}
	out := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		out += string([]rune("▏▎▍▌▋▊▉")[rest-1])
	}
	return out
}

func micros(us int64) string {
	return fmt.Sprintf("%.1f ms", float64(us)/1000)
}
