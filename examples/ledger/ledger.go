// Package ledger is the books of a firm: one object with a database. Most of its queries are sqlc's, in package books.
package ledger

import (
	_ "embed"
	"errors"
	"time"

	"github.com/gofiber/fiber/v2"

	"holdfast/examples/ledger/books"
	"holdfast/gateway"
	"holdfast/objects"
	"holdfast/objects/sqlite"
)

// Firms are firms that keep books.
const Firms objects.Class = "ledger"

// What a firm can be asked.
var (
	Pay      = objects.NewCall[Payment, books.Transfer](Firms, "pay")
	Accounts = objects.NewCall[objects.None, []books.Account](Firms, "accounts")
	History  = objects.NewCall[string, []books.Transfer](Firms, "history") // of an account
)

// Payment moves money from one account to another. Money comes from the account "bank", which may owe.
type Payment struct {
	From  string `json:"from"`
	To    string `json:"to"`
	Cents int64  `json:"cents"`
	Memo  string `json:"memo"`
}

// Objects is the class with its code.
var Objects = objects.Implement(Firms, open, objects.On(Pay, (*firm).pay), objects.On(Accounts, (*firm).accounts), objects.On(History, (*firm).history))

// Worker adds the firms' routes.
func Worker(r fiber.Router, env *gateway.Env) {
	r.Post("/ledger/:firm", gateway.Handle(env, Pay, gateway.Param("firm")))
	r.Get("/ledger/:firm", gateway.Handle(env, Accounts, gateway.Param("firm")))
}

//go:embed schema.sql
var schema string

type firm struct{}

// open brings the database up to date. Later steps come behind the schema.
func open(tx *objects.Tx) *firm {
	sqlite.Migrate(tx, schema)
	return new(firm)
}

// pay makes a transfer, or refuses all of it: what the statements have done by then is rolled back with the event.
func (*firm) pay(tx *objects.Tx, p Payment) (t books.Transfer, err error) {
	if p.From == "" || p.To == "" || p.From == p.To || len(p.From)+len(p.To)+len(p.Memo) > 1000 {
		return t, objects.Errorf(objects.Invalid, "want two accounts, and no long memo")
	}
	q := books.New(sqlite.ConnOf(tx))
	for _, name := range []string{p.From, p.To} {
		if err := q.OpenAccount(tx, name); err != nil {
			return t, err
		}
	}
	t = books.Transfer{Payer: p.From, Payee: p.To, Cents: p.Cents, Memo: p.Memo, MadeAt: tx.Now().UTC().Format(time.RFC3339)}
	t.ID, err = q.InsertTransfer(tx, books.InsertTransferParams{Payer: t.Payer, Payee: t.Payee, Cents: t.Cents, Memo: t.Memo, MadeAt: t.MadeAt})
	if errors.Is(err, sqlite.ErrConstraint) {
		return t, objects.Errorf(objects.Invalid, "an amount is more than nothing")
	}
	if err != nil {
		return t, err
	}
	if err := q.ChangeBalance(tx, books.ChangeBalanceParams{Name: p.To, Cents: p.Cents}); err != nil {
		return t, err
	}
	err = q.ChangeBalance(tx, books.ChangeBalanceParams{Name: p.From, Cents: -p.Cents})
	if errors.Is(err, sqlite.ErrConstraint) {
		return t, objects.Errorf("not_enough", "%s has less than %d cents", p.From, p.Cents)
	}
	return t, err
}

// accounts needs no generated code.
func (*firm) accounts(tx *objects.Tx, _ objects.None) ([]books.Account, error) {
	all, err := sqlite.All[books.Account](tx, `SELECT name, cents FROM account ORDER BY name`)
	return append([]books.Account{}, all...), err // none are [] in JSON
}

func (*firm) history(tx *objects.Tx, account string) ([]books.Transfer, error) {
	return books.New(sqlite.ConnOf(tx)).ListTransfers(tx, books.ListTransfersParams{Payer: account, Limit: 100})
}
