package app_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"

	"holdfast/app"
	"holdfast/gateway"
	"holdfast/objects"
)

// careless lets another goroutine write during the event.
type careless struct{}

var (
	carelessClass objects.Class = "careless"
	carelessCall                = objects.NewCall[objects.None, int](carelessClass, "write")
	carelessKey                 = objects.NewKey[int]("n")
)

func (careless) write(tx *objects.Tx, _ objects.None) (int, error) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		carelessKey.Set(tx, 1)
	}()
	<-ended
	return carelessKey.Get(tx), nil
}

func TestDevFindsATransactionThatAnotherGoroutineUses(t *testing.T) {
	cfg := app.Config{
		Objects: []*objects.Implementation{objects.Implement(carelessClass, func(*objects.Tx) careless { return careless{} }, objects.On(carelessCall, careless.write))},
		Worker: func(r fiber.Router, env *gateway.Env) {
			r.Post("/careless/:name", gateway.Handle(env, carelessCall, gateway.Param("name")))
		},
	}
	p := start(t, cfg, "dev", "--json", "--port", "0", "--nats-port", "0", "--store", "memory", "--rtt", "0", "--regions", "fra")
	var b devBanner
	if err := json.Unmarshal([]byte(p.stdout.String()), &b); err != nil {
		t.Fatal(err)
	}
	if status, said := fetch(t, http.MethodPost, b.Regions[0].URL+"/careless/a"); status != http.StatusOK || said != "0" {
		t.Errorf("%d %s, want that the other goroutine has written nothing", status, said)
	}
	if log := p.stderr.String(); !strings.Contains(log, "transaction misused") || !strings.Contains(log, "careless_test.go") {
		t.Errorf("the log does not say where it was:\n%s", log)
	}
}
