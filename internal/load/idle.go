package load

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"
)

// Idle is a load of WebSockets that say nothing, and what they cost the processes
// that hold them, in memory. It needs Linux's /proc.
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
}

const (
	warmSockets = 16               // opened before: what the first ones bring into memory is nobody's
	settling    = 12 * time.Second // after which memory that is free has been given back
	looks       = 5                // one a second; the middle one counts
)

// Run opens the sockets, lets them be, and reads how much memory there is then.
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
	if err := c.enter(ctx, t, 0); err != nil {
		return Held{}, err
	}
	after, err := i.memory(ctx)
	if err != nil {
		return Held{}, err
	}
	if n := c.closed.Load(); n > 0 {
		return Held{}, fmt.Errorf("%d of %d sockets were closed meanwhile", n, i.Sockets)
	}
	return Held{i.Sockets, before, after, (after - before) / int64(i.Sockets)}, nil
}

// memory is that of all processes when it has settled.
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

// Resident is how much memory some processes have, in bytes. It needs Linux's /proc.
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
