// Package tokens is a chat with a language model: one object for each chat. The answer is streamed as the model makes
// it, beside the chat's events, and stored when it is complete, or when its reader has left.
package tokens

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"

	"github.com/gofiber/fiber/v2"

	"holdfast/gateway"
	"holdfast/objects"
)

// Chats are chats with a model.
const Chats objects.Class = "tokens"

// The calls of a chat.
var (
	History = objects.NewCall[objects.None, []Turn](Chats, "history")

	answered = objects.NewCall[string, objects.None](Chats, "answered") // by the stream
)

// Turn is one text of the user or the model.
type Turn struct {
	Who  string `json:"who"` // you, model
	Text string `json:"text"`
}

// Model answers the last text, a token at a time, until ctx ends.
type Model func(ctx context.Context, history []Turn) iter.Seq[string]

// Objects returns the class with its code, in front of a model.
func Objects(model Model) *objects.Implementation {
	return objects.Implement(Chats, func(*objects.Tx) *chat { return &chat{model} },
		objects.On(History, (*chat).history), objects.On(answered, (*chat).answered))
}

// Worker adds the chats' routes.
func Worker(r fiber.Router, env *gateway.Env) {
	r.Get("/tokens/:chat/history", gateway.Handle(env, History, gateway.Param("chat")))
	env.Mount(r, "/tokens/:chat", Chats)
}

var turns = objects.NewMap[int, Turn]("turn")

type chat struct{ model Model }

func (c *chat) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	tx := objects.TxOf(r)
	question, err := io.ReadAll(r.Body)
	if err != nil || len(question) == 0 {
		tx.Refuse(objects.Errorf(objects.Invalid, "ask something"))
		return
	}
	history := say(tx, Turn{"you", string(question)})
	w.Header().Set("Content-Type", "text/event-stream")
	tx.Stream(func(t *objects.Task, out io.Writer) error {
		var said strings.Builder
		for token := range c.model(t, history) {
			said.WriteString(token)
			text, err := json.Marshal(token)
			if err == nil {
				_, err = fmt.Fprintf(out, "data: %s\n\n", text)
			}
			if err != nil {
				break // the reader has left: the model stops, and its text so far is stored
			}
		}
		_, err := answered.Do(context.WithoutCancel(t), t.Self(), said.String())
		return err
	})
}

// say stores a turn, and returns all turns.
func say(tx *objects.Tx, turn Turn) (all []Turn) {
	for _, before := range turns.All(tx) {
		all = append(all, before)
	}
	turns.Set(tx, len(all), turn)
	return append(all, turn)
}

func (c *chat) answered(tx *objects.Tx, text string) (objects.None, error) {
	say(tx, Turn{"model", text})
	return nil, nil
}

func (c *chat) history(tx *objects.Tx, _ objects.None) (all []Turn, err error) {
	all = []Turn{} // none are [] in JSON
	for _, turn := range turns.All(tx) {
		all = append(all, turn)
	}
	return all, nil
}
