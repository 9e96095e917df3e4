package acceptance

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	market "holdfast/examples/checkout"
	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host"
)

// vault is an object of 10 MB: of so many keys, each with the number of the step that has written it last.
type vault struct{}

const vaultClass objects.Class = "vault"

const (
	vaultKeys  = 5000
	vaultValue = 2000 // bytes
)

var (
	steps     = objects.NewKey[int]("steps")
	cells     = objects.NewMap[int, string]("cell")
	stepCall  = objects.NewCall[int, int](vaultClass, "step")
	checkCall = objects.NewCall[objects.None, int](vaultClass, "check")

	vaults = objects.Implement(vaultClass, objects.New[vault], objects.On(stepCall, (*vault).step), objects.On(checkCall, (*vault).check))
)

// step makes some steps, and returns how many there were in all.
func (v *vault) step(tx *objects.Tx, some int) (int, error) {
	n := steps.Get(tx)
	for range some {
		n++
		filler := rand.New(rand.NewPCG(uint64(n), 0))
		value := []byte(fmt.Sprintf("%d ", n))
		for len(value) < vaultValue {
			value = append(value, 'a'+byte(filler.IntN(26)))
		}
		cells.Set(tx, n%vaultKeys, string(value))
	}
	steps.Set(tx, n)
	return n, nil
}

// check reads every key, and returns how many steps there were.
func (v *vault) check(tx *objects.Tx, _ objects.None) (int, error) {
	n, found := steps.Get(tx), 0
	for i, value := range cells.All(tx) {
		want := n - (n-i)%vaultKeys // the last step that was to write it
		if text, _, _ := strings.Cut(value, " "); text != strconv.Itoa(want) || len(value) != vaultValue {
			return 0, objects.Errorf("lost", "after %d steps key %d has %.20s and %d bytes, want %d", n, i, value, len(value), want)
		}
		found++
	}
	if found != min(n, vaultKeys) {
		return 0, objects.Errorf("lost", "after %d steps there are %d keys", n, found)
	}
	return n, nil
}

// The test program as a host of vaults, and of orders, stocks and accounts.
const hostURL = "HOLDFAST_TEST_HOST"

func runHostProcess(url string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	dial := func() *nats.Conn {
		nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectBufSize(-1))
		fail(err)
		return nc
	}
	h, err := host.New(context.Background(), host.Config{
		Region: "fra", Objects: append([]*objects.Implementation{vaults, books}, market.Objects...), Serve: dial(), State: dial(), Timing: quick, Cache: 8 << 20,
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	fail(err)
	go func() {
		for h.Ready() != nil {
			wire.Pause(context.Background(), 5*time.Millisecond)
		}
		fmt.Println("{}")
	}()
	fail(h.Run(context.Background()))
}
