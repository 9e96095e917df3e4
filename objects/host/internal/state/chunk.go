package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sort"

	"github.com/klauspost/compress/s2"
)

const (
	maxKey   = 64 << 10  // bytes of a key; authors may use fewer
	maxValue = 256 << 20 // bytes of a value; authors may use fewer
)

// maxBlock returns how many bytes a chunk may have. A key and a value that fit into no chunk get
// one of their own.
func maxBlock() int { return sizes.chunk + sizes.blob + maxKey + 64 }

// kind is the kind of a chunk's item.
type kind byte

const (
	put     kind = 1 // with the value
	deleted kind = 2 // there is no value
	apart   kind = 3 // the value is a blob: the item has the blob's Span and size
)

// item is one key in a chunk, with its kind and value.
type item struct {
	key   string
	kind  kind
	value []byte // must not be changed
}

// A chunk is a list of items sorted by key, encoded as:
//
//	items: key's length, key, kind, value's length, value
//	where each item begins, four bytes each
//	how many there are, four bytes
type chunk struct {
	block []byte
	ends  int // where the list of offsets begins
	n     int
}

// builder makes a chunk, item by item in the order of keys.
type builder struct {
	block []byte
	at    []uint32
	first string
	last  string
}

func (b *builder) add(it item) {
	if len(b.at) == 0 {
		b.first = it.key
	}
	b.last = it.key
	b.at = append(b.at, uint32(len(b.block)))
	b.block = appendItem(b.block, it)
}

// appendItem appends an item as chunks and logs encode it.
func appendItem(out []byte, it item) []byte {
	out = binary.AppendUvarint(out, uint64(len(it.key)))
	out = append(append(out, it.key...), byte(it.kind))
	out = binary.AppendUvarint(out, uint64(len(it.value)))
	return append(out, it.value...)
}

// full reports whether the next item must go into another chunk.
func (b *builder) full(next item) bool {
	return len(b.at) > 0 && len(b.block)+4*len(b.at)+len(next.key)+len(next.value)+16 > sizes.chunk
}

// finish returns the chunk, and leaves the builder empty.
func (b *builder) finish() *chunk {
	c := &chunk{ends: len(b.block), n: len(b.at)}
	for _, at := range b.at {
		b.block = binary.LittleEndian.AppendUint32(b.block, at)
	}
	c.block = binary.LittleEndian.AppendUint32(b.block, uint32(c.n))
	*b = builder{}
	return c
}

var errChunk = errors.New("it is no chunk")

// openChunk reads a block, which may have any content.
func openChunk(block []byte) (*chunk, error) {
	if len(block) < 8 {
		return nil, errChunk
	}
	n := binary.LittleEndian.Uint32(block[len(block)-4:])
	if n == 0 || uint64(n) > uint64(len(block)-4)/4 {
		return nil, errChunk
	}
	c := &chunk{block: block, n: int(n), ends: len(block) - 4 - 4*int(n)}
	begin, last := 0, []byte(nil)
	for i := range c.n {
		if c.begin(i) != begin {
			return nil, errChunk
		}
		key, k, value, end := parse(block[:c.ends], begin)
		switch {
		case end < 0, i > 0 && bytes.Compare(last, key) >= 0:
			return nil, errChunk
		case k == deleted && len(value) > 0:
			return nil, errChunk
		case k == apart:
			if _, err := parseBlob(value); err != nil {
				return nil, err
			}
		}
		begin, last = end, key
	}
	if begin != c.ends {
		return nil, errChunk
	}
	return c, nil
}

// parse reads the item that begins at begin, and returns where it ends; -1 if there is no item.
func parse(block []byte, begin int) (key []byte, k kind, value []byte, end int) {
	size, w := binary.Uvarint(block[begin:])
	at := begin + w
	if w <= 0 || size > maxKey || uint64(len(block)-at) < size+2 {
		return nil, 0, nil, -1
	}
	key, at = block[at:at+int(size)], at+int(size)
	k, at = kind(block[at]), at+1
	size, w = binary.Uvarint(block[at:])
	at += w
	if w <= 0 || k < put || k > apart || size > uint64(len(block)-at) {
		return nil, 0, nil, -1
	}
	return key, k, block[at : at+int(size) : at+int(size)], at + int(size)
}

func (c *chunk) begin(i int) int {
	return int(binary.LittleEndian.Uint32(c.block[c.ends+4*i:]))
}

