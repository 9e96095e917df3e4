package app

import (
	"testing"
	"time"

	"github.com/spf13/cobra"

	"holdfast/gateway"
	"holdfast/objects/host"
)

// The sizes on the command line reached no gateway: a copy of the options was configured, and another one read.
func TestSizesOnTheCommandLineReachGatewaysAndHosts(t *testing.T) {
	p := &program{cfg: Config{Window: 3 << 20}}
	var c cobra.Command
	var o devOptions
	o.door.add(p, &c)
	o.hosting.add(p, &c)
	if err := c.ParseFlags([]string{"--max-body", "2MiB", "--max-frame", "1KiB", "--windows", "5MiB", "--window-time", "4s", "--purge-after", "5m", "--merge-rate", "1MiB"}); err != nil {
		t.Fatal(err)
	}
	run := func(o devOptions) (doors gateway.Config, hosts host.Config) { // as a command runs: on its own copy
		if err := o.door.check(); err != nil {
			t.Fatal(err)
		}
		if err := o.hosting.check(); err != nil {
			t.Fatal(err)
		}
		o.door.configure(&doors)
		o.hosting.configure(&hosts)
		return doors, hosts
	}
	doors, hosts := run(o)
	if doors.Limits.Body != 2<<20 || doors.Limits.Frame != 1<<10 || doors.Limits.Queue != 1<<20 {
		t.Errorf("the gateway's limits are %+v", doors.Limits)
	}
	if hosts.Window != 3<<20 || hosts.Windows != 5<<20 || hosts.Timing.Keep != 4*time.Second {
		t.Errorf("the host keeps %d, %d, %v; want the program's 3 MiB, and 5 MiB and 4 s", hosts.Window, hosts.Windows, hosts.Timing.Keep)
	}
	if hosts.PurgeAfter != 5*time.Minute || hosts.MergeRate != 1<<20 {
		t.Errorf("the host purges after %v and merges %d a second, want 5 min and 1 MiB", hosts.PurgeAfter, hosts.MergeRate)
	}
}
