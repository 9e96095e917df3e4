// Package load generates load and measures the answers. It knows routes, not products, so
// that the same client measures Holdfast and its peers.
//
//	POST /ticket/{name}   {"ticket":n}, each number of a name once
//	POST /echo/{name}     the body
//	GET  /room/{name}     a WebSocket; a message of one is delivered to all others
//
// A load is closed or open. Closed: each connection asks again when its request is
// answered; this measures throughput. Open: requests are due at a rate, whether or not
// earlier ones were answered, and a latency counts from the time at which its request was
// due. So a server that stops for a second shows in the latency of every request of that
// second.
//
// The client shares the machine with what it measures, so it must be cheap: buffers of
// requests and responses are used again.
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

// Target is the server that is measured.
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

// Figures are the result of a load. Latencies are in microseconds, of requests that
// succeeded after the warm-up.
type Figures struct {
	Requests  int64   `json:"requests"`  // succeeded; for a room: messages delivered
	PerSecond float64 `json:"perSecond"` // of those
	Seconds   float64 `json:"seconds"`
	P50       int64   `json:"p50Us"`
	P90       int64   `json:"p90Us"`
	P99       int64   `json:"p99Us"`
	P999      int64   `json:"p999Us"`
	Max       int64   `json:"maxUs"`
}

// longest is the upper bound of recorded latencies; longer ones count as longest.
const longest = 2 * time.Minute

// latencies is a histogram that many goroutines add to. The zero value is empty.
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

// figures merges histograms.
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

// name returns the name of the i-th object. Every load uses the same names.
func name(i int) string { return "bench-" + strconv.Itoa(i) }

// withName replaces {name} in a path.
func withName(path string, i int) string { return strings.ReplaceAll(path, "{name}", name(i)) }

// errNothing says that no request succeeded.
var errNothing = errors.New("nothing was answered")
