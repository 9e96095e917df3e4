package state

// sizes are in bytes. Only tests change them, to get many parts from small states.
var sizes = struct {
	small   int   // size of keys and values up to which an object is only a journal
	journal int   // largest journal of an object that has chunks
	whole   int64 // size of chunks up to which an object is in memory as a whole while it is owned

	chunk int // size of a full chunk: nine tenths of the throughput of larger ones, and below every limit of a message
	blob  int // the smallest value that is apart

	smallRun   int   // the largest run that counts as one of a journal's size
	runs       int64 // size beyond which runs are merged into the levels
	firstLevel int64 // size of its chunks; each level has ten times the one above
	merge      int64 // the most that one merge takes out of a level
	garbage    int   // the most that may wait to be purged

	log int // the largest log in a head; a larger one becomes a segment
	pin int // the least size of changes between two pins
}{
	small: 16 << 10, journal: 8 << 10, whole: 512 << 10,
	chunk: 256 << 10, blob: 64 << 10,
	smallRun: 32 << 10, runs: 512 << 10, firstLevel: 1 << 20, merge: 4 << 20, garbage: 64 << 20,
	log: 8 << 10, pin: 128 << 10,
}

// Limits of numbers.
const (
	fewRuns   = 8  // runs of a journal's size that are merged into one
	manyRuns  = 24 // runs that are merged into the levels
	manyDead  = 64 // spans in a head's list of dead entries; more move to the manifest
	maxLevels = 8

	// StallRuns is the number of runs from which on commits wait for the merge under way.
	StallRuns = 32
)
