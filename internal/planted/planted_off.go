//go:build !planted

package planted

// Any reports whether the program can have a fault.
const Any = false

// The faults of this process: none.
const (
	NoFence            = false
	AnswerBeforeCommit = false
	AnswersForgotten   = false
	UnnumberedPush     = false
	AckBeforePush      = false
	LeaseFromReply     = false
	FarewellLost       = false
)
