package app

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"holdfast/objects/host"
)

// hostFlags are the flags of every command that runs hosts: how many messages to sockets they keep, and how they
// maintain large objects.
type hostFlags struct {
	window, windows int
	keep            time.Duration
	purgeAfter      time.Duration
	mergeRate       int
}

// add adds the flags. Their defaults are the program's own settings.
func (o *hostFlags) add(p *program, c *cobra.Command) {
	o.window, o.windows, o.keep, o.mergeRate = p.cfg.Window, p.cfg.Windows, p.cfg.WindowTime, 16<<20
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
	f.DurationVar(&o.purgeAfter, "purge-after", 130*time.Second, "when entries of large objects that nothing names any more are purged; at least the NATS servers' sync_interval")
	sizeFlag(f, &o.mergeRate, "merge-rate", "most of large objects that each of two merges of a host writes in a second")
}

// check refuses impossible flags.
func (o *hostFlags) check() error {
	if o.keep < time.Second || o.keep > time.Hour {
		return usage(fmt.Errorf("--window-time %v: want 1s to 1h", o.keep), "")
	}
	if o.windows < o.window {
		return usage(fmt.Errorf("--windows %s: want at least --window, which is %s", size{&o.windows}, size{&o.window}), "")
	}
	if o.purgeAfter <= 0 {
		return usage(fmt.Errorf("--purge-after %v: want more than no time", o.purgeAfter), "")
	}
	return nil
}

// configure sets the flags in a host's configuration.
func (o *hostFlags) configure(cfg *host.Config) {
	cfg.Window, cfg.Windows, cfg.Timing.Keep = o.window, o.windows, o.keep
	cfg.PurgeAfter, cfg.MergeRate = o.purgeAfter, o.mergeRate
}
