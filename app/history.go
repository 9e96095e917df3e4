package app

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"holdfast/objects"
	"holdfast/objects/host"
)

// when explains how a moment is given on the command line.
const when = "WHEN is a bookmark as `history` prints them, a time such as\n" +
	"2026-11-26T09:30:00Z, or how long ago: 90s, 2h."

// parseWhen returns the bookmark of the state that text names.
func parseWhen(text string, now time.Time) (objects.Bookmark, error) {
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return checkWhen(text, t, now)
	}
	ago, err := time.ParseDuration(text)
	if err != nil || ago < 0 {
		return "", usage(fmt.Errorf("%.80q: want a bookmark, a time such as %s, or how long ago, such as 2h", text, now.UTC().Format(time.RFC3339)), "")
	}
	return checkWhen(text, now.Add(-ago), now)
}

func checkWhen(text string, t, now time.Time) (objects.Bookmark, error) {
	if t.After(now.Add(time.Minute)) || t.Year() < 2000 {
		return "", usage(fmt.Errorf("%.80q: nothing is known of that time", text), "")
	}
	return host.At(t), nil
}

func (p *program) historyCommand() *cobra.Command {
	var since time.Duration
	var limit int
	c := p.objectCommand(&cobra.Command{
		Use:   "history CLASS/NAME",
		Short: "Print what has changed an object, the newest change first",
		Long: "Print what has changed an object, the newest change first: read from the store,\n" +
			"without waking the object. Each change has a bookmark, which names the state\n" +
			"after it, for `get --at`, `diff`, `restore` and `fork`. A class keeps the past of\n" +
			"its objects if its settings say for how long (objects.Settings.History).",
		Example: p.examples("history room/lobby\nhistory room/lobby --since 2h --limit 1000\nhistory room/lobby --json"),
		Args:    cobra.ExactArgs(1),
	}, func(id objects.ID, _ string, _ []string) (inspection, error) {
		if limit < 1 || since < 0 {
			return nil, usage(fmt.Errorf("--limit %d --since %v: want a limit of 1 or more, and a time that has passed", limit, since), "")
		}
		return func(ctx context.Context, _ *nats.Conn, in *host.Inspector) error {
			return p.history(ctx, in, id, since, limit)
		}, nil
	})
	c.Flags().DurationVar(&since, "since", 0, "how far back to look; 0: as far as is known")
	c.Flags().IntVar(&limit, "limit", 50, "print at most so many changes")
	return c
}

func (p *program) history(ctx context.Context, in *host.Inspector, id objects.ID, since time.Duration, limit int) error {
	found, more := []host.HistoryEntry{}, false // an empty list is [] in JSON
	oldest := objects.Bookmark("")
	if since > 0 {
		oldest = host.At(time.Now().Add(-since))
	}
	for e, err := range in.History(ctx, id) {
		if err != nil {
			return p.pastFailure(ctx, in, err)
		}
		if e.At < oldest {
			break
		}
		if more = len(found) == limit; more {
			break
		}
		found = append(found, e)
	}
	if p.json {
		if more {
			p.log.Warn("there are more than the limit", "limit", limit)
		}
		return p.print(struct {
			OK      bool                `json:"ok"`
			Changes []host.HistoryEntry `json:"changes"`
		}{true, found})
	}
	if more {
		p.say("there are more: raise --limit %d", limit)
	}
	return writeHistory(p.stdout, found)
}

// pastFailure adds the next step to a failure.
func (p *program) pastFailure(ctx context.Context, in *host.Inspector, err error) error {
	if objects.CodeOf(err) != objects.NotFound {
		return err
	}
	if strings.Contains(err.Error(), "nothing is kept") {
		return p.unknown(ctx, in, err)
	}
	f := describe(err)
	f.hint = "see which states are known: " + p.cfg.Name + " history CLASS/NAME"
	if strings.Contains(err.Error(), "Settings.History") {
		f.hint = "changes are kept from the next start on with that setting"
	}
	return f
}

