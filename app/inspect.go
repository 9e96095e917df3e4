package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"
	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"holdfast/objects"
	"holdfast/objects/host"
)

func (p *program) getCommand() *cobra.Command {
	var at string
	c := p.objectCommand(&cobra.Command{
		Use:   "get CLASS/NAME",
		Short: "Print what is kept of one object, and who owns it",
		Long: "Print what is kept of one object, and who owns it: read from the store, without\n" +
			"waking the object. One without a name is found by its id: get CLASS --id HEX.\n" +
			"With --at it prints what the object stored then. " + when,
		Example: p.examples("get ticket/global\nget room/lobby --json\nget ticket --id 64-hex-digits\nget room/lobby --at 2h"),
		Args:    cobra.ExactArgs(1),
	}, func(id objects.ID, name string, _ []string) (inspection, error) {
		if at == "" {
			return func(ctx context.Context, _ *nats.Conn, in *host.Inspector) error { return p.get(ctx, in, id, name) }, nil
		}
		then, err := parseWhen(at, time.Now())
		return func(ctx context.Context, _ *nats.Conn, in *host.Inspector) error {
			return p.getAt(ctx, in, id, name, then)
		}, err
	})
	c.Flags().StringVar(&at, "at", "", "when: what the object stored then")
	return c
}

func (p *program) resumeCommand() *cobra.Command {
	return p.objectCommand(&cobra.Command{
		Use:   "resume CLASS/NAME",
		Short: "Lift the quarantine of an object, and run its parked alarm",
		Long: "Lift the quarantine of an object, and run its parked alarm: what to do when the\n" +
			"cause is mended. An object whose owners keep dying is left alone for up to five\n" +
			"minutes; an alarm that failed, or lost its owner, too often is parked for good.\n" +
			"The object's owner is asked; one that nobody owns is claimed for it.",
		Example: p.examples("resume ticket/global\nresume room/lobby --json\nresume ticket --id 64-hex-digits"),
		Args:    cobra.ExactArgs(1),
	}, func(id objects.ID, name string, _ []string) (inspection, error) {
		return func(ctx context.Context, nc *nats.Conn, in *host.Inspector) error {
			return p.resume(ctx, nc, in, id, name)
		}, nil
	})
}

// resumed is the result of `resume`.
type resumed struct {
	OK    bool   `json:"ok"`
	Class string `json:"class"`
	Name  string `json:"name,omitempty"`
	ID    string `json:"id"`

	Quarantine *host.Quarantine `json:"quarantine,omitempty"` // the quarantine that was lifted
	Alarm      time.Time        `json:"alarm,omitzero"`       // when the parked alarm was set for, which runs now
}

// resume lets the object continue, if something holds it up.
func (p *program) resume(ctx context.Context, nc *nats.Conn, in *host.Inspector, id objects.ID, name string) error {
	info, err := in.Get(ctx, id, name)
	if err != nil {
		return err
	}
	done := resumed{OK: true, Class: info.Class, Name: info.Name, ID: info.ID, Quarantine: info.Quarantine}
	if info.Alarm.Parked {
		done.Alarm = info.Alarm.At
	}
	if held := done.Quarantine != nil || info.Alarm.Parked; held {
		if err := host.Resume(ctx, nc, id, name); err != nil {
			return err
		}
	}
	if p.json {
		return p.print(done)
	}
	object := info.Class + "/" + shown(info.Name)
	see := "get " + object
	if info.Name == "" {
		object, see = info.Class+"/"+info.ID, "get "+info.Class+" --id "+info.ID
	}
	_, err = fmt.Fprintf(p.stdout, "%s: %s\n  see: %s %s\n", object, done.said(), p.cfg.Name, see)
	return err
}

func (r resumed) said() string {
	var said []string
	if r.Quarantine != nil {
		said = append(said, fmt.Sprintf("its quarantine is lifted, after %s lost", count(int(r.Quarantine.OwnersLost), "owner")))
	}
	if !r.Alarm.IsZero() {
		said = append(said, "its alarm, set for "+r.Alarm.Format(time.RFC3339Nano)+", runs now")
	}
	if len(said) == 0 {
		return "nothing to do: it is in no quarantine, and its alarm is not parked"
	}
	return strings.Join(said, "; ")
}

func (p *program) lsCommand() *cobra.Command {
	var from natsFlags
	var limit int
	c := &cobra.Command{
		Use:   "ls [CLASS]",
		Short: "List the objects that are kept, and who owns them",
		Long: "List the objects that are kept, of one class or of all, and who owns them: read\n" +
			"from the store, without waking any. Of one whose record is damaged it says so;\n" +
			"`get` says why.",
		Example: p.examples("ls\nls ticket --limit 1000\nls --json"),
		Args:    cobra.MaximumNArgs(1),
		RunE: p.run(func(ctx context.Context, args []string) error {
			class := strings.Join(args, "")
			if _, err := objects.Class(class).ID("any"); class != "" && err != nil {
				return usage(fmt.Errorf("%.80q cannot be a class", class), "")
			}
			if limit < 1 {
				return usage(fmt.Errorf("--limit %d: want 1 or more", limit), "")
			}
			return p.inspect(ctx, from, func(ctx context.Context, _ *nats.Conn, in *host.Inspector) error { return p.ls(ctx, in, class, limit) })
		}),
	}
	from.add(c)
	c.ValidArgsFunction = p.completeClass(&from)
	c.Flags().IntVar(&limit, "limit", 100, "list at most so many")
	return c
}

