package host

import (
	"slices"
	"time"

	"holdfast/internal/wire"
	"holdfast/objects/internal/record"
)

// Bounds of what a record remembers of requests. Together they leave room for
// the largest state in the smallest message that a server must allow.
const (
	maxAnswers     = 1024           // of gateways; the oldest go first
	maxAnswersSize = 96 << 10       // bytes of them
	maxKeyed       = 256            // of clients' keys; the oldest go first
	maxKeyedSize   = 96 << 10       // bytes of them
	keepKeyed      = 24 * time.Hour // how long a client's key is known
	maxKept        = 1 << 10        // bytes of an answer that is kept; a larger one is only known to have been given
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

// list is what to keep now, oldest first; the rest is forgotten.
func (a *answers) list(now time.Time) []record.Answer {
	gateways, clients := budget{maxAnswers, maxAnswersSize}, budget{maxKeyed, maxKeyedSize}
	kept, list := make([]request, 0, len(a.order)), make([]record.Answer, 0, len(a.order))
	for _, name := range slices.Backward(a.order) {
		answer := a.byRequest[name]
		from, wanted := &gateways, name.n >= a.low[name.gateway]
		if name.key != "" {
			from, wanted = &clients, now.Sub(answer.At) <= keepKeyed
		}
		if !wanted || !from.take(answer.Size()) {
			delete(a.byRequest, name)
			continue
		}
		kept, list = append(kept, name), append(list, answer)
	}
	slices.Reverse(kept)
	slices.Reverse(list)
	a.order = kept
	return list
}

// budget is how much more may be kept.
type budget struct{ answers, bytes int }

func (b *budget) take(size int) bool {
	b.answers--
	b.bytes -= size
	return b.answers >= 0 && b.bytes >= 0
}
