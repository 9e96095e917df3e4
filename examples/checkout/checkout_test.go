package checkout_test

import (
	"fmt"
	"testing"
	"time"

	"holdfast/examples/checkout"
	"holdfast/objects"
	"holdfast/objects/objectstest"
)

// shop returns a world with one book, and 25 euros of ada's.
func shop(t *testing.T) (w *objectstest.World, order, stock, account objects.Ref) {
	w = objectstest.New(t, checkout.Objects...)
	stock, account = w.Object(checkout.Stocks, "book"), w.Object(checkout.Accounts, "ada")
	if _, err := checkout.Fill.Do(t.Context(), stock, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := checkout.Deposit.Do(t.Context(), account, 2500); err != nil {
		t.Fatal(err)
	}
	return w, w.Object(checkout.Orders, "1"), stock, account
}

// outcome returns how an order of this price ends: its status, the books and the cents that are left.
func outcome(t *testing.T, w *objectstest.World, order, stock, account objects.Ref, cents int) string {
	t.Helper()
	for range 2 { // the client tries again
		o := checkout.Order{Item: "book", Payer: "ada", Cents: cents}
		if _, err := checkout.Place.Do(t.Context(), order, o); err != nil {
			t.Fatal(err)
		}
	}
	w.Advance(time.Minute)
	o, err := checkout.Show.Do(t.Context(), order, nil)
	if err != nil {
		t.Fatal(err)
	}
	books, err := checkout.Fill.Do(t.Context(), stock, 0)
	if err != nil {
		t.Fatal(err)
	}
	money, err := checkout.Deposit.Do(t.Context(), account, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s: %d books, %d cents", o.Status, books, money)
}

func TestAnOrderIsOneEffectWhicheverHostDies(t *testing.T) {
	for name, dies := range map[string]func(w *objectstest.World, order, stock, account objects.Ref){
		"none":                             func(*objectstest.World, objects.Ref, objects.Ref, objects.Ref) {},
		"the order's, when it is placed":   func(w *objectstest.World, o, _, _ objects.Ref) { w.Lose(o) },
		"the order's, before it is placed": func(w *objectstest.World, o, _, _ objects.Ref) { w.Refuse(o) },
		"the stock's":                      func(w *objectstest.World, _, s, _ objects.Ref) { w.Lose(s) },
		"the stock's, before":              func(w *objectstest.World, _, s, _ objects.Ref) { w.Refuse(s) },
		"the account's":                    func(w *objectstest.World, _, _, a objects.Ref) { w.Lose(a) },
		"all":                              func(w *objectstest.World, o, s, a objects.Ref) { w.Lose(o); w.Lose(s); w.Lose(a) },
		"every event runs twice":           func(w *objectstest.World, _, _, _ objects.Ref) { w.Twice() },
	} {
		w, order, stock, account := shop(t)
		dies(w, order, stock, account)
		if got := outcome(t, w, order, stock, account, 2000); got != "done: 0 books, 500 cents" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestWhatCannotBePaidIsGivenBack(t *testing.T) {
	w, order, stock, account := shop(t)
	if got := outcome(t, w, order, stock, account, 3000); got != "declined: 1 books, 2500 cents" {
		t.Error(got)
	}
	if got := outcome(t, w, w.Object(checkout.Orders, "2"), stock, account, 100); got != "done: 0 books, 2400 cents" {
		t.Error(got)
	}
	if got := outcome(t, w, w.Object(checkout.Orders, "3"), stock, account, 100); got != "sold_out: 0 books, 2400 cents" {
		t.Error(got)
	}
}
