package acceptance

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/objects"
	"holdfast/objects/host"
)

// A checkout over three objects: the order tells the stock, the stock tells the order, the order tells the account, and so on.
// They are objects of one class, because the caller of these tests knows one.

const checkouts objects.Class = "probe"

type step struct{ Order, Item string }

var (
	checkout = objects.NewCall[string, objects.None](checkouts, "checkout")
	reserve  = objects.NewCall[step, objects.None](checkouts, "reserve")
	reserved = objects.NewCall[bool, objects.None](checkouts, "reserved")
	charge   = objects.NewCall[step, objects.None](checkouts, "charge")
	charged  = objects.NewCall[objects.None, objects.None](checkouts, "charged")
	fill     = objects.NewCall[int, objects.None](checkouts, "fill")
	number   = objects.NewCall[objects.None, int](checkouts, "number")
	state    = objects.NewCall[objects.None, string](checkouts, "state")
	grumble  = objects.NewCall[string, objects.None](checkouts, "grumble") // by whom it is told to

	amount = objects.NewKey[int]("amount")
	stage  = objects.NewKey[string]("stage")
)

type shop struct{ refuse *atomic.Bool }

func shopClass(refuse *atomic.Bool) *objects.Implementation {
	return objects.Implement(checkouts, func(*objects.Tx) shop { return shop{refuse} },
		objects.On(checkout, shop.checkout), objects.On(reserve, shop.reserve), objects.On(reserved, shop.reserved), objects.On(charge, shop.charge),
		objects.On(charged, shop.charged), objects.On(fill, shop.fill), objects.On(number, shop.number), objects.On(state, shop.state), objects.On(grumble, shop.grumble))
}

func (shop) fill(tx *objects.Tx, n int) (objects.None, error) {
	amount.Set(tx, n)
	return nil, nil
}

func (shop) number(tx *objects.Tx, _ objects.None) (int, error)   { return amount.Get(tx), nil }
func (shop) state(tx *objects.Tx, _ objects.None) (string, error) { return stage.Get(tx), nil }

func (shop) checkout(tx *objects.Tx, item string) (objects.None, error) {
	if stage.Get(tx) != "" {
		return nil, nil
	}
	stage.Set(tx, "ordered")
	reserve.Tell(tx, tx.Object(checkouts, "stock-"+item), step{tx.Name(), item})
	return nil, nil
}

func (shop) reserve(tx *objects.Tx, s step) (objects.None, error) {
	left := amount.Get(tx)
	if left > 0 {
		amount.Set(tx, left-1)
	}
	reserved.Tell(tx, tx.Object(checkouts, s.Order), left > 0)
	return nil, nil
}

func (shop) reserved(tx *objects.Tx, ok bool) (objects.None, error) {
	if stage.Set(tx, "sold out"); ok {
		stage.Set(tx, "reserved")
		charge.Tell(tx, tx.Object(checkouts, "account"), step{Order: tx.Name()})
	}
	return nil, nil
}

func (shop) charge(tx *objects.Tx, s step) (objects.None, error) {
	amount.Set(tx, amount.Get(tx)-10)
	charged.Tell(tx, tx.Object(checkouts, s.Order), nil)
	return nil, nil
}

func (shop) charged(tx *objects.Tx, _ objects.None) (objects.None, error) {
	stage.Set(tx, "paid")
	return nil, nil
}

func (s shop) grumble(tx *objects.Tx, to string) (objects.None, error) {
	switch {
	case to != "":
		grumble.Tell(tx, tx.Object(checkouts, to), "")
	case s.refuse.Load():
		return nil, objects.Errorf(objects.Conflict, "not today")
	default:
		amount.Set(tx, amount.Get(tx)+1)
	}
	return nil, nil
}

