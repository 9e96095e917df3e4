package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// Requests is a load of requests.
type Requests struct {
	Path        string // with {name} in it
	Names       int    // number of objects, asked in turn; 0: each request goes to a new object
	Body        []byte
	Connections int
	Most        int // most requests to send; 0: no bound
	Rate        int // requests due per second; 0: a closed load
	Warmup      time.Duration
	Duration    time.Duration
	Tickets     bool // answers are tickets: count those given twice
}

// Result is the result of a load of requests.
type Result struct {
	Figures
	Refused    int64  `json:"refused"`    // 429 and 503: nothing happened
	Failed     int64  `json:"failed"`     // any other failure
	Failure    string `json:"failure"`    // the first of them
	Duplicates int    `json:"duplicates"` // tickets given twice
}

// requestTime bounds the wait for an answer.
const requestTime = 30 * time.Second

// mostSaid bounds an answer, beyond what an echo repeats: whoever listens at the URL may send anything.
const mostSaid = 64 << 10

// Run asks until the time is over or ctx ends. It fails when nothing succeeded.
func (r Requests) Run(ctx context.Context, t Target) (Result, error) {
	began := time.Now()
	run := &run{
		Requests: r, target: t, unique: strconv.FormatInt(began.UnixNano(), 36),
		began: began, measured: began.Add(r.Warmup), over: began.Add(r.Warmup + r.Duration),
		conns: make(map[net.Conn]struct{}),
	}
	defer context.AfterFunc(ctx, run.cut)()
	clients := make([]*client, r.Connections)
	var all sync.WaitGroup
	for i := range clients {
		c := &client{run: run}
		clients[i] = c
		all.Go(func() { c.work(ctx) })
	}
	all.Wait()
	seconds := time.Since(run.measured).Seconds() // until the last answer
	var took []*latencies
	var tickets []uint64
	var result Result
	for _, c := range clients {
		took, tickets = append(took, &c.took), append(tickets, c.tickets...)
		result.Refused += c.refused
		result.Failed += c.failed
		if result.Failure == "" && c.err != nil {
			result.Failure = c.err.Error()
		}
	}
	result.Figures = figures(seconds, took...)
	result.Duplicates = duplicates(tickets)
	switch {
	case ctx.Err() != nil:
		return result, ctx.Err()
	case result.Requests == 0 && result.Failure != "":
		return result, fmt.Errorf("%w by http://%s: %s", errNothing, t.host, result.Failure)
	case result.Requests == 0:
		return result, fmt.Errorf("%w by http://%s in time; refused: %d", errNothing, t.host, result.Refused)
	}
	return result, nil
}

// duplicates counts the numbers that occur more than once.
func duplicates(numbers []uint64) int {
	slices.Sort(numbers)
	return len(numbers) - len(slices.Compact(slices.Clone(numbers)))
}

// run is shared by the clients of one load.
type run struct {
	Requests
	target                Target
	unique                string // a prefix of this run, for names of new objects
	began, measured, over time.Time
	next                  atomic.Int64 // number of the next request

	mu    sync.Mutex // guards what follows
	conns map[net.Conn]struct{}
	isCut bool
}

// cut closes every connection, so that no client waits for an answer.
func (r *run) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.isCut = true
	for conn := range r.conns {
		conn.Close() // its reader sees it
	}
}

// add reports whether the connection may be used: false after cut.
func (r *run) add(conn net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.isCut {
		r.conns[conn] = struct{}{}
	}
	return !r.isCut
}

func (r *run) remove(conn net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, conn)
}

// client is one connection.
type client struct {
	run     *run
	conn    net.Conn
	in      *bufio.Reader
	out     []byte
	res     fasthttp.Response
	took    latencies
	tickets []uint64 // number and object in one
	refused int64
	failed  int64
	err     error // the first failure
}

func (c *client) work(ctx context.Context) {
	defer c.hangUp()
	for ctx.Err() == nil {
		n := c.run.next.Add(1) - 1
		if c.run.Most > 0 && n >= int64(c.run.Most) {
			return
		}
		due := time.Now()
		if c.run.Rate > 0 {
			due = c.run.began.Add(time.Duration(n) * time.Second / time.Duration(c.run.Rate))
		}
		if !due.Before(c.run.over) || !sleepUntil(ctx, due) {
			return
		}
		err := c.ask(n)
		c.note(int(n), due, err)
	}
}

