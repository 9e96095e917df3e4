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

// identity is how a process tells NATS who it is, by files: what stands on a command
// line can be read by everybody on the machine.
type identity struct{ creds, nkey, ca, cert, key string }

// options are those of nats.go.
func (i identity) options() (opts []nats.Option, err error) {
	for flag, file := range map[string]string{"creds": i.creds, "nkey": i.nkey, "tls-ca": i.ca, "tls-cert": i.cert, "tls-key": i.key} {
		if file == "" {
			continue
		}
		if _, err := os.Stat(file); err != nil {
			return nil, usage(fmt.Errorf("--%s: %w", flag, err), "")
		}
	}
	if (i.cert == "") != (i.key == "") {
		return nil, usage(errors.New("--tls-cert and --tls-key belong together"), "")
	}
	if i.creds != "" && i.nkey != "" {
		return nil, usage(errors.New("--creds and --nkey are two ways to say one thing"), "")
	}
	if i.creds != "" {
		opts = append(opts, nats.UserCredentials(i.creds))
	}
	if i.nkey != "" {
		opt, err := nats.NkeyOptionFromSeed(i.nkey)
		if err != nil {
			return nil, usage(fmt.Errorf("--nkey: %w", err), "")
		}
		opts = append(opts, opt)
	}
	if i.ca != "" {
		opts = append(opts, nats.RootCAs(i.ca))
	}
	if i.cert != "" {
		opts = append(opts, nats.ClientCert(i.cert, i.key))
	}
	return opts, nil
}

// natsFlag adds --nats, which NATS_URL gives another default, and the flags of the
// program's identity.
func (p *program) natsFlag(c *cobra.Command, to *string) {
	f := c.Flags()
	f.StringVar(&p.identity.creds, "creds", "", "file of the NATS user's JWT and seed")
	f.StringVar(&p.identity.nkey, "nkey", "", "file of the NATS user's seed")
	f.StringVar(&p.identity.ca, "tls-ca", "", "file of the authorities that NATS's certificate may be from")
	f.StringVar(&p.identity.cert, "tls-cert", "", "file of our certificate for NATS; with --tls-key")
	f.StringVar(&p.identity.key, "tls-key", "", "file of its key")

	otherwise := defaultNATS
	if env := os.Getenv("NATS_URL"); env != "" {
		otherwise = env
	}
	c.Flags().StringVar(to, "nats", otherwise, "where NATS is, or several, with commas; default also from NATS_URL")
	c.Flags().Lookup("nats").DefValue = withoutSecrets(otherwise) // it is what --help shows
}

// checkOrigins refuses a web origin that no browser can send: a scheme, a host and, if
// it is not the scheme's own, a port are all that an origin has.
func checkOrigins(origins []string) error {
	for _, origin := range origins {
		u, err := url.Parse(origin)
		web := err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != ""
		own := web && (u.Scheme == "http" && u.Port() == "80" || u.Scheme == "https" && u.Port() == "443")
		if !web || own || strings.ContainsAny(u.Host, "*, ") || strings.HasSuffix(u.Host, ":") || !strings.EqualFold(origin, u.Scheme+"://"+u.Host) {
			return usage(fmt.Errorf("--origin %.80q can never match", withoutSecrets(origin)),
				"an origin is a scheme, a host and a port that is not the usual one: --origin https://example.org")
		}
	}
	return nil
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
func (p *program) dial(ctx context.Context, url string, opts ...nats.Option) (*nats.Conn, error) {
	own, err := p.identity.options()
	if err != nil {
		return nil, err
	}
	opts = append(opts, own...)
	within, cancel := context.WithTimeout(ctx, reachWithin)
	defer cancel()
	for tries := 1; ; tries++ {
		nc, err := nats.Connect(url, opts...)
		if err == nil {
			return nc, nil
		}
		if !worthAnotherTry(err) || !wire.Pause(within, 250*time.Millisecond) {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, p.noNATS(url, tries, err)
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
	return unreachable(fmt.Errorf("cannot reach NATS at %s: %s", withoutSecrets(where), cause),
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
