package payment_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"holdfast/examples/payment"
	"holdfast/gateway/gatewaytest"
	"holdfast/objects"
	"holdfast/objects/objectstest"
)

// bank is a provider that can be away.
type bank struct {
	charged map[string]int // cents, by key
	asked   int
	away    bool
}

func (b *bank) Charge(_ context.Context, key string, o payment.Order) (receipt, declined string, err error) {
	b.asked++
	if b.away {
		return "", "", errors.New("no connection")
	}
	if o.Card == "stolen" {
		return "", "the card is blocked", nil
	}
	if b.charged[key] == 0 {
		b.charged[key] = o.Cents
	}
	return fmt.Sprint("receipt ", len(b.charged)), "", nil
}

func TestAPaymentIsChargedOnceWhateverHappens(t *testing.T) {
	b := &bank{charged: map[string]int{}}
	w := objectstest.New(t, payment.Objects(b))
	order := payment.Order{Cents: 1250, Card: "4242"}
	for name, happens := range map[string]func(objects.Ref){
		"nothing":                           func(objects.Ref) {},
		"another host has taken it over":    w.Refuse,
		"its host dies when it has charged": w.Lose,
		"nobody hears the answer":           func(o objects.Ref) { w.Unknown(o, true) },
		"the charge is not kept":            func(o objects.Ref) { w.Unknown(o, false) },
	} {
		clear(b.charged)
		o := w.Object(payment.Payments, name)
		happens(o)
		if _, err := payment.Pay.Do(t.Context(), o, order); err != nil && objects.CodeOf(err) != objects.Unknown {
			t.Errorf("%s: %v", name, err)
		}
		p, err := payment.Pay.Do(t.Context(), o, order) // the client tries again
		if err != nil || p.Receipt != "receipt 1" || len(b.charged) != 1 {
			t.Errorf("%s: %+v, %v, charged %v, want one charge", name, p, err, b.charged)
		}
	}
}

func TestAPaymentSaysWhatBecameOfIt(t *testing.T) {
	b := &bank{charged: map[string]int{}, away: true}
	w := objectstest.New(t, payment.Objects(b))
	front := gatewaytest.New(t, w, payment.Worker)
	pay := func(id, body string) int {
		return front.Do(httptest.NewRequest("POST", "/payment/"+id, strings.NewReader(body))).StatusCode
	}
	if got := pay("a", `{"cents":5,"card":"4242"}`); got != 503 {
		t.Errorf("without a provider: %d", got)
	}
	b.away = false
	for body, want := range map[string]int{`{"cents":0,"card":"4242"}`: 400, `{"cents":5}`: 400, `{"coins":5}`: 400} {
		if got := pay("a", body); got != want {
			t.Errorf("%s: %d, want %d", body, got, want)
		}
	}
	if got := front.Do(httptest.NewRequest("GET", "/payment/a", nil)).StatusCode; got != 404 {
		t.Errorf("before it is paid: %d", got)
	}
	if first, other := pay("a", `{"cents":5,"card":"4242"}`), pay("a", `{"cents":6,"card":"4242"}`); first != 200 || other != 409 {
		t.Errorf("paid with %d, and for another sum with %d", first, other)
	}
	for range 2 {
		p, err := payment.Pay.Do(t.Context(), w.Object(payment.Payments, "b"), payment.Order{Cents: 5, Card: "stolen"})
		if err != nil || p.Declined == "" || p.Receipt != "" {
			t.Errorf("a blocked card: %+v, %v", p, err)
		}
	}
}
