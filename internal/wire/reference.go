package wire

import "crypto/rand"

// NewReference returns the reference under which a fault is told to a client and
// explained in the log: ten characters, different for every fault.
func NewReference() string { return rand.Text()[:10] }
