package app

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nuid"
	"github.com/spf13/cobra"

	"holdfast/objects"
)

// The counters that the demo's worker races, by the names of their routes.
var counterRoutes = map[string]string{"object": "ticket", "naive": "naive", "cas": "cas"}

// raceOptions are the flags of race.
type raceOptions struct {
	rounds, n   int
	gap, spread time.Duration
	from        []string
	kvTTL       time.Duration
	kvLimit     bool
	url         string
	expect      []string
}

func (p *program) raceCommand() *cobra.Command {
	var o raceOptions
	c := &cobra.Command{
		Use:   "race",
		Short: "Race the demo's counters and count what each lost",
		Long: "Have a gateway claim tickets at three counters: an object, a naive counter on\n" +
			"plain KV, and one with compare-and-set and retries. Every round takes a fresh\n" +
			"counter. Several regions fire at one instant, each its share. Exits 20 if the object, or a counter of which --expect-correct says so,\n" +
			"gave a ticket twice or lost one.",
		Example: p.examples("race\n" +
			"race --rounds 200 -n 15 --gap 10ms\n" +
			"race --from fra,iad,syd --gap 0 --spread 2s --kv-ttl 30s\n" +
			"race --rounds 20 --expect-correct cas --json"),
		Args: cobra.NoArgs,
		RunE: p.run(func(ctx context.Context, _ []string) error { return p.race(ctx, o) }),
	}
	f := c.Flags()
	f.IntVar(&o.rounds, "rounds", 200, "how often")
	f.IntVarP(&o.n, "number", "n", 15, "claims at each counter in one round")
	f.DurationVar(&o.gap, "gap", 10*time.Millisecond, "between the read and the write of the counters on KV")
	f.DurationVar(&o.spread, "spread", 0, "from the first claim's arrival to the last one's")
	f.StringSliceVar(&o.from, "from", nil, "regions whose gateways fire, as fra,iad,syd (default: the gateway at --url alone)")
	f.DurationVar(&o.kvTTL, "kv-ttl", 0, "how old the naive counter's reads from its region's cache may be, up to 1m; 0: it reads the store")
	f.BoolVar(&o.kvLimit, "kv-limit", false, "refuse the naive counter's writes beyond one a second, as Workers KV does")
	f.StringVar(&o.url, "url", "http://localhost:8787", "of the gateway")
	f.StringSliceVar(&o.expect, "expect-correct", nil, "counter that must lose nothing, as the object always must: naive or cas")
	return c
}

func (o raceOptions) check() error {
	u, err := url.Parse(o.url)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return usage(fmt.Errorf("--url %q: want one like http://localhost:8787", o.url), "")
	case o.rounds < 1:
		return usage(fmt.Errorf("--rounds %d: want 1 or more", o.rounds), "")
	}
	for _, name := range o.expect {
		if counterRoutes[name] == "" {
			return usage(fmt.Errorf("--expect-correct %q: want naive, cas or object", name), "")
		}
	}
	return nil
}

func (p *program) race(ctx context.Context, o raceOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	o.url = strings.TrimSuffix(o.url, "/")
	result := newTally(o.n)
	series := "race-" + nuid.Next()
	for round := range o.rounds {
		p.progress("round %d of %d", round+1, o.rounds)
		name := fmt.Sprintf("%s-%d", series, round+1)
		err := p.round(ctx, o, name, result)
		p.reset(ctx, o.url, name)
		if err != nil {
			p.progress("")
			return fmt.Errorf("round %d: %w", round+1, err)
		}
	}
	p.progress("")
	return p.judge(o, result)
}

// judge prints the result. It fails if an expectation did not hold.
func (p *program) judge(o raceOptions, result *tally) error {
	var broken []string
	for _, name := range slices.Compact(slices.Sorted(slices.Values(append(o.expect, "object")))) {
		if why := result.wrong(name); why != "" {
			broken = append(broken, why)
		}
	}
	var failed *failure
	if len(broken) > 0 {
		failed = &failure{code: "check_failed", exit: exitCheck, err: errors.New(strings.Join(broken, "; ")), told: p.json}
	}
	if p.json {
		report := result.report(o)
		if failed != nil {
			report.OK, report.Error = false, failed.envelope()
		}
		if err := p.print(report); err != nil {
			return err
		}
	} else if err := result.write(p.stdout, o); err != nil {
		return err
	}
	if failed != nil {
		return failed
	}
	return nil
}

// progress shows a line that the next one replaces, to people at a terminal.
func (p *program) progress(format string, args ...any) {
	if p.terminal && !p.json {
		fmt.Fprintf(p.stderr, "\r\x1b[K"+format, args...)
	}
}

// round has the gateway race once, and adds the events to the result.
func (p *program) round(ctx context.Context, o raceOptions, name string, result *tally) error {
	body, err := json.Marshal(map[string]any{
		"n": o.n, "gap": o.gap.String(), "spread": o.spread.String(), "ttl": o.kvTTL.String(), "limit": o.kvLimit, "from": o.from,
	})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, o.url+"/race/"+name, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return unreachable(fmt.Errorf("cannot reach the gateway: %w", err),
			fmt.Sprintf("start one:     %s dev\nor say where:  --url http://host:port", p.cfg.Name))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return refusal(resp, o.url)
	}
	if err := result.read(resp.Body); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return objects.Errorf(objects.Unknown, "the run broke off: %v", err)
	}
	return nil
}

// refusal returns the error that a gateway answered with.
func refusal(resp *http.Response, url string) error {
	if resp.StatusCode == http.StatusNotFound {
		return &failure{code: string(objects.NotFound), exit: exitNotFound,
			err:  fmt.Errorf("the gateway at %s has no /race", url),
			hint: "it belongs to the demo's worker, which this gateway does not carry"}
	}
	var said objects.Error
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err == nil && json.Unmarshal(body, &said) == nil && said.Code != "" {
		return &said
	}
	return fmt.Errorf("the gateway at %s answers with status %d", url, resp.StatusCode)
}

// reset removes a round's counters. Counters that stay do no harm.
func (p *program) reset(ctx context.Context, url, name string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	for _, route := range counterRoutes {
		req, err := http.NewRequestWithContext(ctx, http.MethodDelete, url+"/"+route+"/"+name, nil)
		if err != nil {
			continue // check has parsed the URL
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			p.log.Debug("counter not removed", "err", err)
			return
		}
		resp.Body.Close()
	}
}

// raceLine is any line of the stream: an attempt, a verdict, or the end.
type raceLine struct {
	Type       string `json:"type"`
	Counter    string `json:"counter"`
	SentUs     int64  `json:"sentUs"`
	AnsweredUs int64  `json:"answeredUs"`
	Outcome    string `json:"outcome"`
	Tries      []struct {
		Refused bool `json:"refused"`
	} `json:"tries"`
	Answered   int  `json:"answered"`
	Duplicates int  `json:"duplicates"`
	Gaps       int  `json:"gaps"`
	Cached     int  `json:"cached"`
	Lost       int  `json:"lost"`
	LostMax    int  `json:"lostMax"`
	Unknown    int  `json:"unknown"`
	Refused    int  `json:"refused"`
	Before     *int `json:"before"`
	After      *int `json:"after"`

	Run string `json:"run"`
}

// read reads the events of one run. A stream without its last line was cut.
func (t *tally) read(r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line raceLine
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return fmt.Errorf("read a line: %w", err)
		}
		switch line.Type {
		case "attempt":
			t.attempt(line)
		case "verdict":
			t.verdict(line)
		case "done":
			t.lastRun = line.Run
			return nil
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return io.ErrUnexpectedEOF
}
