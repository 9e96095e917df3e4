package app

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"holdfast/embedded"
)

func (p *program) natsCommand() *cobra.Command {
	var region, listenHost, store, sync, rtt, opsListen string
	var port int
	c := &cobra.Command{
		Use:   "nats",
		Short: "Run the embedded NATS alone, for gateways and hosts to join",
		Long: "Run the embedded NATS with JetStream alone. Gateways and hosts of other processes\n" +
			"join it; with --rtt real they pay the way to the region in which it is said to\n" +
			"stand. On loopback it asks nobody who they are. Beyond, it has the users that\n" +
			"`nats permissions` prints, with passwords of its own: each has a file below the\n" +
			"store, which gateways and hosts take as --context.",
		Example: p.examples("nats\nnats --port 4333 --store ./data --sync always\nnats --region iad"),
		Args:    cobra.NoArgs,
		RunE: p.run(func(ctx context.Context, _ []string) error {
			if _, err := emulation(rtt, region); err != nil {
				return err
			}
			if err := checkServer(port, sync); err != nil {
				return err
			}
			return p.runNATS(ctx, p.serverConfig(region, listenHost, port, store, sync), opsListen)
		}),
	}
	c.AddCommand(p.permissionsCommand())
	f := c.Flags()
	f.IntVar(&port, "port", 4222, "where others join; 0: a free port")
	f.StringVar(&listenHost, "listen-host", "127.0.0.1", "address to listen on")
	f.StringVar(&store, "store", defaultStore, "directory of the data, or memory")
	f.StringVar(&sync, "sync", syncDefault, "default: acknowledged survives the process; always: loss of power, too")
	f.StringVar(&region, "region", "fra", "where it is said to stand")
	f.StringVar(&rtt, "rtt", "real", "what those who join will use; with 0 or one for all, as 40ms, any region's name will do")
	opsFlag(c, &opsListen)
	return c
}

func checkServer(port int, sync string) error {
	if port < 0 || port > 65535 {
		return usage(fmt.Errorf("NATS port %d: want 0 to 65535", port), "")
	}
	if sync != syncDefault && sync != syncAlways {
		return usage(fmt.Errorf("--sync %q: want %s or %s", sync, syncDefault, syncAlways), "")
	}
	return nil
}

// serverConfig returns the embedded server that stands in a region.
func (p *program) serverConfig(region, host string, port int, store, sync string) embedded.Config {
	if port == 0 {
		port = -1 // embedded's word for a free one
	}
	if store == memoryStore {
		store = ""
	}
	return embedded.Config{
		Store: store, Name: devServer + region, Port: port, Host: host, SyncAlways: sync == syncAlways, Log: p.log,
	}
}

func (p *program) runNATS(ctx context.Context, cfg embedded.Config, opsListen string) error {
	began := time.Now()
	f, err := p.newFleet(ctx, opsListen)
	if err != nil {
		return err
	}
	users, err := guestsOf(cfg.Host, cfg.Store)
	if err != nil {
		return f.close(err)
	}
	server, err := startServer(f.ctx, cfg, users)
	if err != nil {
		return serverFailed(f.close(err), fmt.Sprintf("use another port:   %s nats --port 4333\nor any free one:    --port 0", p.cfg.Name))
	}
	f.server(server)
	d := data{Dir: cfg.Store, Kept: cfg.Store != "", Sync: syncDefault}
	if cfg.SyncAlways {
		d.Sync = syncAlways
	}
	if p.json {
		facts := map[string]any{"ok": true, "nats": server.URL(), "server": server.Name(), "data": d, "readyMs": time.Since(began).Milliseconds()}
		f.addOps(facts)
		if users != nil {
			facts["users"] = users.dir
		}
		err = p.print(facts)
	} else {
		_, err = fmt.Fprintf(p.stdout, "NATS  %s  %q · data: %s%s%s · ready in %d ms\n", server.URL(), server.Name(), d, users.phrase(), f.opsPhrase(), time.Since(began).Milliseconds())
	}
	if err != nil {
		return f.close(err)
	}
	return f.stopInOrder()
}

// startServer starts the embedded server with its users, nil for none, and writes their contexts.
func startServer(ctx context.Context, cfg embedded.Config, users *guests) (*embedded.Server, error) {
	if users != nil {
		cfg.Users = users.users
	}
	server, err := embedded.Start(ctx, cfg)
	if err != nil || users == nil {
		return server, err
	}
	if err := users.write(server); err != nil {
		server.Close()
		return nil, err
	}
	return server, nil
}
