package wire

import "testing"

// The first ten characters of a NUID are the process's; references made of them were all the same.
func TestTwoFaultsHaveTwoReferences(t *testing.T) {
	seen := make(map[string]bool)
	for range 1000 {
		ref := NewReference()
		if len(ref) != 10 || seen[ref] {
			t.Fatalf("reference %q: want 10 characters, given out once", ref)
		}
		seen[ref] = true
	}
}
