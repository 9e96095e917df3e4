// Command streams serves objects that stream as many bytes as they are asked for, and read what is uploaded.
package main

import (
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/gofiber/fiber/v2"

	"holdfast/app"
	"holdfast/gateway"
	"holdfast/objects"
)

const presses objects.Class = "press"

var turns = objects.NewCall[objects.None, int](presses, "turns")

var turnsKey = objects.NewKey[int]("turns")

func main() {
	app.Main(app.Config{
		Objects: []*objects.Implementation{
			objects.Implement(presses, objects.New[press], objects.On(turns, (*press).turns)).With(objects.Settings{Upload: 1 << 30}),
		},
		Worker: func(r fiber.Router, env *gateway.Env) {
			r.Post("/turns/:name", gateway.Handle(env, turns, gateway.Param("name")))
			env.Mount(r, "/press/:name", presses)
		},
	})
}

type press struct{}

func (*press) turns(tx *objects.Tx, _ objects.None) (int, error) {
	n := turnsKey.Get(tx) + 1
	turnsKey.Set(tx, n)
	return n, nil
}

// ServeHTTP streams n bytes for GET, and reads the body of everything else.
func (*press) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	tx := objects.TxOf(r)
	if r.Method != http.MethodGet {
		tx.Stream(func(_ *objects.Task, out io.Writer) error {
			n, err := io.Copy(io.Discard, r.Body)
			if err == nil {
				_, err = fmt.Fprint(out, n)
			}
			return err
		})
		return
	}
	n, err := strconv.ParseInt(r.URL.Query().Get("n"), 10, 64)
	if err != nil {
		tx.Refuse(err)
		return
	}
	tx.Stream(func(_ *objects.Task, out io.Writer) error {
		piece := make([]byte, 32<<10)
		for n > 0 {
			some, err := out.Write(piece[:min(n, int64(len(piece)))])
			if n -= int64(some); err != nil {
				return err
			}
		}
		return nil
	})
}
