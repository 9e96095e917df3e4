package objects_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"holdfast/objects"
	"holdfast/objects/objectstest"
)

var photo, album = objects.NewBlob("photo"), objects.NewBlob("photo/s")

// noise returns bytes that are the same for one seed.
func noise(seed uint64, n int) []byte {
	out, rng := make([]byte, n), rand.New(rand.NewPCG(seed, 1))
	for i := range out {
		out[i] = byte(rng.Uint32())
	}
	return out
}

// Whatever is written, appended, deleted and rolled back, a blob reads as a slice of bytes does, from wherever, and a reader
// goes on with what there was when it was opened.
func TestABlobReadsAsASliceOfBytesDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := objectstest.New(tb, CounterObjects)
		o := w.Object(Counters, "global")
		size := rapid.OneOf(rapid.IntRange(0, 40), rapid.IntRange(4000, 5000), rapid.IntRange(262_000, 264_000), rapid.IntRange(1, 700_000))
		var want []byte
		there := false
		var open io.ReadSeekCloser
		var wasOpened []byte
		seed := uint64(0)
		do := func(work func(tx *objects.Tx) error) {
			if err := in(w, o, work); err != nil {
				t.Fatal(err)
			}
		}
		step := func(t *rapid.T, tx *objects.Tx) {
			seed++
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0:
				want = noise(seed, size.Draw(t, "size"))
				if n := photo.Write(tx, iotest.HalfReader(bytes.NewReader(want))); n != int64(len(want)) {
					t.Fatalf("wrote %d bytes, want %d", n, len(want))
				}
				there = true
			case 1, 2, 3:
				more := noise(seed, size.Draw(t, "size"))
				want = append(bytes.Clone(want), more...)
				photo.Append(tx, more)
				there = true
			case 4:
				if photo.Delete(tx) != there {
					t.Fatalf("delete = %v, want %v", !there, there)
				}
				want, there = nil, false
			case 5:
				if err := tx.Transact(func() error {
					photo.Append(tx, []byte("no"))
					photo.Delete(tx)
					return errOnPurpose
				}); !errors.Is(err, errOnPurpose) {
					t.Fatal(err)
				}
			}
			album.Append(tx, []byte("another blob"))
		}
		for range rapid.IntRange(1, 6).Draw(t, "events") {
			do(func(tx *objects.Tx) error {
				for range rapid.IntRange(1, 3).Draw(t, "steps") {
					step(t, tx)
				}
				content, ok := photo.Open(tx)
				if ok != there || photo.Size(tx) != int64(len(want)) {
					t.Fatalf("open = %v with %d bytes, want %v with %d", ok, photo.Size(tx), there, len(want))
				}
				if !ok {
					return nil
				}
				at := rapid.IntRange(0, len(want)).Draw(t, "at")
				if _, err := content.Seek(int64(at), io.SeekStart); err != nil {
					t.Fatal(err)
				}
				if got, err := io.ReadAll(content); err != nil || !bytes.Equal(got, want[at:]) {
					t.Fatalf("read %d bytes from %d, %v; want %d", len(got), at, err, len(want)-at)
				}
				if open == nil {
					open, wasOpened = content, want
					step(t, tx) // open goes on with what there was
				}
				return nil
			})
		}
		if open == nil {
			return
		}
		if _, err := open.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(open); err != nil || !bytes.Equal(got, wasOpened) {
			t.Fatalf("after the events %d bytes were read, %v; want the %d of when it was opened", len(got), err, len(wasOpened))
		}
		if err := open.Close(); err != nil {
			t.Fatal(err)
		}
		if n, err := open.Read(make([]byte, 1)); n > 0 || err == nil {
			t.Fatalf("read %d bytes of a closed blob", n)
		}
	})
}

func TestABlobIsNobodysKeyAndGoesWithDeleteAll(t *testing.T) {
	h := newHarness(t)
	h.must(func(tx *objects.Tx) {
		photo.Write(tx, bytes.NewReader(noise(1, 600_000)))
		number.Set(tx, 1)
	})
	h.must(func(tx *objects.Tx) {
		if n := everything.Count(tx); n != 1 {
			t.Errorf("%d keys are listed, want the number", n)
		}
		if everything.Clear(tx); photo.Size(tx) != 600_000 {
			t.Error("the blob was cleared with the keys")
		}
		tx.DeleteAll()
		if _, ok := photo.Open(tx); ok || photo.Size(tx) != 0 {
			t.Error("the blob has outlived DeleteAll")
		}
	})
	if got := h.stored(); got != `{}` {
		t.Errorf("stored: %.80s", got)
	}
}

func TestABlobThatIsTooMuchOrCannotBeReadChangesNothing(t *testing.T) {
	h := newHarness(t)
	h.settings = objects.Settings{Writes: 1 << 20}
	h.start()
	h.must(func(tx *objects.Tx) { photo.Append(tx, []byte("old")) })
	for name, c := range map[string]struct {
		do   func(tx *objects.Tx)
		code objects.Code
	}{
		"more than an event writes": {func(tx *objects.Tx) { photo.Write(tx, neverEnding('x')) }, objects.TooLarge},
		"a source that fails":       {func(tx *objects.Tx) { photo.Write(tx, iotest.ErrReader(errOnPurpose)) }, objects.Internal},
		"no name":                   {func(tx *objects.Tx) { objects.NewBlob("").Append(tx, nil) }, objects.Invalid},
		"a reserved name":           {func(tx *objects.Tx) { objects.NewBlob("\x00b/x").Append(tx, nil) }, objects.Invalid},
		"no UTF-8":                  {func(tx *objects.Tx) { objects.NewBlob("\xff").Size(tx) }, objects.Invalid},
		"a long name":               {func(tx *objects.Tx) { objects.NewBlob(strings.Repeat("x", objects.MaxKey+1)).Append(tx, nil) }, objects.TooLarge},
	} {
		if out := h.call(func(tx *objects.Tx) error { c.do(tx); return nil }); objects.CodeOf(out.Err) != c.code || len(out.Writes) > 0 {
			t.Errorf("%s: %v with %d writes, want %q", name, out.Err, len(out.Writes), c.code)
		}
		h.start()
	}
	h.must(func(tx *objects.Tx) {
		content, _ := photo.Open(tx)
		if got, err := io.ReadAll(content); string(got) != "old" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
		if _, err := content.Seek(-1, io.SeekStart); err == nil {
			t.Error("it is read from before its beginning")
		}
	})
}

type neverEnding byte

func (b neverEnding) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(b)
	}
	return len(p), nil
}
