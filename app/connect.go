package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"
	"github.com/synadia-io/orbit.go/natscontext"

	"holdfast/internal/link"
	"holdfast/internal/wire"
	"holdfast/objects"
)

const (
	// devServer begins the names of the servers that `dev` and `nats` start; the server's region follows. Gateways and
	// hosts that join read the region from the name.
	devServer = "holdfast-dev-"
	// devTTL is the TTL of leases on such a server: short, so that takeovers can be watched.
	devTTL = 2 * time.Second

	defaultNATS = "nats://127.0.0.1:4222"

	reachWithin = 5 * time.Second // how long a serving process tries to reach NATS
	atOnce      = 0 * time.Second // a command for a person does not try again
	dialTimeout = 3 * time.Second
)

// natsFlags say where NATS is and how a connection authenticates: by files, because everybody on the machine can read a
// command line. A context is a file of the nats command, which says both.
type natsFlags struct {
	url                    string
	context                string
	creds, nkey, cert, key string
	ca                     string
	prefix                 string // of the flags of the identity: "" or "state-"
	urlGiven               func() bool
}

// add adds --nats and the flags of the identity. Their defaults are environment variables with the names that the nats
// command uses.
func (n *natsFlags) add(c *cobra.Command) {
	n.urlFlag(c, "nats", "NATS_URL", defaultNATS, "where NATS is, or several, with commas; also NATS_URL")
	n.identity(c, "")
	fileFlag(c, &n.ca, "tls-ca", "NATS_CA", "file of the authorities that NATS's certificate may be from; also NATS_CA")
}

// addState adds the flags of a second connection, on which state is written.
func (n *natsFlags) addState(c *cobra.Command) {
	n.prefix = "state-"
	n.urlFlag(c, "state-nats", "STATE_NATS_URL", "", "where records are written, if another user may do that; also STATE_NATS_URL; default: --nats")
	n.identity(c, "; of the connection on which records are written, which without a user of its own has that of --nats")
}

// urlFlag adds the flag that says where NATS is.
func (n *natsFlags) urlFlag(c *cobra.Command, name, env, otherwise, help string) {
	if set := os.Getenv(env); set != "" {
		otherwise = set
	}
	f := c.Flags()
	f.StringVar(&n.url, name, otherwise, help)
	f.Lookup(name).DefValue = withoutSecrets(otherwise) // --help shows it
	n.urlGiven = func() bool { return f.Changed(name) }
}

// identity adds the flags of the identity.
func (n *natsFlags) identity(c *cobra.Command, whose string) {
	flag := func(to *string, name, env, help string) {
		env = strings.ToUpper(strings.ReplaceAll(n.prefix, "-", "_")) + env
		fileFlag(c, to, n.prefix+name, env, help+"; also "+env+whose)
	}
	flag(&n.context, "context", "NATS_CONTEXT", "context of the nats command, by its name or its file: where NATS is and who we are")
	flag(&n.creds, "creds", "NATS_CREDS", "file of the NATS user's JWT and seed")
	flag(&n.nkey, "nkey", "NATS_NKEY", "file of the NATS user's seed")
	flag(&n.cert, "tls-cert", "NATS_CERT", "file of our certificate for NATS, with "+n.prefix+"tls-key")
	flag(&n.key, "tls-key", "NATS_KEY", "file of its key")
}

func fileFlag(c *cobra.Command, to *string, name, env, help string) {
	c.Flags().StringVar(to, name, os.Getenv(env), help)
}

