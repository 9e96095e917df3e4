package app

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast/gateway"
)

// doorOptions are the flags that say which clients may use a gateway, and how much.
type doorOptions struct {
	origins, hosts []string
	proxies        []string
	trusted        []netip.Prefix // parsed
	limits         gateway.Limits
	idle           time.Duration
}

// add adds the flags. Their defaults are the program's own settings.
func (o *doorOptions) add(p *program, c *cobra.Command) {
	f := c.Flags()
	o.limits = p.cfg.Limits.WithDefaults()
	f.StringSliceVar(&o.origins, "origin", p.cfg.Origins, "further web origin whose pages may use the gateway, as https://example.org; on loopback its host is a name of this gateway")
	f.StringSliceVar(&o.hosts, "host", nil, "further name of a gateway that listens on loopback")
	f.StringSliceVar(&o.proxies, "trusted-proxy", nil, "address or network of the proxies in front, as 10.0.0.0/8: X-Forwarded-For and X-Forwarded-Proto are read from them alone")
	f.DurationVar(&o.idle, "idle-timeout", 75*time.Second, "how long a connection may wait for its next request; longer than a balancer in front keeps it")
	sizeFlag(f, &o.limits.Body, "max-body", "largest body of a request")
	sizeFlag(f, &o.limits.Header, "max-header", "largest line and headers of a request")
	sizeFlag(f, &o.limits.Frame, "max-frame", "largest message of a WebSocket's client")
	sizeFlag(f, &o.limits.Queue, "max-queue", "most that waits to be read by one WebSocket's client")
	sizeFlag(f, &o.limits.Memory, "max-memory", "most that large bodies take while they are received, all together")
	f.IntVar(&o.limits.Streams, "max-streams", o.limits.Streams, "most responses that are written while they are read, all together; each takes up to 256 KiB")
	f.IntVar(&o.limits.Conns, "max-conns", o.limits.Conns, "most connections, WebSockets among them")
	f.IntVar(&o.limits.ConnsPer, "max-conns-per-address", o.limits.ConnsPer, "most connections of one address; an IPv6 address counts as its /64, loopback has no limit")
	f.IntVar(&o.limits.NewPer, "max-new-per-address", o.limits.NewPer, "most objects that one address brings into being in a second")
}

// check parses and checks the flags.
func (o *doorOptions) check() error {
	for _, origin := range o.origins {
		if err := gateway.CheckOrigin(origin); err != nil {
			return usage(fmt.Errorf("--origin %w", err), "")
		}
	}
	for _, host := range o.hosts {
		if host == "" || strings.ContainsAny(host, "/:* ") {
			return usage(fmt.Errorf("--host %.80q: want a name without scheme and port, as example.org", host), "")
		}
	}
	o.trusted = nil
	for _, proxy := range o.proxies {
		network, err := netip.ParsePrefix(proxy)
		if ip, plain := netip.ParseAddr(proxy); plain == nil {
			network, err = netip.PrefixFrom(ip, ip.BitLen()), nil
		}
		if err != nil {
			return usage(fmt.Errorf("--trusted-proxy %.80q: want an address or a network, as 10.0.0.0/8", proxy), "")
		}
		o.trusted = append(o.trusted, network.Masked())
	}
	for name, n := range map[string]int{"max-streams": o.limits.Streams, "max-conns": o.limits.Conns, "max-conns-per-address": o.limits.ConnsPer, "max-new-per-address": o.limits.NewPer} {
		if n < 1 {
			return usage(fmt.Errorf("--%s %d: want 1 or more", name, n), "")
		}
	}
	if o.idle < time.Second {
		return usage(fmt.Errorf("--idle-timeout %v: want 1s or more", o.idle), "")
	}
	return nil
}

// configure sets the flags in a gateway's configuration.
func (o *doorOptions) configure(cfg *gateway.Config) {
	cfg.Origins, cfg.Hosts, cfg.Proxies, cfg.Limits, cfg.Idle = o.origins, o.hosts, o.trusted, o.limits, o.idle
}
