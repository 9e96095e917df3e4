//go:build planted

package planted

import "os"

// Any reports whether the program can have a fault.
const Any = true

var name = os.Getenv(Variable)

// The faults of this process.
var (
	NoFence            = name == NoFenceName
	AnswerBeforeCommit = name == AnswerBeforeCommitName
	AnswersForgotten   = name == AnswersForgottenName
	UnnumberedPush     = name == UnnumberedPushName
	AckBeforePush      = name == AckBeforePushName
	LeaseFromReply     = name == LeaseFromReplyName
	FarewellLost       = name == FarewellLostName
)
