package sqlite

import (
	"encoding/binary"
	"errors"
)

// A patch turns one page into another. It is a sequence of: the number of bytes that stay, the number of bytes that are
// replaced, and the new bytes. Numbers are uvarints. Bytes after the last replacement stay.

// fewSame is how many equal bytes do not end a replacement: noting that they stay takes about as many bytes.
const fewSame = 4

// appendPatch appends the patch that turns before into after, which are equally long.
func appendPatch(patch, before, after []byte) []byte {
	at := 0
	for {
		begin := at
		for at+8 <= len(after) && binary.LittleEndian.Uint64(before[at:]) == binary.LittleEndian.Uint64(after[at:]) {
			at += 8
		}
		for at < len(after) && before[at] == after[at] {
			at++
		}
		if at == len(after) {
			return patch
		}
		first, same := at, 0
		for ; at < len(after) && same < fewSame; at++ {
			if same++; before[at] != after[at] {
				same = 0
			}
		}
		at -= same
		patch = binary.AppendUvarint(patch, uint64(first-begin))
		patch = binary.AppendUvarint(patch, uint64(at-first))
		patch = append(patch, after[first:at]...)
	}
}

var errPatch = errors.New("a page of the database is damaged")

// applyPatch changes a page. The patch may have any content.
func applyPatch(page, patch []byte) error {
	at := uint64(0)
	number := func() (uint64, bool) {
		n, w := binary.Uvarint(patch)
		if w <= 0 || n > uint64(len(page)) {
			return 0, false
		}
		patch = patch[w:]
		return n, true
	}
	for len(patch) > 0 {
		skip, ok := number()
		if !ok {
			return errPatch
		}
		n, ok := number()
		if at += skip; !ok || n == 0 || n > uint64(len(patch)) || at+n > uint64(len(page)) {
			return errPatch
		}
		copy(page[at:], patch[:n])
		at, patch = at+n, patch[n:]
	}
	return nil
}
