//go:build unix

package acceptance

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"holdfast/objects/host"
)

func TestDatabasesMoveWithTheirObjects(t *testing.T) {
	onAll(t, func(t *testing.T, on *substrate) {
		hosts := []member{on.startHost(t, "a", "fra", quick, nil, books)}
		w := startWriters(t, caller(t, on.dial(t)), 3, lineCall, proofCall, func(int) int { return 1 + rand.IntN(20) })
		w.goOn(100)
		for i := range 4 {
			hosts = append(hosts, on.startHost(t, fmt.Sprint("b", i), "fra", quick, nil, books))
			w.goOn(100)
			if i%2 == 0 {
				hosts[0].stop()
			} else {
				hosts[0].cut()
			}
			hosts = hosts[1:]
			w.goOn(100)
		}
		w.end()
		operatorSeesDatabase(t, on)
	})
}

// operatorSeesDatabase looks at one of the objects, as `holdfast get` does.
func operatorSeesDatabase(t *testing.T, on *substrate) {
	t.Helper()
	in, err := host.Inspect(t.Context(), on.dial(t))
	if err != nil {
		t.Fatal(err)
	}
	id, err := lineCall.Class().ID("0")
	if err != nil {
		t.Fatal(err)
	}
	if info, err := in.Get(t.Context(), id, "0"); err != nil || !info.Database || info.Size < 1000 {
		t.Errorf("an operator sees a database: %t, of %d bytes, %v", info.Database, info.Size, err)
	}
}

// HOLDFAST_KILLS says how often hosts are killed.
func TestChaosDatabasesLoseNothingWhenTheirOwnersAreKilled(t *testing.T) {
	beside(t, heavy)
	kills, _ := strconv.Atoi(os.Getenv("HOLDFAST_KILLS"))
	kills = cmp.Or(kills, 4)
	url, nc := natsForProcesses(t)
	hosts := []*process{startHostProcess(t, url), startHostProcess(t, url)}
	w := startWriters(t, caller(t, nc), 4, lineCall, proofCall, func(int) int { return 1 + rand.IntN(60) })
	for range kills {
		w.goOn(600 + rand.IntN(1800))
		hosts[0].kill()
		hosts = append(slices.Delete(hosts, 0, 1), startHostProcess(t, url))
	}
	w.goOn(600)
	w.end()
}
