package main

import "fmt"

// target is one figure that Holdfast has to reach.
type target struct {
	work, who, figure string
	against           string // the peer by whose figure of the same round it is divided; empty: the figure itself
	least             bool   // the bound is a lower bound
	bound             float64
}

var targets = []target{
	{"hot", "always", perSecond, "workerd", true, 10},
	{"hot", "default", perSecond, "workerd", true, 20},
	{"hot", "always", p99, "workerd", false, 0.2},
	{"hot", "default", p99, "workerd", false, 0.2},
	{"one", "always", p50, "workerd", false, 0.9},
	{"one", "default", p50, "workerd", false, 0.3},
	{"many", "always", perSecond, "workerd", true, 3},
	{"many", "default", perSecond, "workerd", true, 8},
	{"echo", "always", perSecond, "workerd", true, 5},
	{"echo", "always", perSecond, "nats", true, 0.4},
	{"ask", "always", perSecond, "workerd", true, 3},
	{"ask", "default", perSecond, "workerd", true, 5},
	{"tell", "always", p50, "workerd", false, 0.2},
	{"tell", "default", p50, "workerd", false, 0.2},
	{"fan", "always", p50, "workerd", false, 0.2},
	{"fan", "default", p50, "workerd", false, 0.2},
	{"first", "always", p50, "workerd", false, 1},
	{"first", "default", p50, "workerd", false, 1},
	{"room", "always", delivered, "", true, 1},
	{"room", "always", p99, "", false, 20_000},
	{"find", "always", perSecond, "workerd", true, 4},
	{"crowd", "always", delivered, "", true, 1},
	{"crowd", "always", p99, "", false, 250_000},
	{"idle", "always", perSocket, "", false, 20 << 10},
	{"idle", "split", perSocket, "", false, 20 << 10},
	{"asleep", "split", perObject, "", false, 2 << 10},
	{"start", "default", startup, "", false, 500},
}

// verdict is the result of a target.
type verdict struct {
	Work    string `json:"work"`
	Who     string `json:"who"`
	Figure  string `json:"figure"`
	Against string `json:"against,omitempty"`
	Wanted  string `json:"wanted"`
	Got     spread `json:"got"`
	Reached bool   `json:"reached"`

	target target
}

// judge reports false if no round has all figures that the target needs.
func (t target) judge(all []measure) (verdict, bool) {
	values := valuesOf(all, t.work, t.who, t.figure)
	var list []float64
	if t.against == "" {
		for _, v := range values {
			list = append(list, v)
		}
	} else {
		list = ratios(values, valuesOf(all, t.work, t.against, t.figure))
	}
	got, ok := spreadOf(list)
	v := verdict{Work: t.work, Who: t.who, Figure: t.figure, Against: t.against, Wanted: t.wanted(), Got: got, target: t}
	if t.least {
		v.Reached = got.Median >= t.bound
	} else {
		v.Reached = got.Median <= t.bound
	}
	return v, ok
}

func (t target) wanted() string {
	if t.least {
		return "at least " + t.show(t.bound)
	}
	return "at most " + t.show(t.bound)
}

// show formats a value of the target: a ratio, or a figure with its unit.
func (t target) show(value float64) string {
	if t.against == "" {
		return show(t.figure, value)
	}
	return fmt.Sprintf("%.3gx", value)
}