// sleepUntil reports false if ctx ended first.
func sleepUntil(ctx context.Context, at time.Time) bool {
	wait := time.Until(at)
	if wait <= 0 {
		return true
	}
	select {
	case <-time.After(wait):
		return true
	case <-ctx.Done():
		return false
	}
}

// ask sends the n-th request and reads the answer into c.res.
func (c *client) ask(n int64) error {
	if err := c.dial(); err != nil {
		return err
	}
	c.encode(n)
	if err := c.conn.SetDeadline(time.Now().Add(requestTime)); err != nil {
		return err
	}
	if _, err := c.conn.Write(c.out); err != nil {
		c.hangUp()
		return err
	}
	most := mostSaid + len(c.run.Body)
	err := c.res.ReadLimitBody(c.in, most)
	if errors.Is(err, fasthttp.ErrBodyTooLarge) {
		err = fmt.Errorf("an answer has more than %d bytes", most)
	}
	if err != nil {
		c.hangUp()
		return err
	}
	if c.res.ConnectionClose() {
		c.hangUp()
	}
	return nil
}

func (c *client) dial() error {
	if c.conn != nil {
		return nil
	}
	conn, err := net.DialTimeout("tcp", c.run.target.host, requestTime)
	if err != nil {
		return err
	}
	if !c.run.add(conn) {
		conn.Close() // nothing was said on it
		return context.Canceled
	}
	c.conn, c.in = conn, bufio.NewReader(conn)
	return nil
}

func (c *client) hangUp() {
	if c.conn != nil {
		c.run.remove(c.conn)
		c.conn.Close() // its error does not matter: the connection is not used again
		c.conn = nil
	}
}

// encode writes the n-th request into c.out.
func (c *client) encode(n int64) {
	path := c.run.Path
	if c.run.Names > 0 {
		path = withName(path, int(n)%c.run.Names)
	} else {
		path = withName(path, int(n)) + "-" + c.run.unique
	}
	out := append(c.out[:0], "POST "...)
	out = append(out, path...)
	out = append(out, " HTTP/1.1\r\nHost: "...)
	out = append(out, c.run.target.host...)
	out = append(out, "\r\nContent-Length: "...)
	out = strconv.AppendInt(out, int64(len(c.run.Body)), 10)
	out = append(out, "\r\n\r\n"...)
	c.out = append(out, c.run.Body...)
}

// note counts the outcome of the n-th request.
func (c *client) note(n int, due time.Time, err error) {
	now := time.Now()
	status := c.res.StatusCode()
	if err == nil && (status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable) {
		if now.After(c.run.measured) {
			c.refused++
		}
		return
	}
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d: %.200s", status, c.res.Body())
	}
	if err == nil {
		err = c.check(n)
	}
	switch {
	case err != nil:
		c.failed++
		if c.err == nil {
			c.err = err
		}
		if c.conn == nil {
			time.Sleep(10 * time.Millisecond) // no hot loop while the server refuses connections
		}
	case now.After(c.run.measured):
		c.took.add(now.Sub(due))
	}
}

// check reads an answer.
func (c *client) check(n int) error {
	body := c.res.Body()
	switch {
	case c.run.Tickets:
		number, err := ticketOf(body)
		if err != nil {
			return err
		}
		object := 0
		if c.run.Names > 0 {
			object = n % c.run.Names
		}
		c.tickets = append(c.tickets, uint64(object)<<40|number)
	case len(c.run.Body) > 0 && !bytes.Equal(body, c.run.Body):
		return fmt.Errorf("the echo says %.80q, it was told %.80q", body, c.run.Body)
	}
	return nil
}

// ticketOf reads {"ticket":1}.
func ticketOf(body []byte) (uint64, error) {
	digits, ok := bytes.CutPrefix(body, []byte(`{"ticket":`))
	digits, closed := bytes.CutSuffix(digits, []byte("}"))
	if number, err := strconv.ParseUint(string(digits), 10, 40); ok && closed && err == nil {
		return number, nil
	}
	return 0, fmt.Errorf("not a ticket: %.80q", body)
}
