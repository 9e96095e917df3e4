package ledger_test

import (
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"holdfast/examples/ledger"
	"holdfast/gateway/gatewaytest"
	"holdfast/objects"
	"holdfast/objects/objectstest"
)

func TestTheBooksAlwaysBalance(t *testing.T) {
	w := objectstest.New(t, ledger.Objects)
	w.Twice() // every event also runs where nothing comes of it
	acme := w.Object(ledger.Firms, "acme")
	pay := func(from, to string, cents int64) objects.Code {
		_, err := ledger.Pay.Do(t.Context(), acme, ledger.Payment{From: from, To: to, Cents: cents, Memo: "for tea"})
		return objects.CodeOf(err)
	}
	for _, step := range []struct {
		from, to string
		cents    int64
		want     objects.Code
		befalls  func(objects.Ref)
	}{
		{"bank", "ada", 1000, "", nil},
		{"ada", "bob", 300, "", w.Evict},
		{"ada", "bob", 701, "not_enough", nil},
		{"ada", "carl", 5000, "not_enough", w.Move}, // carl gets no account
		{"ada", "bob", 700, "", w.Refuse},
		{"bob", "ada", 0, objects.Invalid, nil},
		{"bob", "ada", 1, "", w.Lose},
	} {
		if step.befalls != nil {
			step.befalls(acme)
		}
		if got := pay(step.from, step.to, step.cents); got != step.want {
			t.Errorf("%s pays %s %d: %q, want %q", step.from, step.to, step.cents, got, step.want)
		}
	}
	accounts, err := ledger.Accounts.Do(t.Context(), acme, nil)
	if got := fmt.Sprint(accounts); got != "[{ada 1} {bank -1000} {bob 999}]" || err != nil {
		t.Errorf("accounts are %s, %v", got, err)
	}
	history, err := ledger.History.Do(t.Context(), acme, "bob")
	if err != nil || len(history) != 3 || history[0].Payee != "ada" || history[2].Cents != 300 {
		t.Errorf("history is %+v, %v", history, err)
	}
}

func TestBooksInWhichNothingStandsAreEmptyLists(t *testing.T) {
	w := objectstest.New(t, ledger.Objects)
	res := gatewaytest.New(t, w, ledger.Worker).Do(httptest.NewRequest("GET", "/ledger/new", nil))
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || strings.TrimSpace(string(body)) != "[]" {
		t.Errorf("accounts: %d %s, %v", res.StatusCode, body, err)
	}
	if history, err := ledger.History.Do(t.Context(), w.Object(ledger.Firms, "new"), "ada"); err != nil || history == nil {
		t.Errorf("history: %#v, %v", history, err)
	}
}
