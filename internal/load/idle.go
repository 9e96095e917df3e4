package load

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"
)

// Idle opens WebSockets that send nothing and measures the memory that they cost the
// processes that hold them. It needs Linux's /proc.
type Idle struct {
	Path    string // with {name} in it
	Sockets int
	PIDs    []int
}

// Held is what an Idle has measured.
type Held struct {
	Sockets        int   `json:"sockets"`
	BeforeBytes    int64 `json:"beforeBytes"`
	AfterBytes     int64 `json:"afterBytes"`
	BytesPerSocket int64 `json:"bytesPerSocket"`

	// OpenedPerSecond is how fast the sockets opened, 16 at once.
	OpenedPerSecond float64 `json:"openedPerSecond"`
}

const (
	warmSockets = 16               // opened first and not counted: they pay for one-time allocations
	settling    = 12 * time.Second // the runtime has returned free memory to the system by then
	looks       = 5                // readings, one a second; the median counts
)

// Run opens the sockets, waits until memory has settled, and reads how much is resident.
func (i Idle) Run(ctx context.Context, t Target) (Held, error) {
	first := &crowd{room: Room{Path: i.Path, Sockets: warmSockets}}
	defer first.leave()
	if err := first.enter(ctx, t, 1); err != nil {
		return Held{}, err
	}
	before, err := i.memory(ctx)
	if err != nil {
		return Held{}, err
	}
	c := &crowd{room: Room{Path: i.Path, Sockets: i.Sockets}}
	defer c.leave()
	began := time.Now()
	if err := c.enter(ctx, t, 0); err != nil {
		return Held{}, err
	}
	opening := time.Since(began)
	after, err := i.memory(ctx)
	if err != nil {
		return Held{}, err
	}
	if n := c.closed.Load(); n > 0 {
		return Held{}, fmt.Errorf("%d of %d sockets were closed meanwhile", n, i.Sockets)
	}
	return Held{i.Sockets, before, after, (after - before) / int64(i.Sockets), float64(i.Sockets) / opening.Seconds()}, nil
}

// memory returns the resident memory of all processes, after it has settled.
func (i Idle) memory(ctx context.Context) (int64, error) {
	at := time.Now().Add(settling)
	var seen []int64
	for range looks {
		if !sleepUntil(ctx, at) {
			return 0, ctx.Err()
		}
		all, err := Resident(i.PIDs)
		if err != nil {
			return 0, err
		}
		seen = append(seen, all)
		at = at.Add(time.Second)
	}
	slices.Sort(seen)
	return seen[looks/2], nil
}

// Resident returns the resident memory of the processes, in bytes. It needs Linux's /proc.
func Resident(pids []int) (int64, error) {
	var all int64
	for _, pid := range pids {
		statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err != nil {
			return 0, fmt.Errorf("read the memory of process %d: %w", pid, err)
		}
		var size, pages int64
		if _, err := fmt.Sscan(string(statm), &size, &pages); err != nil {
			return 0, fmt.Errorf("read the memory of process %d: %w", pid, err)
		}
		all += pages * int64(os.Getpagesize())
	}
	return all, nil
}
