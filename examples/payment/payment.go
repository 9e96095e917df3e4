// Package payment charges a card once: one object for each payment, named by the payer.
//
// However often a payment is asked for (a client that retries, a host that dies in between), the provider is asked to charge
// under one key, and the first answer is the payment's for ever.
package payment

import (
	"context"

	"github.com/gofiber/fiber/v2"

	"holdfast/gateway"
	"holdfast/objects"
)

// Payments are single payments.
const Payments objects.Class = "payment"

// What a payment can be asked.
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

// Provider charges cards. Of two charges under one key the second has no effect, and the same answer.
type Provider interface {
	Charge(ctx context.Context, key string, o Order) (receipt, declined string, err error)
}

// Objects returns the class with its code, before a provider.
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
	// While the provider is asked no other event of this payment runs. If the host dies now, this event runs again, with the
	// same key: it is made of what the object is, and not of what happens.
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
