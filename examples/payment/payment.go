// Package payment charges a card once: one object for each payment, named by the payer.
//
// However often a payment is requested (a client that retries, a host that dies in between), the provider gets the
// charge under one key, and the payment's first result stays.
package payment

import (
	"context"

	"github.com/gofiber/fiber/v2"

	"holdfast/gateway"
	"holdfast/objects"
)

// Payments are single payments.
const Payments objects.Class = "payment"

// The calls of a payment.
var (
	Pay  = objects.NewCall[Order, Payment](Payments, "pay")
	Show = objects.NewCall[objects.None, Payment](Payments, "show")
)

// Order is the amount and the card to charge.
type Order struct {
	Cents int    `json:"cents"`
	Card  string `json:"card"`
}

// Payment is the outcome of an Order.
type Payment struct {
	Order
	Receipt  string `json:"receipt,omitempty"`
	Declined string `json:"declined,omitempty"` // why
}

// Provider charges cards. A second charge under the same key has no effect, and the same answer.
type Provider interface {
	Charge(ctx context.Context, key string, o Order) (receipt, declined string, err error)
}

// Objects returns the class with its code, in front of a provider.
func Objects(p Provider) *objects.Implementation {
	open := func(*objects.Tx) *payment { return &payment{p} }
	return objects.Implement(Payments, open, objects.On(Pay, (*payment).pay), objects.On(Show, (*payment).show))
}

// Worker adds the payments' routes.
func Worker(r fiber.Router, env *gateway.Env) {
	r.Post("/payment/:id", gateway.Handle(env, Pay, gateway.Param("id")))
	r.Get("/payment/:id", gateway.Handle(env, Show, gateway.Param("id")))
}

var done = objects.NewKey[Payment]("done")

type payment struct{ provider Provider }

func (p *payment) pay(tx *objects.Tx, o Order) (Payment, error) {
	if before, paid := done.Lookup(tx); paid {
		if before.Order != o {
			return Payment{}, objects.Errorf(objects.Conflict, "this payment is of %d cents from another order", before.Cents)
		}
		return before, nil
	}
	if o.Cents <= 0 || o.Card == "" {
		return Payment{}, objects.Errorf(objects.Invalid, "want cents, more than 0, and a card")
	}
	// While the provider works, no other event of this payment runs. If the host dies now, the event runs again with
	// the same key, because the key is made of the event's id.
	receipt, declined, err := p.provider.Charge(tx, tx.ID().String(), o)
	if err != nil {
		return Payment{}, objects.Errorf(objects.Unavailable, "the provider does not answer; try again: %w", err)
	}
	result := Payment{o, receipt, declined}
	done.Set(tx, result)
	return result, nil
}

func (*payment) show(tx *objects.Tx, _ objects.None) (Payment, error) {
	result, paid := done.Lookup(tx)
	if !paid {
		return result, objects.Errorf(objects.NotFound, "nothing was paid yet")
	}
	return result, nil
}
