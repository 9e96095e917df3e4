package room

import "math/rand/v2"

// colors can be told apart and read on white and on near-black.
var colors = [...]struct{ name, hex string }{
	{"crimson", "#de394b"}, {"coral", "#e04600"}, {"amber", "#c47d04"}, {"olive", "#868604"},
	{"moss", "#519c03"}, {"jade", "#019f68"}, {"teal", "#14938d"}, {"azure", "#0891c9"},
	{"cobalt", "#3778f5"}, {"violet", "#8c5ee8"}, {"plum", "#b84ac0"}, {"rose", "#d43b86"},
}

// animals times colors is more than maxPeople, so there is a name for everybody.
var animals = [...]string{
	"alpaca", "ant", "badger", "bat", "bear", "beaver", "bee", "bison", "boar", "camel", "cat", "cobra",
	"condor", "cougar", "coyote", "crab", "crane", "cricket", "crow", "deer", "dingo", "dolphin", "donkey", "dove",
	"duck", "eagle", "eel", "elk", "emu", "falcon", "ferret", "finch", "fox", "frog", "gazelle", "gecko",
	"gibbon", "goat", "goose", "gull", "hamster", "hare", "hawk", "hedgehog", "heron", "hippo", "horse", "ibex",
	"iguana", "jackal", "jaguar", "kestrel", "kiwi", "koala", "lemur", "llama", "lynx", "magpie", "marmot", "marten",
	"mole", "moose", "moth", "newt", "ocelot", "orca", "oriole", "otter", "owl", "panda", "parrot", "pelican",
	"penguin", "puffin", "quail", "rabbit", "raven", "robin", "salmon", "seal", "sparrow", "swan", "tapir", "walrus",
}

// pickName gives a name that none of the people has, and its colour.
func pickName(people []person) (name, color string) {
	taken := make(map[string]bool, len(people))
	for _, p := range people {
		taken[p.Name] = true
	}
	for n := rand.IntN(len(colors) * len(animals)); ; n++ {
		color := colors[n%len(colors)]
		name := color.name + "-" + animals[n/len(colors)%len(animals)]
		if !taken[name] {
			return name, color.hex
		}
	}
}
