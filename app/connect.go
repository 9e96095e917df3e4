package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"holdfast/internal/link"
	"holdfast/internal/wire"
	"holdfast/objects"
)

const (
	// devServer begins the names of the servers that `dev` and `nats` start; the
	// region in which the server stands follows. What joins it goes by that.
	devServer = "holdfast-dev-"
	// devTTL is the lease of hosts on such a server: shorter, to be watched.
	devTTL = 2 * time.Second

	defaultNATS = "nats://127.0.0.1:4222"

	reachWithin = 5 * time.Second
	dialTimeout = 3 * time.Second
)

// natsFlags say where NATS is and how a connection tells it who we are: by files, because
// everybody on the machine can read a command line.
type natsFlags struct {
	url                    string
	creds, nkey, cert, key string
	ca                     string
	prefix                 string // of the flags of the identity: "" or "state-"
}

// add adds --nats, which NATS_URL gives another default, and the flags of the identity.
func (n *natsFlags) add(c *cobra.Command) {
	otherwise := defaultNATS
	if env := os.Getenv("NATS_URL"); env != "" {
		otherwise = env
	}
	f := c.Flags()
	f.StringVar(&n.url, "nats", otherwise, "where NATS is, or several, with commas; default also from NATS_URL")
	f.Lookup("nats").DefValue = withoutSecrets(otherwise) // it is what --help shows
	f.StringVar(&n.creds, "creds", "", "file of the NATS user's JWT and seed")
	f.StringVar(&n.nkey, "nkey", "", "file of the NATS user's seed")
	f.StringVar(&n.cert, "tls-cert", "", "file of our certificate for NATS; with --tls-key")
	f.StringVar(&n.key, "tls-key", "", "file of its key")
	f.StringVar(&n.ca, "tls-ca", "", "file of the authorities that NATS's certificate may be from")
}

// addState adds the flags of a second connection, on which state is written.
func (n *natsFlags) addState(c *cobra.Command) {
	n.prefix = "state-"
	f := c.Flags()
	f.StringVar(&n.url, "state-nats", "", "where records are written, if other credentials may do that; default: --nats")
	f.StringVar(&n.creds, "state-creds", "", "as --creds, for --state-nats, which without a user of its own has that of --nats")
	f.StringVar(&n.nkey, "state-nkey", "", "as --nkey, for --state-nats")
	f.StringVar(&n.cert, "state-tls-cert", "", "as --tls-cert, for --state-nats; --tls-ca holds for both")
	f.StringVar(&n.key, "state-tls-key", "", "as --tls-key, for --state-nats")
}

// orElse is n with what it lacks taken from another connection. A user, who may be named
// by a URL, a file or a certificate, replaces the other's; a certificate alone replaces
// the other's certificate, which servers may want beside any user.
func (n natsFlags) orElse(other natsFlags) natsFlags {
	if n.creds+n.nkey+n.cert+n.key == "" && !strings.Contains(n.url, "@") {
		n.creds, n.nkey = other.creds, other.nkey
	}
	if n.cert+n.key == "" {
		n.cert, n.key = other.cert, other.key
	}
	if n.url == "" {
		n.url = other.url
	}
	n.ca = other.ca
	return n
}

// options are those of nats.go for the identity.
func (n natsFlags) options() (opts []nats.Option, err error) {
	for flag, file := range map[string]string{n.prefix + "creds": n.creds, n.prefix + "nkey": n.nkey, "tls-ca": n.ca, n.prefix + "tls-cert": n.cert, n.prefix + "tls-key": n.key} {
		if file == "" {
			continue
		}
		if _, err := os.Stat(file); err != nil {
			return nil, usage(fmt.Errorf("--%s: %w", flag, err), "")
		}
	}
	if (n.cert == "") != (n.key == "") {
		return nil, usage(fmt.Errorf("--%stls-cert and --%[1]stls-key belong together", n.prefix), "")
	}
	if n.creds != "" && n.nkey != "" {
		return nil, usage(fmt.Errorf("--%screds and --%[1]snkey are two ways to say one thing", n.prefix), "")
	}
	if n.creds != "" {
		opts = append(opts, nats.UserCredentials(n.creds))
	}
	if n.nkey != "" {
		opt, err := nats.NkeyOptionFromSeed(n.nkey)
		if err != nil {
			return nil, usage(fmt.Errorf("--%snkey: %w", n.prefix, err), "")
		}
		opts = append(opts, opt)
	}
	if n.ca != "" {
		opts = append(opts, nats.RootCAs(n.ca))
	}
	if n.cert != "" {
		opts = append(opts, nats.ClientCert(n.cert, n.key))
	}
	return opts, nil
}

