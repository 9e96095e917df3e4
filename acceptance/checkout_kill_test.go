//go:build unix

package acceptance

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	market "holdfast/examples/checkout"
	"holdfast/internal/bucket"
	"holdfast/objects"
)

// An order reserves a piece and charges for it, at two other objects. The process that runs all three is killed before its first
// put of a record, before its second, and so on, and in another round after each: nothing is done twice, and nothing is left undone.
func TestChaosACheckoutWhoseProcessIsKilledAtEachPutHasOneEffect(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"before", "after"} {
		t.Run(when, func(t *testing.T) {
			beside(t, waiters)
			url, nc := natsForProcesses(t)
			objs := caller(t, nc)
			toll := newToll(t, strings.TrimPrefix(url, "nats://"))
			p := startHostProcess(t, toll.url())
			killed := 0
			for n := 1; ; n++ {
				c := checkoutOf(objs, fmt.Sprint(when, n))
				c.must(t, func(ctx context.Context) error { _, err := market.Fill.Do(ctx, c.stock, 1); return err })
				c.must(t, func(ctx context.Context) error { _, err := market.Deposit.Do(ctx, c.account, 2500); return err })
				toll.arm(n, when == "after", p.kill)
				o := market.Order{Item: c.name, Payer: c.name, Cents: 2000}
				placed := make(chan error, 1)
				go func() {
					placed <- c.until(t, func(ctx context.Context) error { _, err := market.Place.Do(ctx, c.order, o); return err })
				}()
				ended := c.await(t, p)
				if ended {
					p = startHostProcess(t, toll.url())
				}
				if err := <-placed; err != nil {
					t.Fatal(err)
				}
				c.isDone(t)
				if !ended {
					break // it took fewer puts
				}
				killed++
			}
			if t.Logf("killed %s each of %d puts", when, killed); killed < 4 {
				t.Errorf("killed %d times: an order, a stock, an account and the order again are four puts at least", killed)
			}
		})
	}
}

// aCheckout is one order with a stock and an account of its own.
type aCheckout struct {
	name                  string
	order, stock, account objects.Ref
}

func checkoutOf(objs objects.Caller, name string) *aCheckout {
	return &aCheckout{name, objs.Object(market.Orders, name), objs.Object(market.Stocks, name), objs.Object(market.Accounts, name)}
}

// until asks until there is an answer: unavailable and unknown are asked again, as clients do.
func (c *aCheckout) until(t *testing.T, ask func(context.Context) error) error {
	for deadline := time.Now().Add(time.Minute); ; {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		err := ask(ctx)
		cancel()
		if code := objects.CodeOf(err); err == nil || time.Now().After(deadline) || !code.Retryable() && code != objects.Unknown && code != objects.NotFound {
			return err
		}
	}
}

func (c *aCheckout) must(t *testing.T, ask func(context.Context) error) {
	t.Helper()
	if err := c.until(t, ask); err != nil {
		t.Fatal(err)
	}
}

func (c *aCheckout) status(t *testing.T) (status string) {
	t.Helper()
	c.must(t, func(ctx context.Context) error {
		o, err := market.Show.Do(ctx, c.order, nil)
		if status = o.Status; objects.CodeOf(err) == objects.NotFound { // it is not placed yet
			return nil
		}
		return err
	})
	return status
}

// await waits until the process has been killed, or the order is done; it reports whether it was killed.
func (c *aCheckout) await(t *testing.T, p *process) bool {
	t.Helper()
	await(t, "the process is killed, or the order done", func() bool {
		if p.hasEnded() {
			return true
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		o, _ := market.Show.Do(ctx, c.order, nil)
		return o.Status == "done"
	})
	return p.hasEnded()
}

// isDone checks that the checkout had exactly one effect.
func (c *aCheckout) isDone(t *testing.T) {
	t.Helper()
	await(t, "order "+c.name+" is done", func() bool { return c.status(t) == "done" })
	var books, cents int
	c.must(t, func(ctx context.Context) (err error) { books, err = market.Fill.Do(ctx, c.stock, 0); return err })
	c.must(t, func(ctx context.Context) (err error) { cents, err = market.Deposit.Do(ctx, c.account, 0); return err })
	if books != 0 || cents != 500 {
		t.Errorf("order %s has left %d books and %d cents, want none and 500", c.name, books, cents)
	}
}

// toll is a proxy between a host and NATS that counts the puts of objects' records.
type toll struct {
	ln     net.Listener
	target string

	mu    sync.Mutex // guards what follows
	left  int        // puts until then is called; 0: never
	after bool       // the put has been passed on by then
	then  func()
}

func newToll(t *testing.T, target string) *toll {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &toll{ln: ln, target: target}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { g.serve(conn) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		conns.Wait()
	})
	return g
}

func (g *toll) url() string { return "nats://" + g.ln.Addr().String() }

// arm makes toll call then at the n-th put from now on, before the put is passed on or right after.
func (g *toll) arm(n int, after bool, then func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left, g.after, g.then = n, after, then
}

// put counts a put, and reports whether to pass it on.
func (g *toll) put() (pass bool, then func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.left == 0 {
		return true, nil
	}
	if g.left--; g.left > 0 {
		return true, nil
	}
	return g.after, g.then
}

func (g *toll) serve(from net.Conn) {
	defer from.Close()
	to, err := net.Dial("tcp", g.target)
	if err != nil {
		return
	}
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(from, to)
		from.Close() // the server has closed
	})
	_ = g.carry(to, bufio.NewReader(from)) // the host was killed, or the test is over
	to.Close()
	back.Wait()
}

// carry passes a client's protocol on, line by line, with the payloads.
func (g *toll) carry(to io.Writer, from *bufio.Reader) error {
	for {
		line, err := from.ReadString('\n')
		if err != nil {
			return err
		}
		words := strings.Fields(line)
		whole := []byte(line)
		isPut := false
		if len(words) > 0 && (words[0] == "PUB" || words[0] == "HPUB") {
			size, err := strconv.Atoi(words[len(words)-1])
			if err != nil {
				return fmt.Errorf("%q: %w", line, err)
			}
			payload := make([]byte, size+len("\r\n"))
			if _, err := io.ReadFull(from, payload); err != nil {
				return err
			}
			whole = append(whole, payload...)
			isPut = strings.HasPrefix(words[1], bucket.Records().Subject(""))
		}
		pass, then := true, func() {}
		if isPut {
			if p, t := g.put(); t != nil {
				pass, then = p, t
			}
		}
		if pass {
			if _, err := to.Write(whole); err != nil {
				return err
			}
		}
		then()
	}
}