func ask[In, Out any](t *testing.T, call objects.Call[In, Out], to objects.Ref, in In) Out {
	t.Helper()
	out, err := call.Do(t.Context(), to, in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Hosts are cut off from NATS one after the other, while orders are checked out.
func TestACheckoutOverThreeObjectsHasOneEffectThoughItsHostsAreLost(t *testing.T) {
	onAll(t, func(t *testing.T, on *substrate) {
		on.startHost(t, "stays", "fra", steady, nil, shopClass(new(atomic.Bool)))
		next := on.startHost(t, "0", "fra", quick, nil, shopClass(new(atomic.Bool)))
		caller := on.caller(t)
		const orders, pieces = 12, 7
		ask(t, fill, caller("stock-tea"), pieces)
		ask(t, fill, caller("account"), 1000)
		for i := range orders {
			if i%3 == 1 {
				next.cut()
				next = on.startHost(t, fmt.Sprint(i), "fra", quick, nil, shopClass(new(atomic.Bool)))
			}
			ask(t, checkout, caller(fmt.Sprint("order-", i)), "tea")
		}
		paid, soldOut := 0, 0
		await(t, "all orders are settled", func() bool {
			paid, soldOut = 0, 0
			for i := range orders {
				switch ask(t, state, caller(fmt.Sprint("order-", i)), nil) {
				case "paid":
					paid++
				case "sold out":
					soldOut++
				}
			}
			return paid+soldOut == orders
		})
		if paid != pieces || soldOut != orders-pieces {
			t.Errorf("%d orders are paid and %d sold out, want %d and %d", paid, soldOut, pieces, orders-pieces)
		}
		if left, money := ask(t, number, caller("stock-tea"), nil), ask(t, number, caller("account"), nil); left != 0 || money != 1000-10*pieces {
			t.Errorf("%d pieces and %d of the money are left, want 0 and %d", left, money, 1000-10*pieces)
		}
	})
}

func TestAParkedTellIsSeenAndSentAgainByHand(t *testing.T) {
	t.Parallel()
	on := single(t)
	refuse := new(atomic.Bool)
	refuse.Store(true)
	on.startHost(t, "a", "fra", steady, nil, shopClass(refuse))
	caller := on.caller(t)
	ask(t, grumble, caller("from"), "to")
	in, err := host.Inspect(t.Context(), on.dial(t))
	if err != nil {
		t.Fatal(err)
	}
	id := caller("from").ID()
	var told *host.Told
	await(t, "the message is parked", func() bool {
		info, err := in.Get(t.Context(), id, "from")
		told = info.Told
		return err == nil && told != nil && told.Parked == 1
	})
	if m := told.First[0]; m.State != "parked" || m.Name != "to" || m.Call != "grumble" || m.Code != "conflict" || m.Message != "not today" {
		t.Errorf("parked: %+v", m)
	}
	if _, err := host.Parked(t.Context(), on.dial(t), id, "from", told.First[0].N+1, false); objects.CodeOf(err) != objects.NotFound {
		t.Errorf("one that is not there: %v", err)
	}
	refuse.Store(false)
	if n, err := host.Parked(t.Context(), on.dial(t), id, "from", told.First[0].N, false); n != 1 || err != nil {
		t.Fatalf("sent again: %d, %v", n, err)
	}
	await(t, "it is handled", func() bool { return ask(t, number, caller("to"), nil) == 1 })
}

func TestATimerOutlivesItsHost(t *testing.T) {
	onAll(t, func(t *testing.T, on *substrate) {
		impl := objects.Implement(checkouts, objects.New[clockwork], objects.On(fill, (*clockwork).later), objects.On(charged, (*clockwork).ring), objects.On(number, (*clockwork).number))
		first := on.startHost(t, "first", "fra", quick, nil, impl)
		caller := on.caller(t)
		ask(t, fill, caller("clock"), 3)
		first.cut()
		on.startHost(t, "second", "fra", steady, nil, impl)
		await(t, "all timers have run", func() bool { return ask(t, number, caller("clock"), nil) == 3 })
	})
}

// clockwork has timers that count.
type clockwork struct{}

func (*clockwork) later(tx *objects.Tx, n int) (objects.None, error) {
	for range n {
		charged.Tell(tx, tx.Self(), nil, objects.After(time.Second))
	}
	return nil, nil
}

func (*clockwork) ring(tx *objects.Tx, _ objects.None) (objects.None, error) {
	amount.Set(tx, amount.Get(tx)+1)
	return nil, nil
}

func (*clockwork) number(tx *objects.Tx, _ objects.None) (int, error) { return amount.Get(tx), nil }
