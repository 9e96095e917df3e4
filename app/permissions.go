package app

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"holdfast/embedded"
	"holdfast/gateway"
	"holdfast/internal/bucket"
	"holdfast/internal/wire"
)

// The NATS users, and the inboxes of their connections.
const (
	hostUser  = "host"
	stateUser = "state"
	adminUser = "admin"
)

// natsUser is a NATS user with its permissions.
type natsUser struct {
	Name      string   `json:"user"`
	About     string   `json:"about"`
	Publish   []string `json:"publish"`
	Subscribe []string `json:"subscribe"`
}

// streams are the hosts' streams.
var streams = []string{bucket.Records().Stream(), bucket.Leases().Stream(), "HF_ALARMS"}

// natsUsers returns the users of a deployment. Each gateway inbox is a user of its own. With foil, gateways may use the
// demo's buckets, and no other stored data.
func natsUsers(inboxes []string, foil bool) (users []natsUser) {
	ask := []string{"hf.o.*.*.g", "hf.claim.*.*", "hf.hosts", "hf.hosts.*", "hf.host.*"}
	for _, inbox := range inboxes {
		u := natsUser{
			Name: inbox, About: "gateways: ask objects, and hear what is meant for them",
			Publish:   slices.Concat(ask, []string{wire.BeatSubject, wire.LaneInbox("*") + wire.Acks, wire.LaneInbox("*") + wire.Hold, wire.BodySubject("*")}),
			Subscribe: []string{wire.InboxPrefix + inbox + ".>", wire.GatewayInbox(inbox) + ">"},
		}
		if foil {
			u.allowDemo(inboxes)
		}
		users = append(users, u)
	}
	host := natsUser{
		Name: hostUser, About: "hosts: be asked, answer, and ask other objects",
		Publish:   slices.Concat([]string{"hf.o.*.*.h"}, ask[1:], []string{wire.InboxPrefix + ">"}),
		Subscribe: []string{"hf.o.>", "hf.claim.*.*", "hf.hosts", "hf.hosts.*", "hf.host.*", wire.BeatSubject, "hf.lease.echo.*", wire.InboxPrefix + "*.*.*", wire.LaneInbox("*") + ">", wire.BodySubject("*"), wire.InboxPrefix + hostUser + ".>"},
	}
	records, leases := bucket.Records(), bucket.Leases()
	state := natsUser{
		Name: stateUser, About: "hosts, on the connection that writes (--state-nats): records, leases and alarms",
		Publish: []string{"$JS.API.INFO", records.Subject(">"), leases.Subject(">"), "hf.alarm.at.*.*", "hf.lease.echo.*", "$JS.ACK.HF_ALARMS.>", "$JS.FC." + leases.Stream() + ".>",
			"$JS.API.STREAM.PURGE.HF_ALARMS", "$JS.API.STREAM.PURGE." + records.Stream(), "$JS.API.DIRECT.GET." + records.Stream() + ".>"},
		Subscribe: []string{wire.InboxPrefix + stateUser + ".>"},
	}
	for _, stream := range streams {
		for _, call := range []string{"STREAM.INFO.", "STREAM.CREATE.", "STREAM.UPDATE.", "STREAM.MSG.GET."} {
			state.Publish = append(state.Publish, "$JS.API."+call+stream)
		}
		if stream != records.Stream() { // whose entries are read one by one
			for _, call := range []string{"CONSUMER.CREATE.", "CONSUMER.INFO.", "CONSUMER.DELETE.", "CONSUMER.MSG.NEXT."} {
				state.Publish = append(state.Publish, "$JS.API."+call+stream+".>")
			}
			state.Publish = append(state.Publish, "$JS.API.CONSUMER.CREATE."+stream)
		}
	}
	admin := natsUser{Name: adminUser, About: "people: get, ls, resume", Publish: []string{">"}, Subscribe: []string{">"}}
	return append(users, host, state, admin)
}

// allowDemo lets a gateway use the demo's buckets, and race together with other gateways.
func (u *natsUser) allowDemo(inboxes []string) {
	u.Publish = append(u.Publish, "$JS.API.INFO", "hf.demo.>")
	u.Subscribe = append(u.Subscribe, "hf.demo.>")
	for _, demo := range []bucket.Name{"HF_FOIL", "HF_RUNS"} {
		stream := demo.Stream()
		u.Publish = append(u.Publish, "$JS.API.STREAM.INFO."+stream, "$JS.API.STREAM.CREATE."+stream, "$JS.API.STREAM.MSG.GET."+stream,
			"$JS.API.DIRECT.GET."+stream+".>", demo.Subject(">"))
	}
	for _, inbox := range inboxes {
		u.Publish = append(u.Publish, wire.InboxPrefix+inbox+".r.>") // the gateways' answers to each other
	}
}

