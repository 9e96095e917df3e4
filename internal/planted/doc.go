// Package planted holds faults that are built into Holdfast on purpose, so that the fault suite can show that
// it finds them.
//
// Without the build tag planted, all of them are constants with the value false, and no program contains
// them. With the tag, the environment variable HOLDFAST_PLANTED names the fault of a process:
// a process has:
//
//	go run -tags planted ./chaos planted
package planted

// Variable is the environment variable that names the fault of a process.
const Variable = "HOLDFAST_PLANTED"

// The names of the faults.
const (
	NoFenceName            = "no-fence"             // a put expects no revision
	AnswerBeforeCommitName = "answer-before-commit" // outputs leave before what they depend on is stored
	AnswersForgottenName   = "answers-forgotten"    // a request that is sent again runs again
	UnnumberedPushName     = "unnumbered-push"      // a gateway applies every push, in any order
	AckBeforePushName      = "ack-before-push"      // a frame is acknowledged some time before its outputs leave
	LeaseFromReplyName     = "lease-from-reply"     // a lease counts from the acknowledgement of its renewal
	FarewellLostName       = "farewell-lost"        // a gateway does not report that a socket has ended
)
