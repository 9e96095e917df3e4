package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// sample is the figures of one run of one work, by the names that `holdfast bench` uses.
type sample map[string]float64

// The figures that are shown. The suffix of a name is its unit.
const (
	perSecond = "perSecond"
	p50       = "p50Us"
	p99       = "p99Us"
	delivered = "deliveredShare" // share of the due messages
	perSocket = "bytesPerSocket"
	perObject = "bytesPerObject"    // in the host
	allObject = "allBytesPerObject" // in NATS and the host
	startup   = "startMs"
)

// spread is the median and the range of at least one value.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// spreadOf reports false if there are no values.
func spreadOf(values []float64) (spread, bool) {
	if len(values) == 0 {
		return spread{}, false
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return spread{Median: (sorted[(n-1)/2] + sorted[n/2]) / 2, Min: sorted[0], Max: sorted[n-1]}, true
}

// ratios divides figures of the same round. It leaves out a round that lacks one of the two
// or whose divisor is 0.
func ratios(ours, theirs map[int]float64) []float64 {
	var all []float64
	for round, value := range ours {
		if other := theirs[round]; other > 0 {
			all = append(all, value/other)
		}
	}
	return all
}

// show formats a value with its unit.
func show(figure string, value float64) string {
	switch {
	case strings.HasSuffix(figure, "Us"):
		return showTime(time.Duration(value * float64(time.Microsecond)))
	case strings.HasSuffix(figure, "Ms"):
		return showTime(time.Duration(value * float64(time.Millisecond)))
	case strings.HasSuffix(figure, "Share"):
		return fmt.Sprintf("%v %%", math.Floor(value*1e4)/100) // rounded down, so that 100 % means all
	case strings.Contains(strings.ToLower(figure), "bytes"):
		return showBytes(value)
	default:
		return humanize.Comma(int64(value+0.5)) + " /s"
	}
}

func showTime(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d us", d.Microseconds())
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.2f ms", d.Seconds()*1e3)
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", d.Seconds()*1e3)
	default:
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
}

func showBytes(n float64) string {
	switch {
	case n < 1024:
		return fmt.Sprintf("%.0f B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KB", n/1024)
	default:
		return fmt.Sprintf("%.1f MB", n/(1<<20))
	}
}
