package tells

import (
	"slices"
	"strings"
	"time"

	"holdfast/objects/internal/engine"
)

// Move returns the writes by which a message to another object enters the outbox, with the next number. at is its storage key, count
// the count of told messages.
func Move(m engine.Told, at string, count engine.Count, born uint64) []engine.Write {
	count = count.Next(born)
	m.N, m.At, m.Due, m.Tries, m.Err, m.Hook = count.Last, time.Time{}, time.Time{}, 0, nil, 0
	return sorted(
		engine.Write{Key: engine.ToldCount, Value: count.Encode()},
		engine.Write{Key: engine.OutboxKey(m.N), Value: m.Encode()},
		engine.Write{Key: at},
	)
}

// Again returns the writes by which a parked message to the object itself runs at once.
func Again(m engine.Told, at string, count engine.Count, born uint64) []engine.Write {
	count = count.Next(born)
	m.N, m.At, m.Due, m.Tries, m.Err, m.Hook = count.Last, time.Time{}, time.Time{}, 0, nil, 0
	return sorted(
		engine.Write{Key: engine.ToldCount, Value: count.Encode()},
		engine.Write{Key: engine.TimerKey(m.N, ""), Value: m.Encode()},
		engine.Write{Key: at},
	)
}

// Park returns the writes that park a message with this storage key.
func Park(m engine.Told, at string) []engine.Write {
	return sorted(engine.Write{Key: at}, engine.Write{Key: engine.ParkedKey(m.N), Value: m.Encode()})
}

func sorted(writes ...engine.Write) []engine.Write {
	slices.SortFunc(writes, func(a, b engine.Write) int { return strings.Compare(a.Key, b.Key) })
	return writes
}

// OwnFailed returns a message to the object itself after its handler has failed: to be tried again or, if park is true,
// to be parked.
func OwnFailed(m engine.Told, refused, mayPark bool, err *engine.Failure, now time.Time, jitter float64) (failed engine.Told, park bool) {
	m.Err = err
	if (refused || m.Tries >= MaxFailures) && mayPark {
		m.Tries, m.Due = m.Tries+1, time.Time{}
		return m, true
	}
	m.Due = Retry(now, m.Tries, jitter)
	m.Tries = min(m.Tries+1, MaxFailures)
	return m, false
}

// HookFailed returns a parked message after Undelivered has failed: it is due again, or never.
func HookFailed(m engine.Told, now time.Time, jitter float64) engine.Told {
	if m.Hook >= MaxFailures {
		m.Due = time.Time{}
		return m
	}
	m.Due = Retry(now, m.Hook, jitter)
	m.Hook++
	return m
}