func (p *program) permissionsCommand() *cobra.Command {
	var inboxes []string
	var foil bool
	c := &cobra.Command{
		Use:   "permissions",
		Short: "Print the NATS users of a deployment, and what each may do",
		Long: "Print the NATS users of a deployment, and what each may do, as nats-server's\n" +
			"configuration or as JSON: one for gateways, two for a host's connections, and one\n" +
			"for people. Passwords are read from the server's environment. Gateways that are not\n" +
			"to hear each other have users of their own: name them, and give each gateway its\n" +
			"name as --inbox.",
		Example: p.examples("nats permissions > users.conf\nnats permissions --inbox fra,syd --foil\nnats permissions --json"),
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			p.began = true
			if err := checkInboxes(inboxes); err != nil {
				return err
			}
			users := natsUsers(inboxes, foil)
			if p.json {
				return p.print(map[string]any{"ok": true, "users": users})
			}
			_, err := io.WriteString(p.stdout, configOf(users))
			return err
		},
	}
	c.Flags().StringSliceVar(&inboxes, "inbox", []string{gateway.DefaultInbox}, "inboxes of the gateways; each makes a user of that name")
	c.Flags().BoolVar(&foil, "foil", false, "let gateways use the demo's buckets, the counters on plain KV among them, and race together")
	return c
}

func checkInboxes(inboxes []string) error {
	seen := map[string]bool{hostUser: true, stateUser: true, adminUser: true}
	for _, inbox := range inboxes {
		if err := wire.CheckInbox(inbox); err != nil {
			return usage(fmt.Errorf("--inbox: %w", err), "")
		}
		if seen[inbox] {
			return usage(fmt.Errorf("--inbox %s: another user has that name", inbox), "")
		}
		seen[inbox] = true
	}
	if len(inboxes) == 0 {
		return usage(errors.New("--inbox is empty"), "")
	}
	return nil
}

// configOf returns users in the form of nats-server's configuration.
func configOf(users []natsUser) string {
	var out strings.Builder
	list := func(what string, subjects []string) {
		fmt.Fprintf(&out, "        %s: { allow: [\n", what)
		for _, subject := range subjects {
			fmt.Fprintf(&out, "          %q\n", subject)
		}
		out.WriteString("        ] }\n")
	}
	out.WriteString("# NATS users of Holdfast. Include it in the server's configuration, or put the users into an account that has JetStream.\n" +
		"# Each password is an environment variable of the server; an nkey, a certificate or a JWT does as well.\nauthorization {\n  users: [\n")
	for _, u := range users {
		fmt.Fprintf(&out, "    # %s\n    {\n      user: %q\n      password: $HF_%s_PASSWORD\n      permissions: {\n", u.About, u.Name, strings.ToUpper(strings.ReplaceAll(u.Name, "-", "_")))
		list("publish", u.Publish)
		list("subscribe", u.Subscribe)
		out.WriteString("      }\n    }\n")
	}
	out.WriteString("  ]\n}\n")
	return out.String()
}

// guests are the users of an embedded server that listens beyond loopback. Each user has a file, which is a context of
// the nats command: whoever has the file is that user.
type guests struct {
	dir   string
	users []embedded.User
}

// guestsOf returns the users of a server that listens at a host; none if only this machine reaches the server.
// Passwords are kept in the directory of the store; existing files are used as they are.
func guestsOf(host, store string) (*guests, error) {
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil, nil
	}
	if store == memoryStore || store == "" {
		store = defaultStore
	}
	g := &guests{dir: filepath.Join(store, "users")}
	for _, u := range natsUsers([]string{gateway.DefaultInbox}, true) {
		was, err := g.read(u.Name)
		if err != nil {
			return nil, err
		}
		if was.Password == "" {
			was.Password = rand.Text()
		}
		g.users = append(g.users, embedded.User{Name: u.Name, Password: was.Password, Publish: u.Publish, Subscribe: u.Subscribe})
	}
	return g, nil
}

// phrase says where the users' files are, for people.
func (g *guests) phrase() string {
	if g == nil {
		return ""
	}
	return " · users: " + g.dir + " (--context " + g.file(gateway.DefaultInbox) + ")"
}

// natsContext is the part of the nats command's context that we write.
type natsContext struct {
	Description string `json:"description"`
	URL         string `json:"url"`
	User        string `json:"user"`
	Password    string `json:"password"`
}

func (g *guests) file(user string) string { return filepath.Join(g.dir, user+".json") }

// read returns a user's context as written; zero if there is none.
func (g *guests) read(user string) (c natsContext, err error) {
	data, err := os.ReadFile(g.file(user))
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err != nil {
		return c, fmt.Errorf("read the NATS user %s: %w", user, err)
	}
	return c, nil
}

// write writes the users' contexts, for a server at this port.
func (g *guests) write(server *embedded.Server) error {
	if err := os.MkdirAll(g.dir, 0o700); err != nil {
		return fmt.Errorf("write the NATS users: %w", err)
	}
	url := server.URL()
	if host, port, err := net.SplitHostPort(strings.TrimPrefix(url, "nats://")); err == nil && net.ParseIP(host).IsUnspecified() {
		if machine, err := os.Hostname(); err == nil {
			url = "nats://" + net.JoinHostPort(machine, port)
		}
	}
	for _, u := range g.users {
		data, err := json.MarshalIndent(natsContext{"Holdfast's user " + u.Name, url, u.Name, u.Password}, "", "  ")
		if err == nil {
			err = os.WriteFile(g.file(u.Name), append(data, '\n'), 0o600)
		}
		if err != nil {
			return fmt.Errorf("write the NATS user %s: %w", u.Name, err)
		}
	}
	return nil
}
