package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/spf13/cobra"

	"holdfast/gateway"
	"holdfast/internal/link"
)

// gatewayOptions are the flags of gateway.
type gatewayOptions struct {
	nats                natsFlags
	door                doorOptions
	region, listen, rtt string
	inbox               string
	ops                 string
	demo                bool
}

func (p *program) gatewayCommand() *cobra.Command {
	var o gatewayOptions
	c := &cobra.Command{
		Use:   "gateway",
		Short: "Run one gateway on a NATS that runs already",
		Long: "Run one gateway on a NATS that runs already: another region of a `dev` run, from\n" +
			"another terminal or machine. On the NATS of `dev` or `nats` it pays the way from\n" +
			"its region to theirs; on any other the distance is what it is.",
		Example: p.examples("gateway --region lhr\n" +
			"gateway --region syd --nats nats://127.0.0.1:4222 --listen :8790\n" +
			"gateway --region lab-2 --rtt 0"),
		Args: cobra.NoArgs,
		RunE: p.run(func(ctx context.Context, _ []string) error { return p.runGateway(ctx, o) }),
	}
	f := c.Flags()
	o.nats.add(c)
	f.StringVar(&o.inbox, "inbox", gateway.DefaultInbox, "what this gateway hears on NATS comes below _HF.<inbox> and _HF.h.<inbox>: the name of its NATS user, if that is one of nats permissions")
	f.StringVar(&o.region, "region", "", "where this gateway stands")
	f.StringVar(&o.listen, "listen", "127.0.0.1:8790", "address for HTTP; :8790 listens on all of the machine's, :0 on a free port")
	f.StringVar(&o.rtt, "rtt", "real", "round trip to the NATS of dev or nats: real (a table), 0, or one for all, as 40ms")
	o.door.add(p, c)
	if p.cfg.Demo != nil {
		f.BoolVar(&o.demo, "demo", false, "serve the demo, whose routes let anybody change its objects")
	}
	opsFlag(c, &o.ops)
	return c
}

func (p *program) runGateway(ctx context.Context, o gatewayOptions) error {
	setting, err := emulation(o.rtt, o.region)
	if err != nil {
		return err
	}
	if err := o.door.check(); err != nil {
		return err
	}
	if p.cfg.Demo != nil && !o.demo {
		return usage(errors.New("all that this program serves is the demo, whose routes let anybody change its objects"),
			"if that is wanted:   "+p.cfg.Name+" gateway --demo ...\nelse:                a program with a worker of its own")
	}
	if _, _, err := net.SplitHostPort(o.listen); err != nil {
		return usage(fmt.Errorf("--listen %q: want an address and a port, as 127.0.0.1:8790 or :8790", o.listen), "")
	}
	ln, err := listen(o.listen, "listen elsewhere:  --listen :8791\nor on any port:    --listen :0")
	if err != nil {
		return err
	}
	f, err := p.newFleet(ctx, o.ops)
	if err != nil {
		ln.Close() // nothing was served
		return err
	}
	j, err := p.joinAsGateway(f, o, setting, ln)
	if err != nil {
		ln.Close() // says that it is closed, if a gateway had it
		return f.close(err)
	}
	// Serving does not wait for hosts that can own objects.
	if err := ready(f.ctx, f.running[0], ln); err != nil {
		p.log.Warn("not ready yet", "err", err)
	}
	url := webURL(ln)
	if err := p.printJoined(f, j, map[string]any{"url": url}, "gateway  "+url); err != nil {
		return f.close(err)
	}
	return f.stopInOrder()
}

func (p *program) joinAsGateway(f *fleet, o gatewayOptions, setting link.Setting, ln net.Listener) (*joined, error) {
	j, err := p.join(f, o.nats, o.region, setting, connection("gateway "+o.region, o.inbox, p.log))
	if err != nil {
		return nil, err
	}
	cfg := gateway.Config{
		Region: o.region, Inbox: o.inbox, NATS: j.nc, Timing: timing(j.nc.ConnectedServerName()),
		Peers: []gateway.Peer{{Region: o.region, City: link.City(o.region), URL: webURL(ln)}},
	}
	o.door.configure(&cfg)
	return j, f.gateway(cfg, ln)
}

func (p *program) classNames() []string {
	names := make([]string, len(p.cfg.Objects))
	for i, class := range p.cfg.Objects {
		names[i] = string(class.Class())
	}
	return names
}

func (p *program) classList() string {
	if len(p.cfg.Objects) == 0 {
		return "no class: this program has none"
	}
	return strings.Join(p.classNames(), ", ")
}
