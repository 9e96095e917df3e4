package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"runtime"
	"runtime/metrics"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"

	"holdfast/examples/demo/crowd"
	"holdfast/examples/room"
	"holdfast/gateway"
	"holdfast/objects"
)

// life returns a room's state: whether it is awake, and the event that woke it. Asking does not wake it.
func (d *demo) life(c *fiber.Ctx) error {
	name, err := gateway.Param("name")(c)
	if err != nil {
		return err
	}
	life, err := d.env.Look(c.UserContext(), d.env.Object(room.Rooms, name))
	c.Set(fiber.HeaderCacheControl, "no-store")
	if objects.CodeOf(err) == objects.NotFound {
		return c.JSON(fiber.Map{"owned": false})
	}
	if err != nil {
		return err
	}
	return c.JSON(fiber.Map{
		"owned": true, "owner": life.Host, "region": life.Region, "epoch": life.Epoch, "awake": life.Awake,
		"ms": life.Since.Milliseconds(), "woken": life.Woken, "constructed": life.Constructed, "sockets": life.Sockets,
	})
}

const (
	mostPeople = 2000
	fillTime   = 90 * time.Second // for all people to enter
	restTime   = 60 * time.Second // for which they stay
	settleTime = 5 * time.Second  // until no more messages come
	tellEvery  = time.Second
)

// filled is the cost of a crowd.
type filled struct {
	Type       string `json:"type"` // "filled"
	People     int    `json:"people"`
	Missing    int    `json:"missing"` // people who could not enter
	Why        string `json:"why,omitempty"`
	Ms         int64  `json:"ms"`
	Bytes      int64  `json:"bytes"`      // growth of the process's heap and stacks
	Client     int64  `json:"client"`     // bytes of these that are the client ends
	Goroutines int    `json:"goroutines"` // more than before
}

// resting is what a crowd gets while nothing happens.
type resting struct {
	Type     string `json:"type"` // "resting"
	People   int    `json:"people"`
	Messages int    `json:"messages"` // since the last line
	LeaveMs  int64  `json:"leaveMs"`  // until they leave
}

// fill fills a room with people who do nothing, as long as the answer is read, at most a minute. The answer is lines of
// JSON: how many people are in, what they cost by the process's own counters, and how many messages they get.
func (d *demo) fill(c *fiber.Ctx) error {
	if d.env.Faults() == nil {
		return objects.Errorf(objects.NotFound, "a room can be filled in dev only, where all that it costs is in one process")
	}
	name, err := gateway.Param("name")(c)
	if err != nil {
		return err
	}
	ask := struct {
		People int `json:"people"`
	}{mostPeople}
	if body := c.BodyRaw(); len(body) > 0 && json.Unmarshal(body, &ask) != nil || ask.People < 1 || ask.People > mostPeople {
		return objects.Errorf(objects.Invalid, `the body must be like {"people":2000}, from 1 to %d`, mostPeople)
	}
	if !d.crowded.CompareAndSwap(false, true) {
		return objects.Errorf(objects.Conflict, "a crowd is here already; it leaves within three minutes")
	}
	to := crowd.Room{Addr: c.Context().LocalAddr().String(), Host: utils.CopyString(string(c.Request().Host())), Path: "/room/" + url.PathEscape(name) + "?conflated"}
	c.Set(fiber.HeaderContentType, "application/x-ndjson")
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Context().SetBodyStreamWriter(func(w *bufio.Writer) {
		defer d.crowded.Store(false)
		d.stay(w, to, ask.People)
	})
	return nil
}

// stay makes a crowd enter, rest and leave.
func (d *demo) stay(w *bufio.Writer, to crowd.Room, n int) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), fillTime, fmt.Errorf("they had not come in after %v: the machine is busy", fillTime))
	defer cancel()
	lines := json.NewEncoder(w)
	say := func(line any) bool { return lines.Encode(line) == nil && w.Flush() == nil }

	before, running, began := memory(), runtime.NumGoroutine(), time.Now()
	people, err := crowd.Enter(ctx, to, n, func(in int) {
		if !say(fiber.Map{"type": "filling", "people": in}) {
			cancel()
		}
	})
	defer people.Leave()
	cost := filled{Type: "filled", Missing: n - people.People(), Ms: time.Since(began).Milliseconds()}
	if err != nil {
		cost.Why = err.Error()
	}
	for quiet := time.Now().Add(settleTime); people.Listen() > 0 && time.Now().Before(quiet); {
	}
	cost.People = people.People()
	cost.Bytes, cost.Goroutines = memory()-before, runtime.NumGoroutine()-running
	cost.Client = crowd.Half * int64(cost.People)
	if !say(cost) {
		return
	}
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	for leave := time.Now().Add(restTime); people.People() > 0 && time.Now().Before(leave); <-tick.C {
		if !say(resting{"resting", people.People(), people.Listen(), time.Until(leave).Milliseconds()}) {
			return
		}
	}
	say(fiber.Map{"type": "left"})
}

// memory returns the bytes of the process's live heap and stacks.
func memory() int64 {
	runtime.GC()
	runtime.GC() // frees what finalizers have released
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(samples)
	return int64(samples[0].Value.Uint64() + samples[1].Value.Uint64())
}