// connection is what every connection of ours has in common. It keeps nothing for
// later while NATS is away: what is published has to be true when it is sent, not
// when it arrives, and what could not be sent certainly did not happen.
func connection(name string, log *slog.Logger) []nats.Option {
	log = log.With("connection", name)
	return []nats.Option{
		nats.Name(name),
		nats.MaxReconnects(-1),
		nats.ReconnectBufSize(-1),
		nats.ReconnectWait(200 * time.Millisecond),
		nats.PingInterval(2 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.Timeout(dialTimeout),
		nats.NoCallbacksAfterClientClose(),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { log.Warn("NATS lost; reconnecting", "err", err) }),
		nats.ReconnectHandler(func(nc *nats.Conn) { log.Info("NATS reached again", "server", nc.ConnectedServerName()) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			log.Warn("NATS complained", "subject", subject, "err", err)
		}),
	}
}

// dial reaches NATS over TCP; it tries for five seconds.
func (p *program) dial(ctx context.Context, to natsFlags, opts ...nats.Option) (*nats.Conn, error) {
	own, err := to.options()
	if err != nil {
		return nil, err
	}
	opts = append(opts, own...)
	within, cancel := context.WithTimeout(ctx, reachWithin)
	defer cancel()
	for tries := 1; ; tries++ {
		nc, err := nats.Connect(to.url, opts...)
		if err == nil {
			return nc, nil
		}
		if !worthAnotherTry(err) || !wire.Pause(within, 250*time.Millisecond) {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, p.noNATS(to.url, tries, err)
		}
	}
}

// worthAnotherTry tells whether a server may only be late.
func worthAnotherTry(err error) bool {
	return errors.Is(err, nats.ErrNoServers) || errors.Is(err, nats.ErrTimeout) || strings.HasPrefix(err.Error(), "dial ")
}

func (p *program) noNATS(where string, tries int, err error) error {
	cause := err.Error()
	if errors.Is(err, nats.ErrNoServers) {
		cause = "nobody listens there"
	} else if _, unreadable := errors.AsType[*url.Error](err); unreadable {
		cause = "it is not a URL" // and the error repeats what it cannot read, a password too
	}
	if tries > 1 {
		cause = fmt.Sprintf("%s (%d tries in %v)", cause, tries, reachWithin)
	}
	said := fmt.Errorf("cannot reach NATS at %s: %s", withoutSecrets(where), cause)
	switch {
	case errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) || errors.Is(err, nats.ErrAuthRevoked):
		return &failure{code: string(objects.Forbidden), exit: exitDenied, err: said,
			hint: "say who asks:   --creds FILE, --nkey FILE or --tls-cert FILE, or a user in the URL"}
	case errors.Is(err, nats.ErrTLS) || strings.Contains(cause, "tls: "): // the server's own word has no type
		return unreachable(said, "who signed NATS's certificate:   --tls-ca FILE\nours, if NATS asks for one:      --tls-cert FILE --tls-key FILE")
	}
	return unreachable(said,
		fmt.Sprintf("start one:      %s nats\nor everything:  %s dev\nor say where:   --nats nats://host:4222", p.cfg.Name, p.cfg.Name))
}

// withoutSecrets is a list of URLs that may be shown.
func withoutSecrets(list string) string {
	all := strings.Split(list, ",")
	for i, one := range all {
		one = strings.TrimSpace(one)
		bare := !strings.Contains(one, "://") // nats.go takes a URL without its scheme
		if bare {
			one = "nats://" + one
		}
		u, err := url.Parse(one)
		if err != nil {
			all[i] = "a URL that cannot be read"
			continue
		}
		if u.User != nil {
			u.User = url.User("xxxxx")
		}
		if all[i] = u.String(); bare {
			all[i] = strings.TrimPrefix(all[i], "nats://")
		}
	}
	return strings.Join(all, ",")
}

// emulation reads --rtt and makes sure that the regions can be used with it.
func emulation(rtt string, regions ...string) (link.Setting, error) {
	setting, err := link.Parse(rtt)
	if err != nil {
		return setting, usage(err, "")
	}
	for _, region := range regions {
		if region == "" {
			return setting, usage(errors.New("no region given"), "say where it stands: --region fra")
		}
		if err := wire.CheckRegion(region); err != nil {
			return setting, usage(err, "")
		}
		if _, err := setting.Between(region, region); err != nil {
			return setting, usage(err, "any name will do with --rtt 0 or --rtt 40ms")
		}
	}
	return setting, nil
}

// distance is the round trip to pay between a region and the server of a
// connection. With the table only our own servers are far away: a real one is
// where it is.
func distance(setting link.Setting, region, server string) (rtt time.Duration, stands string, err error) {
	stands, ours := strings.CutPrefix(server, devServer)
	if setting.Off() || !ours && setting == (link.Setting{}) {
		return 0, stands, nil
	}
	if !ours {
		stands = ""
	}
	rtt, err = setting.Between(region, stands)
	if err != nil {
		err = usage(fmt.Errorf("NATS stands in a region of its own naming: %w", err), "join it with --rtt 0 or --rtt 40ms")
	}
	return rtt, stands, err
}

// timing is what gateways and hosts on a server must agree on.
func timing(server string) wire.Timing {
	if strings.HasPrefix(server, devServer) {
		return wire.Timing{TTL: devTTL}
	}
	return wire.Timing{}
}