// orElse returns n, with what n leaves open taken from another connection. A user, who may be named by a URL, a file or
// a certificate, replaces the other's. A certificate alone replaces only the other's certificate, which servers may
// require beside any user. A context replaces everything.
func (n natsFlags) orElse(other natsFlags) natsFlags {
	if n.context != "" {
		return n
	}
	if n.creds+n.nkey+n.cert+n.key+n.url == "" {
		n.context = other.context
	}
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

// connect opens a connection.
func (n natsFlags) connect(opts []nats.Option) (*nats.Conn, error) {
	if n.context == "" || n.urlGiven() {
		return nats.Connect(n.url, opts...)
	}
	name := n.context
	if filepath.Ext(name) == ".json" { // the package takes a file by its whole path only
		if path, err := filepath.Abs(name); err == nil {
			name = path
		}
	}
	nc, settings, err := natscontext.Connect(name, opts...)
	switch {
	case err != nil && nc == nil && !isConnectionError(err):
		return nil, usage(fmt.Errorf("--%scontext %.80q: %w", n.prefix, n.context, err), "")
	case err != nil:
		return nil, err
	case settings.JSDomain+settings.JSAPIPrefix != "":
		nc.Close()
		return nil, usage(fmt.Errorf("--%scontext %.80q: it names a JetStream domain or API prefix, and Holdfast uses the account's own JetStream", n.prefix, n.context), "")
	}
	return nc, nil
}

// isConnectionError reports whether an error is of the connection, not of a context.
func isConnectionError(err error) bool {
	_, address := errors.AsType[*url.Error](err)
	return worthAnotherTry(err) || address || strings.HasPrefix(err.Error(), "nats: ") || strings.Contains(err.Error(), "tls: ")
}

// where describes the target of a connection, for people.
func (n natsFlags) where() string {
	if n.context != "" && !n.urlGiven() {
		return fmt.Sprintf("context %.80q", n.context)
	}
	return withoutSecrets(n.url)
}

// checkURL refuses a URL that is not of NATS.
func (n natsFlags) checkURL() error {
	for one := range strings.SplitSeq(n.url, ",") {
		scheme, _, named := strings.Cut(strings.TrimSpace(one), "://")
		if named && !slices.Contains([]string{"nats", "tls", "ws", "wss"}, strings.ToLower(scheme)) {
			return usage(fmt.Errorf("--%snats %s: NATS does not speak %.20q", n.prefix, withoutSecrets(one), scheme), "say where it is: --"+n.prefix+"nats nats://host:4222")
		}
	}
	return nil
}

// options returns nats.go's options for the identity.
func (n natsFlags) options() (opts []nats.Option, err error) {
	if n.context != "" && !n.urlGiven() && n.creds+n.nkey+n.cert+n.key != "" {
		return nil, usage(fmt.Errorf("--%scontext says who we are: no other flag or variable may", n.prefix), "")
	}
	if err := n.checkURL(); err != nil {
		return nil, err
	}
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

// connection returns the options that all our connections share. A connection buffers nothing while NATS cannot be
// reached: a message must be true when it is sent, not when it arrives, and a message that could not be sent certainly
// had no effect.
func connection(name, inbox string, log *slog.Logger) []nats.Option {
	log = log.With("connection", name)
	return []nats.Option{
		nats.Name(name),
		nats.CustomInboxPrefix(wire.InboxPrefix + inbox + ".r"), // a user may subscribe only below _HF.<inbox>
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
			log.Warn("NATS reported an error", "subject", subject, "err", err)
		}),
	}
}

// dial connects to NATS over TCP. While nothing listens, it tries again until within is over.
func (p *program) dial(ctx context.Context, to natsFlags, within time.Duration, opts ...nats.Option) (*nats.Conn, error) {
	own, err := to.options()
	if err != nil {
		return nil, err
	}
	opts = append(opts, own...)
	trying, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for tries := 1; ; tries++ {
		nc, err := to.connect(opts)
		if err == nil {
			return nc, nil
		}
		if !worthAnotherTry(err) || !wire.Pause(trying, 250*time.Millisecond) {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if _, told := errors.AsType[*failure](err); told {
				return nil, err
			}
			return nil, p.noNATS(to.where(), tries, err)
		}
	}
}

// worthAnotherTry reports whether a later attempt may succeed: the server may not have started yet, or may be too
// busy to answer in time.
func worthAnotherTry(err error) bool {
	if failed, ok := errors.AsType[*net.OpError](err); ok { // a TLS alert is a net.OpError too, and does not go away
		return failed.Op == "dial" || failed.Op == "read" || failed.Op == "write"
	}
	return errors.Is(err, nats.ErrNoServers) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, io.EOF)
}

func (p *program) noNATS(where string, tries int, err error) error {
	cause := err.Error()
	if errors.Is(err, nats.ErrNoServers) {
		cause = "nobody listens there"
	} else if _, unreadable := errors.AsType[*url.Error](err); unreadable {
		cause = "it is not a URL" // the error would repeat the text that it cannot parse, a password too
	}
	if tries > 1 {
		cause = fmt.Sprintf("%s (%d tries in %v)", cause, tries, reachWithin)
	}
	said := fmt.Errorf("cannot reach NATS at %s: %s", where, cause)
	switch {
	case errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) || errors.Is(err, nats.ErrAuthRevoked):
		return &failure{code: string(objects.Forbidden), exit: exitDenied, err: said,
			hint: "say who asks:   --context NAME, --creds FILE, --nkey FILE or --tls-cert FILE, or a user in the URL"}
	case errors.Is(err, nats.ErrTLS) || strings.Contains(cause, "tls: "): // the server's message has no type
		return unreachable(said, "who signed NATS's certificate:   --tls-ca FILE\nours, if NATS asks for one:      --tls-cert FILE --tls-key FILE")
	}
	return unreachable(said,
		fmt.Sprintf("start one:      %s nats\nor everything:  %s dev\nor say where:   --nats nats://host:4222", p.cfg.Name, p.cfg.Name))
}

// withoutSecrets returns a list of URLs without passwords.
func withoutSecrets(list string) string {
	all := strings.Split(list, ",")
	for i, one := range all {
		one = strings.TrimSpace(one)
		bare := !strings.Contains(one, "://") // nats.go accepts a URL without its scheme
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

// emulation parses --rtt and checks that the regions can be used with it.
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

// distance returns the simulated round trip between a region and the server of a connection. With the table, only
// servers of `dev` and `nats` have one: a real server has its real distance.
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

// timing returns the durations that gateways and hosts on a server must share.
func timing(server string) wire.Timing {
	if strings.HasPrefix(server, devServer) {
		return wire.Timing{TTL: devTTL}
	}
	return wire.Timing{}
}
