package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
)

func aChunk() *chunk {
	var b builder
	b.add(item{"a", put, []byte("1")})
	b.add(item{"b", deleted, nil})
	b.add(item{"c", apart, blob{Span{Name{7, 3, 1}, 2}, sizes.chunk + 1}.append(nil)})
	return b.finish()
}

func TestAChunkHasWhatWasAdded(t *testing.T) {
	name := Name{1, 2, 3}
	c, err := unsealChunk(object, name, seal(chunkEntry, object, name, aChunk().block))
	if err != nil {
		t.Fatal(err)
	}
	if k, v, ok := c.get("a"); !ok || k != put || string(v) != "1" {
		t.Errorf("a: %v %q %v", k, v, ok)
	}
	if k, _, ok := c.get("b"); !ok || k != deleted {
		t.Errorf("b: %v %v", k, ok)
	}
	if k, v, ok := c.get("c"); ok {
		if b, err := parseBlob(v); k != apart || err != nil || b.Parts != 2 || b.size != sizes.chunk+1 {
			t.Errorf("c: %v %+v %v", k, b, err)
		}
	}
	for _, absent := range []string{"", "0", "aa", "d"} {
		if _, _, ok := c.get(absent); ok {
			t.Errorf("%q is there", absent)
		}
	}
}

// An entry is believed only under its own name, of its own object, as it was written.
func TestAnEntryThatIsNotAsItWasWrittenIsDamaged(t *testing.T) {
	name := Name{1, 2, 3}
	good := seal(chunkEntry, object, name, aChunk().block)
	bomb := make([]byte, 64<<20)
	for what, c := range map[string]struct {
		object string
		name   Name
		data   []byte
	}{
		"nothing":                    {object, name, nil},
		"a beginning":                {object, name, good[:4]},
		"cut off":                    {object, name, good[:len(good)-1]},
		"another object's":           {"table.2", name, good},
		"under another name":         {object, Name{1, 2, 4}, good},
		"a blob's part":              {object, name, seal(blobEntry, object, name, aChunk().block)},
		"no chunk":                   {object, name, seal(chunkEntry, object, name, []byte("hello, world"))},
		"one that unpacks to 64 MiB": {object, name, seal(chunkEntry, object, name, bomb)},
	} {
		if _, err := unsealChunk(c.object, c.name, c.data); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for i := range good {
		bad := append([]byte(nil), good...)
		bad[i] ^= 0x40
		if _, err := unsealChunk(object, name, bad); !errors.Is(err, ErrDamaged) {
			t.Errorf("a bit of byte %d: %v", i, err)
		}
	}
}

func FuzzOpenChunk(f *testing.F) {
	f.Add(aChunk().block)
	f.Add([]byte{0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, block []byte) {
		c, err := openChunk(block)
		if err != nil {
			return
		}
		var b builder
		for i := range c.n {
			it := c.item(i)
			if _, _, ok := c.get(it.key); !ok {
				t.Fatalf("%q is not found", it.key)
			}
			b.add(it)
		}
		again, err := openChunk(b.finish().block)
		if err != nil || again.n != c.n {
			t.Fatalf("what was read cannot be read again: %v", err)
		}
	})
}

func FuzzUnseal(f *testing.F) {
	f.Add(aChunk().block)
	f.Fuzz(func(t *testing.T, packed []byte) {
		name := Name{1, 2, 3}
		entry := append([]byte{chunkEntry, 0, 0, 0, 0}, packed...)
		crc := sum(chunkEntry, object, name, packed)
		entry[1], entry[2], entry[3], entry[4] = byte(crc>>24), byte(crc>>16), byte(crc>>8), byte(crc)
		if _, err := unsealChunk(object, name, entry); err != nil && !errors.Is(err, ErrDamaged) {
			t.Fatal(err)
		}
	})
}

func FuzzManifest(f *testing.F) {
	m := manifest{levels: [][]*ref{nil, {{Name: Name{1, 2, 3}, size: 10, first: "a", last: "b"}}}, dead: []Span{{Name{1, 1, 0}, 4}}}
	f.Add(m.encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decodeManifest(data)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		if again, err := decodeManifest(m.encode()); err != nil || len(again.levels) != len(m.levels) || len(again.dead) != len(m.dead) {
			t.Fatalf("what was read cannot be read again: %v", err)
		}
	})
}

func TestAHeadThatNoHostHasWrittenIsRefused(t *testing.T) {
	good := `{"next":9,"job":4,"runs":["5-3-0:100","5-9-0:100"],"manifest":"5-2-1:50","below":3,"dead":["5-1-0","5-2-2+3"],"gone":["a","b"]}`
	check := func(text string) error {
		var h Head
		if err := json.Unmarshal([]byte(text), &h); err != nil {
			return err
		}
		return h.Check()
	}
	if err := check(good); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]string{
		{`"next":9`, `"next":8`}, {`"next":9`, `"next":18446744073709551615`}, {`"job":4`, `"job":10`},
		{`5-3-0:100`, `5-3-0:0`}, {`5-3-0:100`, `5-3-0`}, {`5-3-0:100`, `5-3-0:99999999`}, {`5-3-0:100`, `5-3-0+2:100`}, {`5-3-0`, `05-3-0`}, {`5-3-0`, `0-3-0`}, {`5-3-0`, `5-9-0`},
		{`5-2-1:50`, `5-2-1+2:50`}, {`5-2-1:50`, `5-2-1:-50`}, {`"below":3`, `"below":-3`},
		{`5-2-2+3`, `5-2-2+0`}, {`5-2-2+3`, `5-2-2+1`}, {`5-2-2+3`, `5-2-2+4294967295`}, {`5-1-0`, `5-1-4294967295`},
		{`"a","b"`, `"b","a"`}, {`"a","b"`, `"a","a"`},
	} {
		if bad := strings.Replace(good, c[0], c[1], 1); check(bad) == nil {
			t.Errorf("%s is read", bad)
		}
	}
}

func TestNamesAreReadAsTheyAreWrittenAndNotOtherwise(t *testing.T) {
	for _, n := range []Name{{1, 1, 0}, {1 << 63, 1 << 62, 77}} {
		if got, err := ParseName(n.String()); err != nil || got != n {
			t.Errorf("%v: %v, %v", n, got, err)
		}
	}
	for _, s := range []string{"", "1", "1-1", "1-1-", "0-1-0", "1-0-0", "1-1-0-0", "+1-1-0", "1-01-0", "1-1-4294967296", "a-1-1", " 1-1-0", fmt.Sprint("1-1-", strings.Repeat("0", 100))} {
		if n, err := ParseName(s); err == nil {
			t.Errorf("%q is read as %v", s, n)
		}
	}
}

// What does not shrink is kept as it is, nearly.
func TestSealedEntriesAreNotMuchLargerThanWhatTheyHave(t *testing.T) {
	if most := s2.MaxEncodedLen(256<<10) + 5; most > 260<<10 {
		t.Errorf("256 KiB become %d bytes", most)
	}
}
