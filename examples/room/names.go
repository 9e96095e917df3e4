package room

import "math/rand/v2"

// colors can be told apart and read on white and on near-black.
var colors = [...]struct{ name, hex string }{
	{"crimson", "#de394b"}, {"coral", "#e04600"}, {"amber", "#c47d04"}, {"olive", "#868604"},
	{"moss", "#519c03"}, {"jade", "#019f68"}, {"teal", "#14938d"}, {"azure", "#0891c9"},
	{"cobalt", "#3778f5"}, {"violet", "#8c5ee8"}, {"plum", "#b84ac0"}, {"rose", "#d43b86"},
}

// animals times colors is more than maxPeople, so the colour that the fewest have
// has a name left for everybody.
var animals = [...]string{
	"alpaca", "ant", "badger", "bat", "bear", "beaver", "bee", "bison", "boar", "camel", "cat", "cobra",
	"condor", "cougar", "coyote", "crab", "crane", "cricket", "crow", "deer", "dingo", "dolphin", "donkey", "dove",
	"duck", "eagle", "eel", "elk", "emu", "falcon", "ferret", "finch", "fox", "frog", "gazelle", "gecko",
	"gibbon", "goat", "goose", "gull", "hamster", "hare", "hawk", "hedgehog", "heron", "hippo", "horse", "ibex",
	"iguana", "jackal", "jaguar", "kestrel", "kiwi", "koala", "lemur", "llama", "lynx", "magpie", "marmot", "marten",
	"mole", "moose", "moth", "newt", "ocelot", "orca", "oriole", "otter", "owl", "panda", "parrot", "pelican",
	"penguin", "puffin", "quail", "rabbit", "raven", "robin", "salmon", "seal", "sparrow", "swan", "tapir", "walrus",
}

// pickName gives a name that none of the people has, in one of the colours that
// the fewest of them have.
func pickName(people []person) (name, color string) {
	taken, wearing := make(map[string]bool), make(map[string]int)
	for _, p := range people {
		taken[p.Name] = true
		wearing[p.Color]++
	}
	c := colors[rand.IntN(len(colors))]
	for _, i := range rand.Perm(len(colors)) {
		if wearing[colors[i].hex] < wearing[c.hex] {
			c = colors[i]
		}
	}
	for n := rand.IntN(len(animals)); ; n++ {
		name := c.name + "-" + animals[n%len(animals)]
		if !taken[name] {
			return name, c.hex
		}
	}
}
