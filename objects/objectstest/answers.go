package objectstest

import (
	"crypto/sha256"
	"net/http"
	"time"

	"holdfast/objects"
	"holdfast/objects/internal/engine"
)

// Bounds of the answers that are remembered under idempotency keys, as at a host.
const (
	keepAnswers = 24 * time.Hour
	maxAnswer   = 1 << 10 // bytes of an answer that is kept; of a larger one only the fact is kept
)

// question is the digest of a request under a key.
type question [sha256.Size]byte

// questionless is the question of an event without a key.
var questionless question

func ask(parts ...string) question {
	h := sha256.New()
	for _, part := range parts {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	return question(h.Sum(nil))
}

// answer is the answer to a request under a key.
type answer struct {
	to    question
	out   engine.Outcome
	known bool // the answer was small enough to keep
	at    time.Time
}

// once runs an event unless it has run under this key; "" means no key. With mu held.
func (o *object) once(e *event, key string, q question, run func(*engine.Instance) engine.Outcome) (engine.Outcome, error) {
	now := o.world.Now()
	if kept, ok := o.answers[key]; ok && now.Sub(kept.at) <= keepAnswers {
		switch {
		case kept.to != q:
			return engine.Outcome{}, objects.Errorf(objects.Conflict, "this idempotency key was used for another request")
		case kept.out.Response != nil && kept.out.Response.Stream != nil:
			return engine.Outcome{}, errStreamed
		case !kept.known:
			return engine.Outcome{}, objects.Errorf(objects.Done, "this was done before; its answer was too large to keep")
		}
		return kept.out, nil
	}
	out, err := o.run(e, run)
	if err == nil && key != "" && out.Changed() {
		size := len(out.Output)
		if out.Response != nil {
			size = len(out.Response.Body)
		}
		o.answers[key] = answer{q, engine.Outcome{Output: out.Output, Response: out.Response}, size <= maxAnswer, now}
	}
	return out, err
}

func askHTTP(r *http.Request, body []byte) question {
	return ask(r.Method, r.URL.RequestURI(), string(body))
}
