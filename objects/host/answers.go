package host

import (
	"time"

	"holdfast/internal/wire"
	"holdfast/objects/internal/record"
)

// Bounds of what a record remembers of requests.
const (
	maxAnswers = 1024           // of gateways; the oldest go first
	maxKeyed   = 256            // of clients' keys; the oldest go first
	keepKeyed  = 24 * time.Hour // how long a client's key is known
	maxKept    = 1 << 10        // bytes of an answer that is kept; a larger one is only known to have been given
)

// request names a request: by its gateway and number, or by the client's key.
type request struct {
	gateway string
	n       uint64
	key     string
}

func requestOf(req *wire.Request) request {
	if req.Key != "" {
		return request{key: req.Key}
	}
	return request{gateway: req.Gateway, n: req.N}
}

// answers are those of the requests that a commit covers. A gateway's is kept
// until the gateway waits for it no more, a client's for a day.
type answers struct {
	byRequest map[request]record.Answer
	order     []request         // as they were given
	low       map[string]uint64 // a gateway waits for nothing below
	keyed     int
}

func answersOf(list []record.Answer) answers {
	a := answers{byRequest: make(map[request]record.Answer), low: make(map[string]uint64)}
	for _, answer := range list {
		a.add(answer)
	}
	return a
}

func (a *answers) find(req *wire.Request) (record.Answer, bool) {
	answer, ok := a.byRequest[requestOf(req)]
	return answer, ok
}

func (a *answers) add(answer record.Answer) {
	name := request{gateway: answer.Gateway, n: answer.N}
	if answer.Key != "" {
		name = request{key: answer.Key}
		a.keyed++
	}
	a.byRequest[name] = answer.Encoded()
	a.order = append(a.order, name)
}

// heard notes what a gateway still waits for.
func (a *answers) heard(req *wire.Request) {
	if req.Low > a.low[req.Gateway] {
		a.low[req.Gateway] = req.Low
	}
}

// list is what to keep now; the rest is forgotten.
func (a *answers) list(now time.Time) []record.Answer {
	kept, list := a.order[:0], make([]record.Answer, 0, len(a.order))
	gateways := len(a.order) - a.keyed
	for _, name := range a.order {
		answer := a.byRequest[name]
		drop := false
		if name.key != "" {
			drop = now.Sub(answer.At) > keepKeyed || a.keyed > maxKeyed
			if drop {
				a.keyed--
			}
		} else {
			drop = name.n < a.low[name.gateway] || gateways > maxAnswers
			if drop {
				gateways--
			}
		}
		if drop {
			delete(a.byRequest, name)
			continue
		}
		kept, list = append(kept, name), append(list, answer)
	}
	clear(a.order[len(kept):])
	a.order = kept
	return list
}