func (c *chunk) key(i int) []byte {
	key, _, _, _ := parse(c.block[:c.ends], c.begin(i))
	return key
}

func (c *chunk) item(i int) item {
	key, k, value, _ := parse(c.block[:c.ends], c.begin(i))
	return item{string(key), k, value}
}

// find returns the first item whose key is not less.
func (c *chunk) find(key string) int {
	return sort.Search(c.n, func(i int) bool { return string(c.key(i)) >= key })
}

// get returns the item of a key.
func (c *chunk) get(key string) (kind, []byte, bool) {
	i := c.find(key)
	if i == c.n {
		return 0, nil, false
	}
	found, k, value, _ := parse(c.block[:c.ends], c.begin(i))
	return k, value, string(found) == key
}

// blob is a value in entries of its own.
type blob struct {
	Span
	size int
}

func (b blob) append(out []byte) []byte {
	out = binary.AppendUvarint(out, b.Token)
	out = binary.AppendUvarint(out, b.Number)
	out = binary.AppendUvarint(out, uint64(b.Part))
	out = binary.AppendUvarint(out, uint64(b.Parts))
	return binary.AppendUvarint(out, uint64(b.size))
}

func parseBlob(value []byte) (blob, error) {
	var n [5]uint64
	for i := range n {
		w := 0
		if n[i], w = binary.Uvarint(value); w <= 0 {
			return blob{}, errChunk
		}
		value = value[w:]
	}
	parts := (n[4] + uint64(sizes.chunk) - 1) / uint64(sizes.chunk)
	if len(value) > 0 || n[0] == 0 || n[1] == 0 || n[2] > maxParts || n[4] < uint64(sizes.blob) || n[4] > maxValue || n[3] != parts {
		return blob{}, errChunk
	}
	return blob{Span{Name{n[0], n[1], uint32(n[2])}, uint32(n[3])}, int(n[4])}, nil
}

// The kinds of entries; the first byte of an entry is its kind.
const (
	chunkEntry    byte = 'C'
	blobEntry     byte = 'B'
	manifestEntry byte = 'M'
	segmentEntry  byte = 'L'
	pinEntry      byte = 'P'
	indexEntry    byte = 'K'
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli) // processors have an instruction for it

// seal encodes an entry: its kind, a checksum, and the compressed content. The checksum also covers
// the object and the name, so that no entry is taken for another.
func seal(what byte, object string, name Name, content []byte) []byte {
	out := make([]byte, 5, 5+s2.MaxEncodedLen(len(content)))
	packed := s2.Encode(out[5:cap(out)], content)
	out = out[:5+len(packed)]
	out[0] = what
	binary.BigEndian.PutUint32(out[1:], sum(what, object, name, out[5:]))
	return out
}

func sum(what byte, object string, name Name, packed []byte) uint32 {
	crc := crc32.Update(0, castagnoli, []byte(object))
	crc = crc32.Update(crc, castagnoli, []byte("."+name.String()))
	crc = crc32.Update(crc, castagnoli, []byte{what})
	return crc32.Update(crc, castagnoli, packed)
}

// ErrDamaged: an entry is not as a host wrote it, or is missing. Nothing is changed.
var ErrDamaged = errors.New("an entry of the object is damaged")

// unseal returns the content of an entry, which may have at most most bytes. Errors are ErrDamaged.
func unseal(what byte, object string, name Name, most int, data []byte) ([]byte, error) {
	damaged := func(why string) ([]byte, error) {
		return nil, fmt.Errorf("%w: %s: %s", ErrDamaged, name, why)
	}
	switch {
	case len(data) < 6 || data[0] != what:
		return damaged("it is of another kind")
	case binary.BigEndian.Uint32(data[1:]) != sum(what, object, name, data[5:]):
		return damaged("its checksum does not hold")
	}
	if n, err := s2.DecodedLen(data[5:]); err != nil || n > most {
		return damaged("it is too large")
	}
	content, err := s2.Decode(nil, data[5:])
	if err != nil {
		return damaged(err.Error())
	}
	return content, nil
}

// unsealChunk reads a chunk, which may have any content.
func unsealChunk(object string, name Name, data []byte) (*chunk, error) {
	block, err := unseal(chunkEntry, object, name, maxBlock(), data)
	if err != nil {
		return nil, err
	}
	c, err := openChunk(block)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, name, err)
	}
	return c, nil
}
