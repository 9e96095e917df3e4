package state

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"sort"
	"strings"
	"time"
)

// Moment is a point in an object's history, in microseconds since 1970. Each change has a moment of
// its own: the owner's clock, or one more than the moment before if the clock is not later. The
// state at a moment has all changes up to and including it.
type Moment int64

// MomentOf returns the moment of a time.
func MomentOf(t time.Time) Moment { return Moment(t.UnixMicro()) }

// Time returns the time of a moment.
func (m Moment) Time() time.Time { return time.UnixMicro(int64(m)).UTC() }

// after returns the moment of a change that happens now, after m.
func (m Moment) after(now time.Time) Moment { return max(m+1, MomentOf(now)) }

// A log is a list of changes, oldest first, each encoded as:
//
//	its moment, the commit that has it, how many items there are
//	items, sorted by key: key's length, key, kind, value's length, value
//
// The commit is 0 if the change belongs to the same commit as the change after it.

// Change is the change of one commit, or of a part of it.
type Change struct {
	At     Moment
	Commit uint64
	items  []item
	bytes  int // size in the log
}

// appendChange appends a change. The items are sorted by key.
func appendChange(log []byte, at Moment, commit uint64, items []item) []byte {
	log = binary.AppendUvarint(log, uint64(at))
	log = binary.AppendUvarint(log, commit)
	log = binary.AppendUvarint(log, uint64(len(items)))
	for _, it := range items {
		log = appendItem(log, it)
	}
	return log
}

var errLog = fmt.Errorf("%w: it is no log", ErrDamaged)

// decodeLog reads a log, which may have any content: its changes, oldest first. after is the moment
// of the last change before the log.
func decodeLog(log []byte, after Moment) (changes []Change, err error) {
	for begin := 0; begin < len(log); {
		r := reader{rest: log[begin:]}
		c := Change{At: Moment(r.number(1<<63 - 1)), Commit: r.number(1<<64 - 1)}
		n := r.number(uint64(len(r.rest)))
		if r.bad || c.At <= after {
			return nil, errLog
		}
		end := len(log) - len(r.rest)
		c.items = make([]item, 0, min(n, 1<<16))
		for range n {
			key, k, value, next := parse(log, end)
			if next < 0 || len(c.items) > 0 && c.items[len(c.items)-1].key >= string(key) || k == deleted && len(value) > 0 {
				return nil, errLog
			}
			if k == apart {
				if _, err := parseBlob(value); err != nil {
					return nil, errLog
				}
			}
			c.items = append(c.items, item{string(key), k, value})
			end = next
		}
		c.bytes = end - begin
		changes = append(changes, c)
		begin, after = end, c.At
	}
	for i := len(changes) - 2; i >= 0; i-- {
		if changes[i].Commit == 0 {
			changes[i].Commit = changes[i+1].Commit
		}
	}
	return changes, nil
}

// Keys returns the keys that the change has written or deleted, in order.
func (c *Change) Keys() []string {
	keys := make([]string, len(c.items))
	for i := range c.items {
		keys[i] = c.items[i].key
	}
	return keys
}

// Deletes reports whether the change deletes the i-th of Keys.
func (c *Change) Deletes(i int) bool { return c.items[i].kind == deleted }

// Bytes returns the size of the change in the history, without values that are apart.
func (c *Change) Bytes() int { return c.bytes }

// replay adds the items of changes up to a moment to a map, by key.
func replay(into map[string]item, changes []Change, until Moment) {
	for i := range changes {
		if changes[i].At > until {
			return
		}
		for _, it := range changes[i].items {
			into[it.key] = it
		}
	}
}

// chunkOf returns the result of changes as a chunk: a layer over what was before them.
func chunkOf(changes []Change) (*chunk, error) {
	var all []item // the newest first
	var b builder
	size := 0
	for i := range slices.Backward(changes) {
		all = append(all, changes[i].items...)
		size += changes[i].bytes
	}
	if len(all) == 0 {
		return nil, errLog
	}
	if len(changes) > 1 { // otherwise they are in order
		slices.SortStableFunc(all, func(a, b item) int { return strings.Compare(a.key, b.key) })
	}
	b.block, b.at = make([]byte, 0, size+4*len(all)+4), make([]uint32, 0, len(all))
	for i, it := range all {
		if i == 0 || it.key != all[i-1].key {
			b.add(it)
		}
	}
	return b.finish(), nil
}

// index says which keys a segment has, so that the segment is read only for those. It is a sorted
// list of the keys' checksums, four bytes each.
type index struct {
	segment Name
	sums    []byte
}

// maxIndexHead is the size of each index in an entry of indices, beside the checksums, at most.
const maxIndexHead = 4 * binary.MaxVarintLen64

// encodeIndices returns an entry of indices: how many there are, for each its segment and its
// number of checksums, and then the checksums of all.
func encodeIndices(all []index) []byte {
	out := binary.AppendUvarint(nil, uint64(len(all)))
	for _, i := range all {
		out = binary.AppendUvarint(out, i.segment.Token)
		out = binary.AppendUvarint(out, i.segment.Number)
		out = binary.AppendUvarint(out, uint64(i.segment.Part))
		out = binary.AppendUvarint(out, uint64(len(i.sums)/4))
	}
	for _, i := range all {
		out = append(out, i.sums...)
	}
	return out
}

var errIndices = fmt.Errorf("%w: it is no index", ErrDamaged)

// decodeIndices reads an entry of indices, which may have any content.
func decodeIndices(data []byte) ([]index, error) {
	r := reader{rest: data}
	all := make([]index, r.number(manyIndices))
	counts := make([]uint64, len(all))
	for i := range all {
		all[i].segment, counts[i] = r.name(), r.number(uint64(len(data))/4)
	}
	for i, n := range counts {
		if r.bad || n > uint64(len(r.rest))/4 {
			return nil, errIndices
		}
		all[i].sums, r.rest = r.rest[:4*n:4*n], r.rest[4*n:]
	}
	if r.bad || len(all) == 0 || len(r.rest) > 0 {
		return nil, errIndices
	}
	return all, nil
}

// indexOf returns the checksums of a log's keys, and whether the log has values that are apart.
func indexOf(log []byte) (sums []byte, some bool, err error) {
	changes, err := decodeLog(log, 0)
	if err != nil {
		return nil, false, err
	}
	var all []uint32
	for _, c := range changes {
		for _, it := range c.items {
			all = append(all, keySum(it.key))
			some = some || it.kind == apart
		}
	}
	slices.Sort(all)
	for _, sum := range slices.Compact(all) {
		sums = binary.BigEndian.AppendUint32(sums, sum)
	}
	return sums, some, nil
}

func keySum(key string) uint32 { return crc32.Checksum([]byte(key), castagnoli) }

// mayHave reports whether an index has the checksum of a key.
func mayHave(sums []byte, key string) bool {
	sum := keySum(key)
	at := sort.Search(len(sums)/4, func(i int) bool { return binary.BigEndian.Uint32(sums[4*i:]) >= sum }) * 4
	return at+4 <= len(sums) && binary.BigEndian.Uint32(sums[at:]) == sum
}

// sortedItems returns items in order of their keys.
func sortedItems(items map[string]item) []item {
	sorted := make([]item, 0, len(items))
	for _, it := range items {
		sorted = append(sorted, it)
	}
	slices.SortFunc(sorted, func(a, b item) int { return strings.Compare(a.key, b.key) })
	return sorted
}
