package wire

// horizon is the highest revision seen in tokens, by generation. A token is
// generation<<48 | revision: the revision is that of the bucket of records, so it is
// near all others of its generation, and a token far beyond them is forged. Tokens
// themselves are compared with < only.
//
// What passes and is forged all the same does harm for a second: it makes the true
// owner's replies void until the client asks for a claim, and the answer to a claim
// replaces what is known.
type horizon map[uint16]uint64

const (
	revisionBits  = 48
	maxFirst      = 1 << 47 // the first revision of a generation: what a busy bucket has after 40 years
	maxAhead      = 1 << 32 // beyond the highest one seen
	maxGeneration = 256     // generations that are remembered
)

// plausible reports whether a token may be true, and notes it if so.
func (h horizon) plausible(token uint64) bool {
	generation, revision := uint16(token>>revisionBits), token&(1<<revisionBits-1)
	highest, known := h[generation]
	if revision > highest+maxAhead && (known || revision > maxFirst) {
		return false
	}
	if revision > highest || !known {
		if !known && len(h) >= maxGeneration {
			clear(h)
		}
		h[generation] = revision
	}
	return true
}
