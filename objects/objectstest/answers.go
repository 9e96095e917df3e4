package objectstest

import (
	"bytes"
	"net/http"
	"time"

	"holdfast/objects"
	"holdfast/objects/internal/engine"
)

// What is remembered of requests under an Idempotency-Key, as a host does.
const (
	keepAnswers = 24 * time.Hour
	maxAnswer   = 1 << 10 // bytes of an answer that is kept; of a larger one it is only known that it was given
)

// answer is what a request under a key was told.
type answer struct {
	method, url string
	body        []byte
	response    *engine.Response // nil: too large to keep
	at          time.Time
}

func keep(r *http.Request, body []byte, response *engine.Response, now time.Time) answer {
	a := answer{method: r.Method, url: r.URL.RequestURI(), body: body, at: now}
	if len(response.Body) <= maxAnswer {
		a.response = response
	}
	return a
}

// to is the answer to a request that comes again.
func (a answer) to(r *http.Request, body []byte) (*engine.Response, error) {
	switch {
	case r.Method != a.method || r.URL.RequestURI() != a.url || !bytes.Equal(body, a.body):
		return nil, objects.Errorf(objects.Conflict, "this idempotency key was used for another request")
	case a.response == nil:
		return nil, objects.Errorf(objects.Conflict, "this was done before; its answer was too large to keep")
	}
	return a.response, nil
}