// inspection is a command's work on the store.
type inspection func(context.Context, *nats.Conn, *host.Inspector) error

// objectCommand completes a command about one object, which the first argument or --id names. read parses the other
// arguments and the flags, and returns the action.
func (p *program) objectCommand(c *cobra.Command, read func(id objects.ID, name string, more []string) (inspection, error)) *cobra.Command {
	var from natsFlags
	var digits string
	c.RunE = p.run(func(ctx context.Context, args []string) error {
		id, name, err := parseObject(args[0], digits)
		if err != nil {
			return err
		}
		do, err := read(id, name, args[1:])
		if err != nil {
			return err
		}
		return p.inspect(ctx, from, do)
	})
	c.ValidArgsFunction = p.completeObject(&from)
	from.add(c)
	c.Flags().StringVar(&digits, "id", "", "id of the object, instead of its name")
	return c
}

// parseObject returns the object's id and, if the argument has it, the name.
func parseObject(arg, digits string) (id objects.ID, name string, err error) {
	class, name, named := strings.Cut(arg, "/")
	switch {
	case digits != "" && !named:
		id, err = objects.Class(class).ParseID(digits)
		return id, "", err
	case digits == "" && named:
		id, err = objects.Class(class).ID(name)
		return id, name, err
	}
	return id, "", usage(fmt.Errorf("%.80q: want CLASS/NAME, or CLASS with --id", arg), "")
}

// inspect connects and runs read.
func (p *program) inspect(ctx context.Context, from natsFlags, read inspection) error {
	nc, err := p.dial(ctx, from, atOnce, connection(p.cfg.Name+" inspects", adminUser, p.log)...)
	if err != nil {
		return err
	}
	defer nc.Close()
	in, err := host.Inspect(ctx, nc)
	if err == nil {
		err = read(ctx, nc, in)
	}
	_, known := errors.AsType[*objects.Error](err)
	if _, told := errors.AsType[*failure](err); err == nil || known || told || errors.Is(err, context.Canceled) {
		return err
	}
	return unreachable(err, "")
}

func (p *program) get(ctx context.Context, in *host.Inspector, id objects.ID, name string) error {
	info, err := in.Get(ctx, id, name)
	if objects.CodeOf(err) == objects.NotFound {
		return p.unknown(ctx, in, err)
	}
	if err != nil {
		return err
	}
	if p.json {
		return p.print(struct {
			OK bool `json:"ok"`
			host.Info
		}{true, info})
	}
	return writeObject(p.stdout, info, time.Now())
}

func writeObject(w io.Writer, info host.Info, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "%s/%s\n", info.Class, shown(info.Name))
	fmt.Fprintf(t, "  id\t%s\n", info.ID)
	fmt.Fprintf(t, "  owner\t%s\n", owner(info))
	fmt.Fprintf(t, "  epoch\t%d\n", info.Epoch)
	fmt.Fprintf(t, "  commit\t%d, revision %d\n", info.Commit, info.Revision)
	fmt.Fprintf(t, "  alarm\t%s\n", alarm(info.Alarm, now))
	if q := info.Quarantine; q != nil {
		fmt.Fprintf(t, "  quarantine\tnobody claims it before %s: its last %s were lost; `resume` lifts it\n",
			q.Until.Format(time.TimeOnly), count(int(q.OwnersLost), "owner"))
	}
	if !info.EventBegan.IsZero() {
		fmt.Fprintf(t, "  event\tone has run for %v and does not end; others wait\n", now.Sub(info.EventBegan).Round(time.Second))
	}
	if told := info.Told; told != nil {
		fmt.Fprintf(t, "  told\t%s on their way, %s, %d parked; remembers %s; `tells` shows them\n",
			count(told.Sending, "message"), count(told.Timers, "timer"), told.Parked, count(told.Marks, "sender"))
	}
	if n := len(info.Gateways); n > 0 {
		fmt.Fprintf(t, "  sockets\t%s may hold some: %s\n", count(n, "gateway"), shown(strings.Join(info.Gateways, ", ")))
	}
	kept := count(len(info.Keys), "key")
	if info.Database {
		kept += " and an SQL database"
	}
	fmt.Fprintf(t, "  size\t%s in %s\n", humanize.IBytes(uint64(info.Size)), kept)
	for _, key := range slices.Sorted(maps.Keys(info.Keys)) {
		fmt.Fprintf(t, "    %s\t%s\n", shown(key), value(info.Keys[key]))
	}
	for _, name := range slices.Sorted(maps.Keys(info.Blobs)) {
		fmt.Fprintf(t, "    %s\ta blob of %s\n", shown(name), humanize.IBytes(uint64(info.Blobs[name])))
	}
	return t.Flush()
}

