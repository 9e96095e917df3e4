package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
	"golang.org/x/sync/errgroup"

	"holdfast/gateway"
	"holdfast/objects"
)

// What objects ask and tell each other, beside workerd's calls from object to object.

const pairs objects.Class = "pair"

var (
	askOther  = objects.NewCall[string, int](pairs, "ask")              // counts, and has another count
	tellOther = objects.NewCall[tellOrder, objects.None](pairs, "tell") // has others count, each once or all of them one
	count     = objects.NewCall[string, objects.None](pairs, "count")
	counted   = objects.NewCall[objects.None, int](pairs, "counted")

	pairObjects = objects.Implement(pairs, objects.New[pair],
		objects.On(askOther, (*pair).ask), objects.On(tellOther, (*pair).tell), objects.On(count, (*pair).count), objects.On(counted, (*pair).counted))

	total = objects.NewKey[int]("total")
)

// tellOrder is the input of tell: how many messages, and whether each goes to an object of its own.
type tellOrder struct {
	Messages int
	Fan      bool
	Watch    string // the key of their count
}

type pair struct{}

func (*pair) ask(tx *objects.Tx, other string) (int, error) {
	total.Set(tx, total.Get(tx)+1)
	if _, err := count.Do(tx, tx.Object(pairs, other), ""); err != nil {
		return 0, err
	}
	return total.Get(tx), nil
}

func (*pair) tell(tx *objects.Tx, o tellOrder) (objects.None, error) {
	for i := range o.Messages {
		count.Tell(tx, tx.Object(pairs, receiver(tx.Name(), o.Fan, i)), o.Watch)
	}
	return nil, nil
}

// receiver returns the object that is told the i-th message.
func receiver(of string, fan bool, i int) string {
	if !fan {
		i = 0
	}
	return fmt.Sprintf("%s-%d", of, i)
}

func (*pair) count(tx *objects.Tx, watch string) (objects.None, error) {
	total.Set(tx, total.Get(tx)+1)
	if watch != "" {
		watched.come(watch, tx.Name())
	}
	return nil, nil
}

func (*pair) counted(tx *objects.Tx, _ objects.None) (int, error) { return total.Get(tx), nil }

// arrivals are messages that were handled and may not be durable yet. Hosts and worker are one process.
type arrivals struct {
	chans chan arrival // of the one watch
	n     atomic.Int64 // watches so far
}

type arrival struct{ watch, at string }

var watched = arrivals{chans: make(chan arrival, 1<<16)}

func (a *arrivals) come(watch, at string) {
	select {
	case a.chans <- arrival{watch, at}:
	default: // nobody looks
	}
}

// lastUnderWay is how many of the last receivers may not have answered yet: an object sends to so many at once.
const lastUnderWay = 64

func askPair(c *fiber.Ctx, env *gateway.Env) error {
	name, err := gateway.Param("name")(c)
	if err != nil {
		return err
	}
	n, err := askOther.Do(c.UserContext(), env.Object(pairs, name), name+"-other")
	if err != nil {
		return err
	}
	return c.JSON(fiber.Map{"ticket": n})
}

// tellPair has an object tell, and answers when all is handled and durable. One request at a time.
func tellPair(c *fiber.Ctx, env *gateway.Env, fan bool) error {
	name, err := gateway.Param("name")(c)
	if err != nil {
		return err
	}
	ctx := c.UserContext()
	o := tellOrder{Messages: c.QueryInt("n"), Fan: fan, Watch: fmt.Sprint("w", watched.n.Add(1))}
	if _, err := tellOther.Do(ctx, env.Object(pairs, name), o); err != nil {
		return err
	}
	last, err := watched.await(ctx, o)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx) // what is read is durable, and all that came before at that object
	for at := range last {
		g.Go(func() error {
			_, err := counted.Do(ctx, env.Object(pairs, at), nil)
			return err
		})
	}
	return g.Wait()
}

// await returns the last receivers when all messages were handled.
func (a *arrivals) await(ctx context.Context, o tellOrder) (map[string]bool, error) {
	timer := time.NewTimer(30 * time.Second)
	defer timer.Stop()
	last := make(map[string]bool)
	for n := 0; n < o.Messages; {
		select {
		case came := <-a.chans:
			if came.watch != o.Watch {
				continue
			}
			if n++; n > o.Messages-lastUnderWay {
				last[came.at] = true
			}
		case <-timer.C:
			return nil, fmt.Errorf("%d of %d messages were handled in time", n, o.Messages)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return last, nil
}
