package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"holdfast/chaos/history"
)

// result is the result of one fault.
type result struct {
	Fault   string          `json:"fault"`
	N       int             `json:"n"`
	Hit     int             `json:"hit"` // objects, counted once for each injection
	GapP50  time.Duration   `json:"gapP50"`
	GapP99  time.Duration   `json:"gapP99"`
	GapMax  time.Duration   `json:"gapMax"`
	Slow    int             `json:"slow"`  // requests above 0.9 s, of After
	After   int             `json:"after"` // requests between a takeover and the end of its fault
	Tickets history.Tickets `json:"tickets"`
	Alarms  history.Alarms  `json:"alarms"`
	Sockets history.Sockets `json:"sockets"`

	Restores history.Restores `json:"restores"`

	Missed []string `json:"missedTargets,omitempty"` // a sentence each
	Late   []string `json:"lateTargets,omitempty"`   // missed targets of time, which depend on the machine
}

// judge reads a history and says what came of it.
func judge(name string) (result, error) {
	file, err := os.Open(name)
	if err != nil {
		return result{}, fmt.Errorf("open the history: %w", err)
	}
	defer file.Close() // nothing was written
	records, err := history.ReadAll(file)
	if err != nil {
		return result{}, err
	}
	return judgeRecords(records), nil
}

func judgeRecords(records []history.Record) result {
	gaps, late := history.Gaps(records)
	r := result{
		Hit: len(gaps), GapP50: history.Quantile(gaps, 0.5), GapP99: history.Quantile(gaps, 0.99), GapMax: history.Quantile(gaps, 1),
		Tickets: history.CheckTickets(records, linearWithin), Alarms: history.CheckAlarms(records), Sockets: history.CheckSockets(records),
		Restores: history.CheckRestores(records),
	}
	r.Slow, r.After = history.Slow(records)
	for _, record := range records {
		if f := record.Fault; f != nil {
			r.N++
			r.Fault = f.Key
			if f.Proof == "" {
				r.misses("%d. injection at %v: nothing shows that it happened", r.N, f.At)
			}
		}
	}
	if r.N == 0 {
		r.misses("no fault was injected")
	}
	if late > 0 {
		r.late("%d gaps went on for above a second after NATS had a leader again", late)
	}
	r.compare()
	return r
}

func (r *result) misses(format string, args ...any) {
	r.Missed = append(r.Missed, fmt.Sprintf(format, args...))
}

func (r *result) late(format string, args ...any) {
	r.Late = append(r.Late, fmt.Sprintf(format, args...))
}

// compare notes which targets are missed.
func (r *result) compare() {
	t, s, a := r.Tickets, r.Sockets, r.Alarms
	for _, target := range []struct {
		n    int
		what string
	}{
		{t.Failed, "requests failed"}, {t.Lost, "tickets were lost"}, {t.Doubled, "tickets were given twice"},
		{t.Order, "tickets came out of order"}, {t.Stale, "reads were stale"}, {t.Phantom, "counts came from nowhere"},
		{t.Illegal, "objects were not linearizable"}, {t.Unread, "counters could not be read at the end"},
		{a.Lost, "alarms were lost"}, {a.Early, "alarms were early"}, {a.Twice, "alarms ran twice"},
		{s.Missed, "messages were missed by open sockets"}, {s.Deaf, "open sockets were deaf"}, {s.Doubled, "messages came twice"},
		{s.Disorder, "messages came out of order"}, {s.Untold, "ends of sockets no open socket heard of"},
		{s.ToldTwice, "beginnings or ends were told twice"}, {s.ToldWrong, "ends were told of open sockets"},
		{r.Restores.Inexact, "restores were not exact"}, {r.Restores.Lost, "objects that are put back lacked what was acknowledged"},
	} {
		if target.n > 0 {
			r.misses("%d %s", target.n, target.what)
		}
	}
	if r.Slow*100 > r.After {
		r.late("%d of %d requests after a takeover took above 0.9 s", r.Slow, r.After)
	}
	for _, f := range faults {
		if f.key != r.Fault {
			continue
		}
		if f.large > 0 && r.Restores.N == 0 {
			r.misses("no object was put back")
		}
		if f.planned && s.ClosedBusy+s.ClosedIdle > 0 {
			r.misses("%d busy and %d idle sockets were closed by what was planned", s.ClosedBusy, s.ClosedIdle)
		}
		if f.within > 0 && r.GapP99 >= f.within {
			r.late("the gap's p99 is %v, not below %v", ms(r.GapP99), f.within)
		}
	}
}

// line returns the result in one line, for a person who waits.
func (r *result) line() string {
	if len(r.Missed)+len(r.Late) == 0 {
		return fmt.Sprintf("within all targets; %d operations, %d messages heard, gap at most %v%s", r.Tickets.Ops, r.Sockets.Heard, ms(r.GapMax), r.restored())
	}
	return "MISSED: " + strings.Join(slices.Concat(r.Missed, r.Late), "; ")
}

// restored returns a phrase about restores, if there were any.
func (r *result) restored() string {
	if r.Restores.N == 0 {
		return ""
	}
	return fmt.Sprintf("; %d restores, %d of them asked for again, the longest %v", r.Restores.N, r.Restores.Again, ms(r.Restores.Longest))
}

