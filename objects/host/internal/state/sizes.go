package state

// sizes are in bytes. They are constants but in tests, where small states are to have many parts.
var sizes = struct {
	small   int   // keys and values up to which an object is nothing but a journal
	journal int   // the journal of an object that has chunks
	whole   int64 // chunks up to which an object is in memory as a whole, as long as it is owned

	chunk int // where a chunk is full: nine tenths of the throughput of larger ones, and below every limit of a message
	blob  int // the least value that is written by itself

	smallRun   int   // the largest run that is of a journal's size
	runs       int64 // more than that goes down into the levels
	firstLevel int64 // of its chunks; each level has ten times the one above
	merge      int64 // that one merge takes out of a level at most
	garbage    int   // that may wait to be purged

	log int // changes that a head has; beyond, they are a segment
	pin int // changes between two pins, at least
}{
	small: 16 << 10, journal: 8 << 10, whole: 512 << 10,
	chunk: 256 << 10, blob: 64 << 10,
	smallRun: 32 << 10, runs: 512 << 10, firstLevel: 1 << 20, merge: 4 << 20, garbage: 64 << 20,
	log: 8 << 10, pin: 128 << 10,
}

// Numbers of what there may be.
const (
	fewRuns   = 8  // runs of a journal's size that become one
	manyRuns  = 24 // runs that go down into the levels
	manyDead  = 64 // names in a head's list of the dead; then the manifest takes them
	maxLevels = 8

	// StallRuns is how many runs there may be while a merge is under way before commits wait for it.
	StallRuns = 32
)