func writeHistory(w io.Writer, found []host.HistoryEntry) error {
	if len(found) == 0 {
		_, err := fmt.Fprintln(w, "nothing has changed")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "BOOKMARK\tCOMMIT\tBYTES\tCHANGE")
	for _, e := range found {
		commit := "-"
		if e.Commit > 0 {
			commit = fmt.Sprint(e.Commit)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", e.At, commit, humanize.IBytes(uint64(e.Bytes)), changeOf(e))
	}
	return t.Flush()
}

// changeOf describes a change.
func changeOf(e host.HistoryEntry) string {
	switch {
	case e.Restored != "":
		return "restored to " + string(e.Restored)
	case e.Gap:
		return "kept again from here on; what was before is not known"
	}
	var said []string
	list := func(what string, keys []string) {
		const most = 4
		if len(keys) == 0 {
			return
		}
		names := make([]string, 0, most)
		for _, key := range keys[:min(most, len(keys))] {
			names = append(names, shown(key))
		}
		if len(keys) > most {
			names = append(names, fmt.Sprintf("and %d more", len(keys)-most))
		}
		said = append(said, what+" "+strings.Join(names, ", "))
	}
	list("set", e.Set)
	list("deleted", e.Deleted)
	list("blobs", e.Blobs)
	if e.Pages > 0 {
		said = append(said, count(e.Pages, "page")+" of the database")
	}
	return strings.Join(said, "; ")
}

func (p *program) diffCommand() *cobra.Command {
	return p.objectCommand(&cobra.Command{
		Use:   "diff CLASS/NAME WHEN [WHEN]",
		Short: "Print what two states of an object have differently",
		Long: "Print what two states of an object have differently, or one and the present one:\n" +
			"read from the store, without waking the object. Of its database only the number\n" +
			"of pages is told. " + when,
		Example: p.examples("diff room/lobby 2h\ndiff room/lobby 2026-11-26T09:30:00Z 10m --json"),
		Args:    cobra.RangeArgs(2, 3),
	}, func(id objects.ID, _ string, more []string) (inspection, error) {
		now := time.Now()
		before, err := parseWhen(more[0], now)
		after := host.At(now)
		if err == nil && len(more) == 2 {
			after, err = parseWhen(more[1], now)
		}
		return func(ctx context.Context, _ *nats.Conn, in *host.Inspector) error {
			return p.diff(ctx, in, id, before, after)
		}, err
	})
}

func (p *program) diff(ctx context.Context, in *host.Inspector, id objects.ID, before, after objects.Bookmark) error {
	d, err := in.Diff(ctx, id, before, after)
	if err != nil {
		return p.pastFailure(ctx, in, err)
	}
	if p.json {
		return p.print(struct {
			OK bool `json:"ok"`
			host.Difference
		}{true, d})
	}
	return writeDiff(p.stdout, d)
}

func writeDiff(w io.Writer, d host.Difference) error {
	if len(d.Changed)+d.Pages+len(d.Blobs) == 0 {
		_, err := fmt.Fprintln(w, "nothing is different")
		return err
	}
	for _, c := range d.Changed {
		if len(c.Before) > 0 {
			fmt.Fprintf(w, "- %s  %s\n", shown(c.Key), value(c.Before))
		}
		if len(c.After) > 0 {
			fmt.Fprintf(w, "+ %s  %s\n", shown(c.Key), value(c.After))
		}
	}
	for _, name := range d.Blobs {
		fmt.Fprintf(w, "blob %s differs\n", shown(name))
	}
	if d.Pages > 0 {
		fmt.Fprintf(w, "%s of the database differ\n", count(d.Pages, "page"))
	}
	return nil
}

func (p *program) restoreCommand() *cobra.Command {
	return p.objectCommand(&cobra.Command{
		Use:   "restore CLASS/NAME WHEN",
		Short: "Put an object back to a state that it had",
		Long: "Put an object back to a state that it had: its keys and its database. Messages\n" +
			"that were told, the alarm, sockets and remembered answers stay as they are. The\n" +
			"owner does it, between two events; an object that nobody owns is claimed for it.\n" +
			"What is printed takes the restore back. " + when,
		Example: p.examples("restore room/lobby 10m\nrestore room/lobby 2026-11-26T09:30:00Z --json"),
		Args:    cobra.ExactArgs(2),
	}, func(id objects.ID, name string, more []string) (inspection, error) {
		to, err := parseWhen(more[0], time.Now())
		return func(ctx context.Context, nc *nats.Conn, in *host.Inspector) error {
			return p.restore(ctx, nc, in, id, name, to)
		}, err
	})
}

func (p *program) restore(ctx context.Context, nc *nats.Conn, in *host.Inspector, id objects.ID, name string, to objects.Bookmark) error {
	if _, err := in.GetAt(ctx, id, name, to); err != nil { // an owner is not asked, nor an object claimed, for a state that is not known
		return p.pastFailure(ctx, in, err)
	}
	done, err := host.Restore(ctx, nc, id, name, to)
	if err != nil {
		return p.pastFailure(ctx, in, err)
	}
	object, how := string(id.Class())+"/"+shown(name), ""
	if name == "" {
		object, how = string(id.Class()), " --id "+id.String()
	}
	undo := fmt.Sprintf("%s restore %s %s%s", p.cfg.Name, object, done.Undo, how)
	if p.json {
		return p.print(struct {
			OK bool `json:"ok"`
			host.Restored
			Command string `json:"command"`
		}{true, done, undo})
	}
	if !done.Changed {
		_, err = fmt.Fprintf(p.stdout, "%s%s: nothing has changed since %s\n", object, how, to)
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "%s%s is as it was at %s\n  undo: %s\n", object, how, to, undo)
	return err
}

func (p *program) forkCommand() *cobra.Command {
	var at string
	c := p.objectCommand(&cobra.Command{
		Use:   "fork CLASS/NAME CLASS/NEW",
		Short: "Begin a new object with what another has, or had",
		Long: "Begin a new object with what another of its class has, or had at a moment: its\n" +
			"keys and its database, up to 64 MiB. The new one must have nothing stored; it is\n" +
			"claimed, and knows nothing of the other's messages, alarm and sockets.\n" + when,
		Example: p.examples("fork room/lobby room/copy\nfork room/lobby room/yesterday --at 24h"),
		Args:    cobra.ExactArgs(2),
	}, func(id objects.ID, _ string, more []string) (inspection, error) {
		to, name, err := parseObject(more[0], "")
		if err != nil {
			return nil, err
		}
		if to.Class() != id.Class() || to == id {
			return nil, usage(fmt.Errorf("%.80q: want another object of class %s", more[0], id.Class()), "")
		}
		bookmark := objects.Bookmark("")
		if at != "" {
			bookmark, err = parseWhen(at, time.Now())
		}
		return func(ctx context.Context, nc *nats.Conn, in *host.Inspector) error {
			return p.fork(ctx, nc, in, id, bookmark, to, name)
		}, err
	})
	c.Flags().Lookup("id").Usage = "id of the first object, instead of its name"
	c.Flags().StringVar(&at, "at", "", "when: what the first object had then")
	return c
}

func (p *program) fork(ctx context.Context, nc *nats.Conn, in *host.Inspector, id objects.ID, at objects.Bookmark, to objects.ID, name string) error {
	keys, err := host.Fork(ctx, nc, id, at, to, name)
	if err != nil {
		return p.pastFailure(ctx, in, err)
	}
	if p.json {
		return p.print(struct {
			OK   bool   `json:"ok"`
			ID   string `json:"id"`
			Keys int    `json:"keys"`
		}{true, to.String(), keys})
	}
	_, err = fmt.Fprintf(p.stdout, "%s/%s has %s now\n", to.Class(), shown(name), count(keys, "key"))
	return err
}

// getAt prints what an object stored at a moment.
func (p *program) getAt(ctx context.Context, in *host.Inspector, id objects.ID, name string, at objects.Bookmark) error {
	past, err := in.GetAt(ctx, id, name, at)
	if err != nil {
		return p.pastFailure(ctx, in, err)
	}
	if p.json {
		return p.print(struct {
			OK bool `json:"ok"`
			host.Past
		}{true, past})
	}
	t := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "%s/%s\n", past.Class, shown(past.Name))
	fmt.Fprintf(t, "  id\t%s\n", past.ID)
	fmt.Fprintf(t, "  as of\t%s\n", past.At)
	fmt.Fprintf(t, "  size\t%s in %s\n", humanize.IBytes(uint64(past.Size)), count(len(past.Keys), "key"))
	if past.Pages > 0 {
		fmt.Fprintf(t, "  database\t%s\n", count(past.Pages, "page"))
	}
	for _, name := range slices.Sorted(maps.Keys(past.Blobs)) {
		fmt.Fprintf(t, "  blob %s\t%s\n", shown(name), humanize.IBytes(uint64(past.Blobs[name])))
	}
	for _, key := range slices.Sorted(maps.Keys(past.Keys)) {
		fmt.Fprintf(t, "    %s\t%s\n", shown(key), value(past.Keys[key]))
	}
	return t.Flush()
}
