// Package load is a client that asks for as much as it is told to, and measures
// what it gets. It knows routes, not products: whoever answers them can be measured,
// by the same client.
//
//	POST /ticket/{name}   {"ticket":n}, each number of a name once
//	POST /echo/{name}     the body
//	GET  /room/{name}     a WebSocket; what one says, all others hear
//
// A load is closed or open. Closed: each connection asks again when it was
// answered, which finds out how much can be done. Open: requests are due at a rate,
// whether or not the ones before were answered, and a latency is counted from when
// its request was due. A server that stops for a second has then made everybody
// wait who would have come in that second, and it shows.
//
// The client shares the machine with what it measures, so it is made to be cheap:
// requests and responses are in the memory of the ones before.
package load

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Target is who is asked.
type Target struct {
	host string // with a port
}

// TargetOf reads a base URL, as http://127.0.0.1:8787.
func TargetOf(base string) (Target, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
		return Target{}, fmt.Errorf("%q: want a base URL like http://127.0.0.1:8787", base)
	}
	if u.Port() == "" {
		u.Host += ":80"
	}
	return Target{u.Host}, nil
}

// Figures are what a load has measured. Times are in microseconds, of what
// succeeded after the warm-up.
type Figures struct {
	Requests  int64   `json:"requests"`  // that succeeded; of a room: messages that were delivered
	PerSecond float64 `json:"perSecond"` // of those
	Seconds   float64 `json:"seconds"`
	P50       int64   `json:"p50Us"`
	P90       int64   `json:"p90Us"`
	P99       int64   `json:"p99Us"`
	P999      int64   `json:"p999Us"`
	Max       int64   `json:"maxUs"`
}

// longest is the longest latency that is told apart.
const longest = 2 * time.Minute

// latencies are those of many goroutines. The zero latencies are empty.
type latencies struct {
	mu sync.Mutex
	h  *hdrhistogram.Histogram
}

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, longest.Microseconds(), 2)
}

func (l *latencies) add(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.h == nil {
		l.h = newHistogram()
	}
	_ = l.h.RecordValue(min(max(d, time.Microsecond), longest).Microseconds()) // within its range
}

// figures adds histograms up.
func figures(seconds float64, all ...*latencies) Figures {
	sum := newHistogram()
	for _, l := range all {
		l.mu.Lock()
		if l.h != nil {
			sum.Merge(l.h)
		}
		l.mu.Unlock()
	}
	f := Figures{
		Requests: sum.TotalCount(), Seconds: seconds,
		P50: sum.ValueAtQuantile(50), P90: sum.ValueAtQuantile(90), P99: sum.ValueAtQuantile(99),
		P999: sum.ValueAtQuantile(99.9), Max: sum.Max(),
	}
	if seconds > 0 {
		f.PerSecond = float64(f.Requests) / seconds
	}
	return f
}

// name is the i-th object's. A later load finds the same ones.
func name(i int) string { return "bench-" + strconv.Itoa(i) }

// in puts an object's name into a path that has a place for it.
func in(path string, i int) string { return strings.ReplaceAll(path, "{name}", name(i)) }

// errNothing is a load that nobody has answered.
var errNothing = errors.New("nothing was answered")
