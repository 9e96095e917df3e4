// Package planted holds faults that are put into Holdfast on purpose, so that the fault suite
// can show that it would find them.
//
// Without the build tag planted all of them are constants that are false, and nothing of them
// is in a program. With the tag, the environment variable HOLDFAST_PLANTED names the one that
// a process has:
//
//	go run -tags planted ./chaos planted
package planted

// Variable names the fault that a process has.
const Variable = "HOLDFAST_PLANTED"

// The names of the faults.
const (
	NoFenceName            = "no-fence"             // a put expects no revision
	AnswerBeforeCommitName = "answer-before-commit" // outputs leave before what they depend on is stored
	AnswersForgottenName   = "answers-forgotten"    // a request that is sent again runs again
	UnnumberedPushName     = "unnumbered-push"      // a gateway takes whatever push comes
	AckBeforePushName      = "ack-before-push"      // a frame is acknowledged some time before its outputs leave
	LeaseFromReplyName     = "lease-from-reply"     // a lease counts from when its renewal was acknowledged
	FarewellLostName       = "farewell-lost"        // a gateway does not say that a socket has ended
)
