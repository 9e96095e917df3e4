package room

import (
	"math/rand/v2"
	"strconv"
)

// colors are easy to tell apart, and readable on white and on near-black.
var colors = [...]struct{ name, hex string }{
	{"crimson", "#de394b"}, {"coral", "#e04600"}, {"amber", "#c47d04"}, {"olive", "#868604"},
	{"moss", "#519c03"}, {"jade", "#019f68"}, {"teal", "#14938d"}, {"azure", "#0891c9"},
	{"cobalt", "#3778f5"}, {"violet", "#8c5ee8"}, {"plum", "#b84ac0"}, {"rose", "#d43b86"},
}

var animals = [...]string{
	"alpaca", "ant", "badger", "bat", "bear", "beaver", "bee", "bison", "boar", "camel", "cat", "cobra",
	"condor", "cougar", "coyote", "crab", "crane", "cricket", "crow", "deer", "dingo", "dolphin", "donkey", "dove",
	"duck", "eagle", "eel", "elk", "emu", "falcon", "ferret", "finch", "fox", "frog", "gazelle", "gecko",
	"gibbon", "goat", "goose", "gull", "hamster", "hare", "hawk", "hedgehog", "heron", "hippo", "horse", "ibex",
	"iguana", "jackal", "jaguar", "kestrel", "kiwi", "koala", "lemur", "llama", "lynx", "magpie", "marmot", "marten",
	"mole", "moose", "moth", "newt", "ocelot", "orca", "oriole", "otter", "owl", "panda", "parrot", "pelican",
	"penguin", "puffin", "quail", "rabbit", "raven", "robin", "salmon", "seal", "sparrow", "swan", "tapir", "walrus",
}

// names are the names of the people in a room.
type names struct {
	taken   map[string]bool
	wearing map[string]int // people, by the hex of their colour
}

func newNames() names { return names{make(map[string]bool), make(map[string]int)} }

func (n names) take(name, color string) {
	n.taken[name] = true
	n.wearing[color]++
}

func (n names) free(name, color string) {
	delete(n.taken, name)
	n.wearing[color]--
}

// pick returns an unused name, in one of the colours that the fewest people have. When all animals of a
// colour are used, each gets a second one, and so on.
func (n names) pick() (name, color string) {
	c := colors[rand.IntN(len(colors))]
	for _, i := range rand.Perm(len(colors)) {
		if n.wearing[colors[i].hex] < n.wearing[c.hex] {
			c = colors[i]
		}
	}
	first := rand.IntN(len(animals))
	for k := 0; ; k++ {
		name := c.name + "-" + animals[(first+k)%len(animals)]
		if lap := k / len(animals); lap > 0 {
			name += "-" + strconv.Itoa(lap+1)
		}
		if !n.taken[name] {
			return name, c.hex
		}
	}
}
