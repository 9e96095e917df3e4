package app

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"holdfast/objects/host"
)

// windowOptions are the flags that say how much hosts keep of what objects have sent to sockets.
type windowOptions struct {
	window, windows int
	keep            time.Duration
}

// add adds the flags. What the program has set itself is their default.
func (o *windowOptions) add(p *program, c *cobra.Command) {
	o.window, o.windows, o.keep = p.cfg.Window, p.cfg.Windows, p.cfg.WindowTime
	if o.window <= 0 {
		o.window = 1 << 20
	}
	if o.windows <= 0 {
		o.windows = 64 << 20
	}
	if o.keep <= 0 {
		o.keep = 12 * time.Second
	}
	f := c.Flags()
	sizeFlag(f, &o.window, "window", "most that is kept of what one object has sent to the sockets of one gateway, until the gateway acknowledges it; beyond it these sockets close with 1012")
	sizeFlag(f, &o.windows, "windows", "most that is kept of what all objects of a host have sent to sockets")
	f.DurationVar(&o.keep, "window-time", o.keep, "how long it is kept")
}

// check reads the flags.
func (o *windowOptions) check() error {
	if o.keep < time.Second || o.keep > time.Hour {
		return usage(fmt.Errorf("--window-time %v: want 1s to 1h", o.keep), "")
	}
	if o.windows < o.window {
		return usage(fmt.Errorf("--windows %s: want at least --window, which is %s", size{&o.windows}, size{&o.window}), "")
	}
	return nil
}

// configure gives a host what the flags say.
func (o *windowOptions) configure(cfg *host.Config) {
	cfg.Window, cfg.Windows, cfg.Timing.Keep = o.window, o.windows, o.keep
}
