package asks

import (
	"fmt"
	"testing"
)

// ring is events that wait for each other: each for the next, the last for the first. A probe that an event sends is passed
// on by those that are not younger; the one that comes back is that of the victim.
type ring []Waiter

func (r ring) victims() (victims []int) {
	for i, from := range r {
		comesBack := true
		for j := 1; j < len(r); j++ {
			comesBack = comesBack && !r[(i+j)%len(r)].Younger(from)
		}
		if comesBack {
			victims = append(victims, i)
		}
	}
	return victims
}

// permute calls f with every order of the numbers below n.
func permute(n int, f func([]int)) {
	order := make([]int, 0, n)
	used := make([]bool, n)
	var rest func()
	rest = func() {
		if len(order) == n {
			f(order)
			return
		}
		for i := range n {
			if !used[i] {
				used[i], order = true, append(order, i)
				rest()
				used[i], order = false, order[:len(order)-1]
			}
		}
	}
	rest()
}

func TestOneEventOfARingGivesWayAndItIsTheYoungest(t *testing.T) {
	for n := 2; n <= 6; n++ {
		permute(n, func(order []int) {
			var byTime, byName ring
			youngest := 0
			for i, age := range order {
				byTime = append(byTime, Waiter{Time: int64(age), Root: fmt.Sprint(n - age), Event: "e"})
				byName = append(byName, Waiter{Root: fmt.Sprint(age), Event: "e"})
				if age == n-1 {
					youngest = i
				}
			}
			for _, r := range []ring{byTime, byName} {
				if v := r.victims(); len(v) != 1 || v[0] != youngest {
					t.Fatalf("of %+v give way %v, want %d", r, v, youngest)
				}
			}
		})
	}
}

// Every event of a chain is reached by the one that asks it, or by another that waits for its object. Only to end one of the
// latter lets anybody go on. In every ring of two chains, of any lengths and ages, the victim is where a chain enters.
func TestTheEventThatGivesWayIsOneWhoseObjectSomebodyWaitsFor(t *testing.T) {
	for first := 1; first <= 4; first++ {
		for second := 1; second <= 4; second++ {
			for _, older := range []bool{true, false} {
				for begins := range 3 { // how many wait for the first of the ring that are not in it
					var r ring
					for i := range first {
						r = append(r, Waiter{Time: 5, Root: "r", Depth: begins + i, Event: fmt.Sprint("d/", first-i)})
					}
					s := Waiter{Time: 6, Root: "s"}
					if older {
						s.Time = 4
					}
					for i := range second {
						r = append(r, Waiter{Time: s.Time, Root: "s", Depth: i, Event: fmt.Sprint("d/", second-i)})
					}
					want := first // where the second chain begins
					if older {
						want = 0
					}
					if v := r.victims(); len(v) != 1 || v[0] != want {
						t.Errorf("of %+v give way %v, want %d", r, v, want)
					}
				}
			}
		}
	}
}

// The end of a socket cannot run again, so whoever crosses with it gives way.
func TestTheEndOfASocketNeverGivesWay(t *testing.T) {
	end, other := Waiter{Time: 9, Root: "s/g-1/end", Event: "s/g-1/end"}, Waiter{Time: 1, Root: "g/x/1", Event: "g/x/1"}
	if end.Younger(other) || !other.Younger(end) {
		t.Error("the end of a socket is to give way")
	}
}
