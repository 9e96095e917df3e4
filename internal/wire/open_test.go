package wire

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestOpenNumbersArriveAsTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		numbers := rapid.SliceOfNDistinct(rapid.Uint64Range(1, 1<<48-1), 1, maxOpen, rapid.ID).Draw(t, "numbers")
		slices.Sort(numbers)
		got, err := packOpen(numbers).Numbers(numbers[0], 1<<48)
		if err != nil || !slices.Equal(got, numbers) {
			t.Fatalf("%v, %v; want %v", got, err, numbers)
		}
	})
}

func TestOpenNumbersThatNoClientSaysAreRefused(t *testing.T) {
	for _, tt := range []struct {
		name string
		open Open
		fine bool
	}{
		{"none", nil, true},
		{"the lowest", Open{0}, true},
		{"others", Open{0, 1, 3}, true},
		{"without the lowest", Open{1}, false},
		{"one twice", Open{0, 1, 0}, false},
		{"the request itself", Open{0, 10}, false},
		{"half a number", Open{0, 0x80}, false},
		{"beyond all numbers", append(Open{0}, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1), false},
		{"more than a client says", append(Open{0}, bytes.Repeat([]byte{1}, maxOpen)...), false},
	} {
		n := uint64(17)
		if len(tt.open) > maxOpen {
			n = 1 << 20
		}
		if got, err := tt.open.Numbers(7, n); (err == nil) != tt.fine {
			t.Errorf("%s: %v, %v; want fine = %t", tt.name, got, err, tt.fine)
		}
	}
}
