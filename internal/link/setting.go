package link

import (
	"fmt"
	"time"
)

// Setting says how long the ways between regions are. The zero value takes them from the table.
type Setting struct {
	fixed bool
	rtt   time.Duration // when fixed
}

// Parse reads a setting as a person writes it: "real" (or nothing) for the table, "0" for no
// delay at all, a duration such as "40ms" for one round trip between any two regions.
func Parse(s string) (Setting, error) {
	if s == "" || s == "real" {
		return Setting{}, nil
	}
	rtt, err := time.ParseDuration(s)
	if err != nil || rtt < 0 {
		return Setting{}, fmt.Errorf("read round trip %q: want real, 0 or a duration such as 40ms", s)
	}
	return Setting{fixed: true, rtt: rtt}, nil
}

// String returns what Parse reads.
func (s Setting) String() string {
	switch {
	case !s.fixed:
		return "real"
	case s.rtt == 0:
		return "0"
	default:
		return s.rtt.String()
	}
}

// Off reports whether the setting asks for no delay anywhere.
func (s Setting) Off() bool { return s.fixed && s.rtt == 0 }

// Between returns the round trip between two regions; it is 0 from a region to itself. With
// the table, a region that is not in it is an error that lists those that are; with a fixed
// round trip any name will do.
func (s Setting) Between(a, b string) (time.Duration, error) {
	if s.fixed {
		if a == b {
			return 0, nil
		}
		return s.rtt, nil
	}
	for _, code := range []string{a, b} {
		if !Known(code) {
			return 0, fmt.Errorf("find region %q: not in the table of round trips; known are %s; or give one round trip for all", code, codes())
		}
	}
	rtt, _ := RTT(a, b)
	return rtt, nil
}