// owner describes an object's owner, and whether it seems to be alive.
func owner(info host.Info) string {
	if info.Incarnation == "" {
		return "nobody"
	}
	lease := "no lease renewed lately"
	if info.Live {
		lease = "lease renewed"
	}
	return fmt.Sprintf("%s (%s), %s as of %s, incarnation %s",
		shown(info.Host), shown(info.Region), lease, info.AsOf.Format(time.TimeOnly), shown(info.Incarnation))
}

func alarm(a host.Alarm, now time.Time) string {
	next, pending := a.Next()
	said := ""
	switch {
	case pending:
		said = humanize.RelTime(next, now, "ago", "from now") + ", at " + next.Format(time.RFC3339Nano)
	case a.Parked && a.Lost > 0:
		said = fmt.Sprintf("parked: %s were lost in a row while it was due; it was set for %s; `resume` runs it", count(a.Lost, "owner"), a.At.Format(time.RFC3339Nano))
	case a.Parked:
		said = "parked after its last retry; it was set for " + a.At.Format(time.RFC3339Nano) + "; `resume` runs it"
	default:
		return "none"
	}
	if a.Retry > 0 {
		said += fmt.Sprintf(" (failed %d times)", a.Retry)
	}
	return said
}

// shown returns a client's text without characters that affect a terminal.
func shown(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

// value returns a stored value on one line of bounded length.
func value(raw json.RawMessage) string {
	const most = 120
	s := shown(string(raw))
	if runes := []rune(s); len(runes) > most {
		return fmt.Sprintf("%s… (%s)", string(runes[:most]), humanize.IBytes(uint64(len(raw))))
	}
	return s
}

func (p *program) ls(ctx context.Context, in *host.Inspector, class string, limit int) error {
	found := []host.Info{} // an empty list is [] in JSON
	more := false
	for info, err := range in.List(ctx, class) {
		if err != nil {
			return err
		}
		if more = len(found) == limit; more {
			break
		}
		found = append(found, info)
	}
	if len(found) == 0 && class != "" && !slices.Contains(p.classNames(), class) {
		if hosted, err := hostedClasses(ctx, in); err != nil || !slices.Contains(hosted, class) {
			return p.unknown(ctx, in, cmp.Or(err, error(objects.Errorf(objects.NotFound, "no host runs class %s, and nothing of it is kept", class))))
		}
	}
	if p.json {
		if more {
			p.log.Warn("there are more than the limit", "limit", limit)
		}
		return p.print(found)
	}
	if more {
		p.say("there are more: raise --limit %d", limit)
	}
	return writeList(p.stdout, found)
}

// unknown adds the existing classes to a failure, if nothing was found.
func (p *program) unknown(ctx context.Context, in *host.Inspector, err error) error {
	f := describe(err)
	if classes, failed := hostedClasses(ctx, in); failed == nil && f.exit == exitNotFound {
		f.hint = "no host is running"
		if len(classes) > 0 {
			f.hint = "classes with hosts: " + strings.Join(classes, ", ")
		}
	}
	return f
}

// hostedClasses returns the classes of live hosts.
func hostedClasses(ctx context.Context, in *host.Inspector) ([]string, error) {
	hosts, err := in.Hosts(ctx)
	if err != nil {
		return nil, err
	}
	var classes []string
	for _, h := range hosts {
		if h.Live {
			classes = append(classes, h.Classes...)
		}
	}
	slices.Sort(classes)
	return slices.Compact(classes), nil
}

func writeList(w io.Writer, found []host.Info) error {
	if len(found) == 0 {
		_, err := fmt.Fprintln(w, "nothing is kept")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "OBJECT\tOWNER\tEPOCH\tKEYS\tSIZE")
	for _, info := range found {
		called := shown(info.Name)
		if info.Name == "" {
			called = info.ID
		}
		if info.Damaged != "" {
			fmt.Fprintf(t, "%s/%s\tdamaged\t-\t-\t-\n", shown(info.Class), shown(called))
			continue
		}
		by := "-"
		if info.Incarnation != "" {
			by = fmt.Sprintf("%s (%s)", shown(info.Host), shown(info.Region))
			if !info.Live {
				by += " lease lapsed?"
			}
		}
		keys := strconv.Itoa(len(info.Keys))
		if info.Partial {
			keys = "many" // counting them would read the whole object
		}
		if info.Database {
			keys += ", SQL"
		}
		fmt.Fprintf(t, "%s/%s\t%s\t%d\t%s\t%s\n", info.Class, called, by, info.Epoch, keys, humanize.IBytes(uint64(info.Size)))
	}
	return t.Flush()
}
