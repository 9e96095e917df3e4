// Package echo says what it is told, and keeps nothing: an object at its cheapest,
// to measure what an object costs.
package echo

import (
	"context"
	"net/http"

	"holdfast/objects"
)

// Say asks the object to say something back.
var Say = objects.NewCall[[]byte, []byte]("say")

// Class is the class to run.
var Class = objects.Define("echo", New, objects.On(Say, (*Echo).say))

// Echo answers calls with what they brought, and sends what one socket says to all
// others as it is.
type Echo struct{ state *objects.State }

// New makes an Echo.
func New(state *objects.State) *Echo { return &Echo{state} }

func (e *Echo) say(_ context.Context, words []byte) ([]byte, error) { return words, nil }

// ServeHTTP takes a WebSocket.
func (e *Echo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, err := e.state.Accept(r); err != nil {
		http.Error(w, err.Error(), objects.CodeOf(err).HTTPStatus())
	}
}

// WebSocketMessage sends a message to all sockets but the one it came from.
func (e *Echo) WebSocketMessage(_ context.Context, from *objects.Socket, m objects.Message) error {
	for _, socket := range e.state.Sockets() {
		if socket != from {
			socket.Send(m)
		}
	}
	return nil
}
