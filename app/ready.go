package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/gateway"
	"holdfast/internal/wire"
	"holdfast/objects/host"
)

const (
	readyWithin = 20 * time.Second
	lookAgain   = 20 * time.Millisecond
)

// awaitHosts returns when hosts of these names, in this process, have taken
// their leases since began.
func awaitHosts(ctx context.Context, nc *nats.Conn, names []string, began time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	inspector, err := host.Inspect(ctx, nc)
	if err != nil {
		return err
	}
	for {
		hosts, err := inspector.Hosts(ctx)
		if err == nil && allThere(names, hosts, began) {
			return nil
		}
		if !wire.Pause(ctx, lookAgain) {
			return gaveUp(ctx, "wait for the hosts' leases", err)
		}
	}
}

func allThere(names []string, hosts []host.HostInfo, began time.Time) bool {
	there := make(map[string]bool)
	for _, h := range hosts {
		if h.PID == os.Getpid() && h.Renewed.After(began) {
			there[h.Host] = true
		}
	}
	for _, name := range names {
		if !there[name] {
			return false
		}
	}
	return true
}

// awaitReady returns when the gateway behind a listener says that it can answer.
func awaitReady(ctx context.Context, g *gateway.Gateway, ln net.Listener) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	var err error
	for {
		if err = ready(ctx, g, ln); err == nil {
			return nil
		}
		if !wire.Pause(ctx, lookAgain) {
			return gaveUp(ctx, "wait for the gateway at "+webURL(ln), err)
		}
	}
}

func gaveUp(ctx context.Context, what string, last error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return context.Canceled
	}
	return fmt.Errorf("%s for %v: %w", what, readyWithin, errors.Join(last, errors.New("it did not come")))
}

// ready asks a gateway once, as its clients do. The reason of a failure comes from the gateway itself, since clients
// are not told.
func ready(ctx context.Context, g *gateway.Gateway, ln net.Listener) error {
	status, err := ask(ctx, http.MethodGet, ln, "/readyz")
	if err != nil || status == http.StatusOK {
		return err
	}
	if _, err := g.Ready(ctx); err != nil {
		return err
	}
	return fmt.Errorf("it answers with status %d", status)
}

// answers reports whether a gateway serves a path, by a route of its own or of its worker. OPTIONS reaches no object.
func answers(ctx context.Context, ln net.Listener, path string) bool {
	status, err := ask(ctx, http.MethodOptions, ln, path)
	return err == nil && status != http.StatusNotFound
}

// ask sends a request without a body to the gateway behind a listener.
func ask(ctx context.Context, method string, ln net.Listener, path string) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, near(ln)+path, nil)
	if err != nil {
		return 0, err
	}
	req.Close = true // leaves no connection for the gateway to wait for when it drains
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	return resp.StatusCode, nil
}

// near returns the listener's address for use in this process: webURL has a name that not every machine resolves in the
// same way.
func near(ln net.Listener) string {
	addr, ok := ln.Addr().(*net.TCPAddr)
	if !ok || !addr.IP.IsUnspecified() {
		return "http://" + ln.Addr().String()
	}
	return "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(addr.Port))
}
