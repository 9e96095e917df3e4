package history

import "time"

// Restore is an object that its only client put back to an earlier state, or only read.
type Restore struct {
	Object string        `json:"object"`
	To     string        `json:"to,omitempty"` // the bookmark; empty: it was only looked at
	Start  time.Duration `json:"start,omitempty"`
	End    time.Duration `json:"end,omitempty"`
	Tries  int           `json:"tries,omitempty"`
	Wrong  string        `json:"wrong,omitempty"` // how the contents differ from the expected ones; empty: they do not
}

// Restores is the result for restores.
type Restores struct {
	N       int           `json:"n"`
	Again   int           `json:"again"`   // that were asked for more than once
	Inexact int           `json:"inexact"` // after which the object did not have what it had then
	Lost    int           `json:"lost"`    // looks at which the object did not have what was acknowledged
	Longest time.Duration `json:"longest"`
	Flaws   []string      `json:"flaws,omitempty"`
}

// CheckRestores judges the restores of a history.
func CheckRestores(records []Record) (r Restores) {
	for _, record := range records {
		one := record.Restore
		if one == nil {
			continue
		}
		switch {
		case one.To == "" && one.Wrong != "":
			r.Lost++
		case one.To != "":
			r.N++
			r.Longest = max(r.Longest, one.End-one.Start)
			if one.Tries > 1 {
				r.Again++
			}
			if one.Wrong != "" {
				r.Inexact++
			}
		}
		if one.Wrong != "" {
			r.Flaws = describe(r.Flaws, "%s, put back to %q at %v: %s", one.Object, one.To, one.End, one.Wrong)
		}
	}
	return r
}
