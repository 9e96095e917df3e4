package wire

// horizon is the highest revision seen in tokens, by generation. A token is
// generation<<48 | revision: the revision is that of the bucket of records, so it is
// near all others of its generation, and a token far beyond them is forged. Tokens
// themselves are compared with < only.
//
// A forged token that passes does harm for a second: it makes the true owner's replies
// void until the client asks for a claim, and the answer to a claim replaces the known
// token.
type horizon map[uint16]uint64

const (
	revisionBits  = 48
	maxFirst      = 1 << 47 // the first revision of a generation: a busy bucket reaches it after 40 years
	maxAhead      = 1 << 32 // beyond the highest one seen
	maxGeneration = 256     // remembered generations
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
