// Package checkout takes an order through two other objects: the stock of the item, and the account that pays. A crash
// of any of them, at any moment, leaves one order, one piece less and one charge, or none of these.
package checkout

import (
	"github.com/gofiber/fiber/v2"

	"holdfast/gateway"
	"holdfast/objects"
)

// The classes.
const (
	Orders   objects.Class = "order"   // by the order's number
	Stocks   objects.Class = "stock"   // by the item
	Accounts objects.Class = "account" // by who pays
)

// The calls of orders, stocks and accounts.
var (
	Place    = objects.NewCall[Order, objects.None](Orders, "place")
	Show     = objects.NewCall[objects.None, Order](Orders, "show")
	goOn     = objects.NewCall[objects.None, objects.None](Orders, "go-on") // an order tells itself to go on
	Fill     = objects.NewCall[int, int](Stocks, "fill")                    // adds pieces; returns how many there are
	reserve  = objects.NewCall[objects.None, int](Stocks, "reserve")
	giveBack = objects.NewCall[objects.None, int](Stocks, "give-back")
	Deposit  = objects.NewCall[int, int](Accounts, "deposit") // adds cents; returns how many there are
	charge   = objects.NewCall[int, int](Accounts, "charge")
)

// Order is one piece of an item.
type Order struct {
	Item   string `json:"item"`
	Payer  string `json:"payer"`
	Cents  int    `json:"cents"`
	Status string `json:"status,omitempty"` // pending, done, sold out, declined
}

// Objects are the three classes with their code.
var Objects = []*objects.Implementation{
	objects.Implement(Orders, objects.New[order], objects.On(Place, (*order).place), objects.On(goOn, (*order).goOn), objects.On(Show, (*order).show)),
	objects.Implement(Stocks, objects.New[stock], objects.On(Fill, (*stock).fill), objects.On(reserve, (*stock).reserve), objects.On(giveBack, (*stock).giveBack)),
	objects.Implement(Accounts, objects.New[account], objects.On(Deposit, (*account).deposit), objects.On(charge, (*account).charge)),
}

// Worker adds the routes.
func Worker(r fiber.Router, env *gateway.Env) {
	r.Post("/checkout/orders/:number", gateway.Handle(env, Place, gateway.Param("number")))
	r.Get("/checkout/orders/:number", gateway.Handle(env, Show, gateway.Param("number")))
	r.Post("/checkout/stocks/:item", gateway.Handle(env, Fill, gateway.Param("item")))
	r.Post("/checkout/accounts/:payer", gateway.Handle(env, Deposit, gateway.Param("payer")))
}

const (
	soldOut  objects.Code = "sold_out"
	declined objects.Code = "declined"
)

var placed = objects.NewKey[Order]("order")

type order struct{}

// place stores the order, and tells it to go on: both happen or neither.
func (*order) place(tx *objects.Tx, o Order) (objects.None, error) {
	if before, ok := placed.Lookup(tx); ok {
		if o.Status = before.Status; o != before {
			return nil, objects.Errorf(objects.Conflict, "this order is for one %s", before.Item)
		}
		return nil, nil
	}
	o.Status = "pending"
	placed.Set(tx, o)
	goOn.Tell(tx, tx.Self(), nil)
	return nil, nil
}

// goOn asks the other objects. It runs until it has succeeded. If the host dies it runs again, and its earlier asks do
// not run again: they get the same answers.
func (*order) goOn(tx *objects.Tx, _ objects.None) (objects.None, error) {
	o := placed.Get(tx)
	item := tx.Object(Stocks, o.Item)
	_, err := reserve.Do(tx, item, nil)
	if err == nil {
		_, err = charge.Do(tx, tx.Object(Accounts, o.Payer), o.Cents)
		if objects.CodeOf(err) == declined {
			if _, err := giveBack.Do(tx, item, nil); err != nil {
				return nil, err
			}
		}
	}
	switch objects.CodeOf(err) {
	case "":
		o.Status = "done"
	case soldOut, declined:
		o.Status = string(objects.CodeOf(err))
	default:
		return nil, err // an object was not reached, for example: goOn is tried again later
	}
	placed.Set(tx, o)
	return nil, nil
}

func (*order) show(tx *objects.Tx, _ objects.None) (Order, error) {
	o, ok := placed.Lookup(tx)
	if !ok {
		return o, objects.Errorf(objects.NotFound, "no such order")
	}
	return o, nil
}

var left = objects.NewKey[int]("left") // pieces, or cents

func add(tx *objects.Tx, n int) int {
	n += left.Get(tx)
	left.Set(tx, n)
	return n
}

type stock struct{}

func (*stock) fill(tx *objects.Tx, n int) (int, error)              { return add(tx, n), nil }
func (*stock) giveBack(tx *objects.Tx, _ objects.None) (int, error) { return add(tx, 1), nil }

func (*stock) reserve(tx *objects.Tx, _ objects.None) (int, error) {
	if left.Get(tx) == 0 {
		return 0, objects.Errorf(soldOut, "no %s is left", tx.Name())
	}
	return add(tx, -1), nil
}

type account struct{}

func (*account) deposit(tx *objects.Tx, cents int) (int, error) { return add(tx, cents), nil }

func (*account) charge(tx *objects.Tx, cents int) (int, error) {
	if have := left.Get(tx); have < cents {
		return 0, objects.Errorf(declined, "%s has %d cents", tx.Name(), have)
	}
	return add(tx, -cents), nil
}