func ms(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// report is everything about one run.
type report struct {
	Date    string   `json:"date"`
	Command string   `json:"command"`
	Commit  string   `json:"commit"`
	Seed    uint64   `json:"seed"`
	Machine string   `json:"machine"`
	NATS    string   `json:"nats"`
	Results []result `json:"results"`
}

func (k *kit) newReport(ctx context.Context, seed uint64) *report {
	r := &report{
		Date: time.Now().Format(time.DateOnly), Command: strings.TrimSpace("go run ./chaos " + strings.Join(os.Args[1:], " ")),
		Commit: "none", Seed: seed, NATS: "unknown", Machine: machine(),
	}
	if short, err := output(ctx, "git", "-C", k.root, "rev-parse", "--short", "HEAD"); err == nil {
		r.Commit = short // without git there is none to tell
	}
	if version, err := output(ctx, k.nats, "--version"); err == nil {
		r.NATS = version
	}
	return r
}

// machine returns as much as the system tells.
func machine() string {
	m := fmt.Sprintf("%d cores, %s %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH)
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return m
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return m + ", " + strings.TrimSpace(value)
		}
	}
	return m
}

var errMissed = errors.New("targets were missed")

// print writes the report to stdout. Its error says that a target was missed; targets of time count only with times.
func (r *report) print(asJSON, times bool) error {
	var err error
	if asJSON {
		encoder := json.NewEncoder(os.Stdout)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(r)
	} else {
		_, err = os.Stdout.WriteString(r.text())
	}
	if err != nil {
		return fmt.Errorf("print the result: %w", err)
	}
	for _, result := range r.Results {
		if len(result.Missed) > 0 || times && len(result.Late) > 0 {
			return errMissed
		}
	}
	return nil
}

var head = []string{"fault", "n", "gap p50", "p99", "max ms", "slow", "requests", "failed", "own", "full", "lost", "doubled", "closed idle", "busy", "own", "heard", "missed", "deaf", "ends", "untold", "wrong"}

func (r *result) cells() []string {
	t, s := r.Tickets, r.Sockets
	cells := []string{r.Fault}
	for _, n := range []int64{
		int64(r.N), r.GapP50.Milliseconds(), r.GapP99.Milliseconds(), r.GapMax.Milliseconds(), int64(r.Slow),
		int64(t.Ops), int64(t.Failed + t.Unread), int64(t.Own), int64(t.Full), int64(t.Lost + r.Alarms.Lost), int64(t.Doubled + t.Order + t.Stale + t.Phantom + t.Illegal + r.Alarms.Twice + r.Alarms.Early),
		int64(s.ClosedIdle), int64(s.ClosedBusy), int64(s.ClosedOwn), int64(s.Heard), int64(s.Missed), int64(s.Deaf),
		int64(s.Ends), int64(s.Untold), int64(s.Doubled + s.Disorder + s.ToldTwice + s.ToldWrong),
	} {
		cells = append(cells, fmt.Sprint(n))
	}
	return cells
}

// text returns the report for a terminal, and its table one for a page.
func (r *report) text() string {
	rows := [][]string{head}
	for _, result := range r.Results {
		rows = append(rows, result.cells())
	}
	width := make([]int, len(head))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	var out strings.Builder
	fmt.Fprintf(&out, "`%s`, seed %d, commit %s, %s: %s, %s.\n\n", r.Command, r.Seed, r.Commit, r.Date, r.NATS, r.Machine)
	for i, row := range rows {
		for j, cell := range row {
			fmt.Fprintf(&out, "| %-*s ", width[j], cell)
		}
		out.WriteString("|\n")
		if i == 0 {
			out.WriteString("|" + strings.Repeat("---|", len(head)) + "\n")
		}
	}
	out.WriteString("\n")
	for _, result := range r.Results {
		if restored := result.restored(); restored != "" {
			fmt.Fprintf(&out, "%s%s\n", result.Fault, strings.Replace(restored, ";", ":", 1))
		}
		for _, missed := range slices.Concat(result.Missed, result.Late) {
			fmt.Fprintf(&out, "%s: %s\n", result.Fault, missed)
		}
	}
	return out.String()
}

// judgeCommand judges kept histories again.
func judgeCommand(o *options) *cobra.Command {
	flaws := false
	c := &cobra.Command{
		Use:   "judge DIR",
		Short: "Judge the histories that a run has kept in a folder",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			names, err := filepath.Glob(filepath.Join(args[0], "*", historyFile))
			if err == nil && len(names) == 0 {
				err = fmt.Errorf("no history is kept in %s", args[0])
			}
			if err != nil {
				return err
			}
			r := &report{Command: "go run ./chaos judge", Commit: "unknown", Machine: machine(), NATS: "unknown"}
			for _, name := range names {
				result, err := judge(name)
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				r.Results = append(r.Results, result)
				for _, flaw := range allFlaws(result, flaws) {
					say("%s: %s", result.Fault, flaw)
				}
			}
			return r.print(o.json, o.times)
		},
	}
	c.Flags().BoolVar(&flaws, "flaws", false, "say each single flaw")
	return c
}

func allFlaws(r result, wanted bool) []string {
	if !wanted {
		return nil
	}
	var all []string
	all = append(all, r.Tickets.Flaws...)
	all = append(all, r.Alarms.Flaws...)
	all = append(all, r.Restores.Flaws...)
	return append(all, r.Sockets.Flaws...)
}
