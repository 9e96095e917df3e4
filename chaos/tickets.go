package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"

	"holdfast/chaos/history"
)

// claim starts the clients of the ticket objects. Each client uses one object and one gateway, so that an
// object that does not answer delays no requests to others. Clients that read do nothing else, so that a
// claim that waits delays no reads.
func (w *world) claim(ctx context.Context) {
	objects := w.objects()
	for i := range len(objects) * clientsPerObject {
		object, round := objects[i%len(objects)], i/len(objects)
		reads := round >= claimersPerObject
		gateway := w.gateways[(i%len(objects)+round)%gatewayCount]
		if w.readers && !reads {
			gateway = w.gateways[0]
		}
		c := w.newClient(i, gateway)
		w.load.Go(func() {
			defer c.http.CloseIdleConnections()
			for n := 0; !has(w.stop) && ctx.Err() == nil; n++ {
				if !reads && w.held.Load() {
					pause(ctx, w.stop, pollEvery)
					continue
				}
				op := &history.Op{Object: object, Kind: history.Claim}
				switch {
				case reads:
					op.Kind = history.Read
				case round != 1: // two of three
					op.Key = fmt.Sprintf("chaos-%d-%d", i, n)
				}
				c.do(ctx, op, w.stop)
				w.writer.Add(history.Record{Op: op})
				pause(ctx, w.stop, time.Duration(20+c.draw.IntN(40))*time.Millisecond)
			}
		})
	}
}

// client sends requests through one gateway.
type client struct {
	w       *world
	number  int
	gateway *member
	http    *http.Client
	draw    *rand.Rand // for the next operations
}

func (w *world) newClient(number int, gateway *member) *client {
	return &client{w, number, gateway, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}}, rand.New(rand.NewPCG(uint64(number), 0))}
}

// do carries out one operation and fills in its outcome. An operation with a key is repeated until it is
// answered, or for a time after the end.
func (c *client) do(ctx context.Context, op *history.Op, ended <-chan struct{}) {
	op.Client, op.Gateway, op.Start = c.number, c.gateway.name, c.w.now()
	defer func() { op.End = c.w.now() }()
	for tries := 0; ; tries++ {
		var answer struct{ Ticket int }
		method := http.MethodPost
		if op.Kind == history.Read {
			method = http.MethodGet
		}
		path := pathOf(op.Object)
		if op.Final {
			path += "?check=1"
		}
		header, failed := c.ask(ctx, method, path, op.Key, &answer)
		if failed == nil {
			host, _, _ := strings.Cut(header.Get("Holdfast-Owner"), " (")
			op.Outcome, op.Value, op.Owner, op.Epoch = history.OK, answer.Ticket, host, header.Get("Holdfast-Epoch")
			c.w.succeeded(op)
			return
		}
		op.Failed = append(op.Failed, *failed)
		if op.Outcome != history.Unknown {
			op.Outcome = failed.Outcome
		}
		if op.Key == "" || has(ended) && tries > 2 || !pause(ctx, nil, 200*time.Millisecond) {
			return
		}
	}
}

// succeeded records that an object has answered.
func (w *world) succeeded(op *history.Op) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.owners[op.Object] = op.Owner
	w.success[op.Object] = w.now()
	w.success[op.Object+"@"+op.Gateway] = w.now()
}

// ask sends one request and decodes the answer, if it is 200.
func (c *client) ask(ctx context.Context, method, path, key string, into any) (http.Header, *history.Try) {
	try := &history.Try{Start: c.w.now(), Outcome: history.Unknown, Dialed: true}
	fail := func(err error) (http.Header, *history.Try) {
		try.End, try.Cause = c.w.now(), err.Error()
		return nil, try
	}
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(within, method, c.gateway.url()+path, nil)
	if err != nil {
		return fail(err)
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	res, err := c.http.Do(req)
	if failed, ok := errors.AsType[*net.OpError](err); ok && failed.Op == "dial" {
		try.Outcome, try.Dialed = history.Refused, false
	}
	if err != nil {
		return fail(err)
	}
	defer res.Body.Close() // nothing was written
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return fail(err)
	}
	try.Status = res.StatusCode
	if res.StatusCode == http.StatusOK {
		if err := json.Unmarshal(body, into); err != nil {
			return fail(err)
		}
		return res.Header, nil
	}
	var said struct{ Code, Message string }
	if json.Unmarshal(body, &said) == nil && said.Code != "" && said.Code != "unknown" {
		try.Outcome = history.Refused // every other code says that nothing happened
	}
	try.Code = said.Code
	return fail(errors.New(said.Message))
}

// readAll reads every counter through every gateway, after the last claim.
func (w *world) readAll(ctx context.Context) {
	for i, g := range w.gateways {
		c := w.newClient(1000+i, g)
		for _, object := range w.objects() {
			op := &history.Op{Object: object, Kind: history.Read, Final: true}
			for range 3 { // only a fault that lasts fails all three times
				if c.do(ctx, op, w.stop); op.Outcome == history.OK {
					break
				}
			}
			w.writer.Add(history.Record{Op: op})
		}
		c.http.CloseIdleConnections()
	}
}

// ring sets alarms, one after the other at each bell.
func (w *world) ring(ctx context.Context) {
	for i := range bellCount {
		object := fmt.Sprintf("b%d", i)
		c := w.newClient(2000+i, w.gateways[i%gatewayCount])
		w.load.Go(func() {
			defer c.http.CloseIdleConnections()
			for n := 1; !has(w.stop) && ctx.Err() == nil; n++ {
				alarm := &history.Alarm{Object: object, N: n}
				if !c.set(ctx, alarm, fmt.Sprintf("bell-%d-%d", i, n)) {
					return
				}
				c.awaitRing(ctx, alarm)
				w.writer.Add(history.Record{Alarm: alarm})
				if alarm.Ran == 0 {
					return
				}
			}
		})
	}
}

// set sets the alarm, with the same key until it is answered.
func (c *client) set(ctx context.Context, alarm *history.Alarm, key string) bool {
	alarm.Set = c.w.now()
	alarm.Due = alarm.Set + bellDelay
	for {
		var r rings
		if _, failed := c.ask(ctx, http.MethodPost, "/bell/"+alarm.Object, key, &r); failed == nil {
			return true
		}
		if !pause(ctx, c.w.stop, 200*time.Millisecond) {
			return false
		}
	}
}

// ringTime is how late an alarm may be.
const ringTime = 30 * time.Second

// awaitRing polls until the alarm has run.
func (c *client) awaitRing(ctx context.Context, alarm *history.Alarm) {
	for c.w.now() < alarm.Due+ringTime && ctx.Err() == nil {
		var r rings
		_, failed := c.ask(ctx, http.MethodGet, "/bell/"+alarm.Object, "", &r)
		if failed == nil && r.Rang >= alarm.N {
			alarm.Ran, alarm.Runs = c.w.now(), r.Rang
			return
		}
		pause(ctx, nil, 100*time.Millisecond)
	}
}
