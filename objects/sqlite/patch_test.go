package sqlite

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

func TestAPatchMakesOnePageOfAnother(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before := rapid.SliceOfN(rapid.Byte(), pageSize, pageSize).Draw(t, "before")
		after := bytes.Clone(before)
		for range rapid.IntRange(0, 20).Draw(t, "changes") {
			at := rapid.IntRange(0, pageSize-1).Draw(t, "at")
			copy(after[at:], rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "bytes"))
		}
		patch := appendPatch(nil, before, after)
		if bytes.Equal(before, after) != (len(patch) == 0) {
			t.Fatalf("a patch of %d bytes", len(patch))
		}
		if len(patch) > pageSize+16 {
			t.Fatalf("a patch of %d bytes is longer than the page", len(patch))
		}
		if err := applyPatch(before, patch); err != nil || !bytes.Equal(before, after) {
			t.Fatalf("the patch makes another page: %v", err)
		}
	})
}

func TestAPatchThatNobodyHasMadeIsRefused(t *testing.T) {
	for name, patch := range map[string][]byte{
		"no length":           {1},
		"nothing to replace":  {1, 0},
		"too few bytes":       {0, 3, 1, 2},
		"behind the page":     {0x80, 0x20, 1, 1},
		"a number of no end":  {0x80, 0x80, 0x80},
		"a number beyond all": {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 1, 1},
	} {
		if err := applyPatch(make([]byte, pageSize), patch); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		_ = applyPatch(make([]byte, pageSize), rapid.SliceOf(rapid.Byte()).Draw(t, "patch")) // does not panic
	})
}
