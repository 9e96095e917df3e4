package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The keys of blobs. A blob's parts have any size up to blobPart, and their keys are in the order of the parts.
const (
	blobEndAt   = Blobs + "e/" // + name: [bytes, where the last part begins]
	blobPartsAt = Blobs + "p/" // + length of the name, 4 hex digits, name / where the part begins, 16 hex digits
)

const (
	blobPart = 256<<10 - 1 // bytes: the value, which has one byte more, still fits into one entry of a host
	joinPart = 4 << 10     // a shorter last part is written again with the appended bytes
)

// blobEnd is where a blob ends.
type blobEnd struct{ size, last int64 }

// partsOf returns the prefix of the keys of a blob's parts. No other key has it.
func partsOf(name string) string { return fmt.Sprintf("%s%04x%s/", blobPartsAt, len(name), name) }

func partKey(parts string, begin int64) string { return fmt.Sprintf("%s%016x", parts, begin) }

// BlobSizes returns the names and sizes of a storage's blobs, from the entries of their ends.
func BlobSizes(stored Scan) (sizes map[string]int64, err error) {
	sizes = make(map[string]int64)
	for {
		w, ok, err := stored.Next()
		if !ok || err != nil {
			return sizes, err
		}
		end, err := decodeEnd(w.Value)
		if err != nil {
			return nil, err
		}
		sizes[w.Key[len(blobEndAt):]] = end.size
	}
}

// BlobEnds returns the range of the keys of blobs' ends: from the first, and less than the second.
func BlobEnds() (from, to string) { return blobEndAt, After(blobEndAt) }

func decodeEnd(value []byte) (blobEnd, error) {
	var pair [2]int64
	if err := json.Unmarshal(value, &pair); err != nil || pair[0] < pair[1] || pair[1] < 0 {
		return blobEnd{}, fmt.Errorf("a blob's end is %.80q: %w", value, err)
	}
	return blobEnd{pair[0], pair[1]}, nil
}

func (t *Tx) blobEnd(name string) (end blobEnd, ok bool) {
	t.checkKey(name)
	value, ok := t.Stored(blobEndAt + name)
	if !ok {
		return end, false
	}
	end, err := decodeEnd(value)
	if err != nil {
		t.Abort(err)
	}
	return end, true
}

// BlobSize returns the size of a blob in bytes; false if there is none.
func (t *Tx) BlobSize(name string) (int64, bool) {
	end, ok := t.blobEnd(name)
	return end.size, ok
}

// WriteBlob replaces a blob's content by everything that src yields, and returns the number of bytes.
func (t *Tx) WriteBlob(name string, src io.Reader) int64 {
	t.DeleteBlob(name)
	end, parts, written := blobEnd{}, partsOf(name), int64(0)
	for more := true; more; {
		value := make([]byte, 1+blobPart)
		value[0] = rawMark
		n, err := io.ReadFull(src, value[1:])
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			more = false
		case err != nil:
			t.Abort(fmt.Errorf("write blob %.80q: %w", name, err))
		}
		if written += int64(n); written > int64(t.limits().Writes) {
			t.Abort(t.errorf(tooLarge, "the event writes %d bytes and more, at most %d are allowed; nothing was changed", written, t.limits().Writes))
		}
		if n == 0 {
			break
		}
		if value = value[:1+n]; n < blobPart/2 {
			value = bytes.Clone(value)
		}
		end = blobEnd{end.size + int64(n), end.size}
		t.Store(partKey(parts, end.last), value)
	}
	t.putEnd(name, end)
	return end.size
}

// AppendBlob appends to a blob.
func (t *Tx) AppendBlob(name string, p []byte) {
	end, _ := t.blobEnd(name)
	parts, rest := partsOf(name), p
	if tail := end.size - end.last; tail > 0 && tail < joinPart {
		value, ok := t.Stored(partKey(parts, end.last))
		data, raw := RawOf(value)
		if !ok || !raw || int64(len(data)) != tail {
			t.Abort(fmt.Errorf("the blob %.80q has no last part of %d bytes", name, tail))
		}
		rest, end = append(bytes.Clone(data), p...), blobEnd{end.last, end.last}
	}
	for len(rest) > 0 {
		n := min(len(rest), blobPart)
		end = blobEnd{end.size + int64(n), end.size}
		t.Store(partKey(parts, end.last), Raw(rest[:n]))
		rest = rest[n:]
	}
	t.putEnd(name, end)
}

func (t *Tx) putEnd(name string, end blobEnd) {
	t.Store(blobEndAt+name, fmt.Appendf(nil, "[%d,%d]", end.size, end.last))
}

// DeleteBlob removes a blob, and reports whether there was one.
func (t *Tx) DeleteBlob(name string) bool {
	_, ok := t.blobEnd(name)
	if !ok {
		return false
	}
	parts := partsOf(name)
	t.clear(parts, After(parts))
	t.Store(blobEndAt+name, nil)
	return true
}

// OpenBlob returns a reader of a blob as it is now; false if there is none.
func (t *Tx) OpenBlob(name string) (*BlobReader, bool) {
	end, ok := t.blobEnd(name)
	if !ok {
		return nil, false
	}
	parts := partsOf(name)
	from, to := parts, After(parts)
	return &BlobReader{tx: t, parts: parts, size: end.size, kept: t.run.world.Data.Snapshot(from, to), own: t.written(from, to)}, true
}

// BlobReader reads a blob as it was when it was opened, part by part. One goroutine at a time may use it, also after
// its event.
type BlobReader struct {
	tx    *Tx
	parts string
	size  int64
	kept  Stored
	own   []Write // the event's writes to the blob's parts
	at    int64   // the offset at which reading continues

	begin int64  // offset of the loaded part
	part  []byte // the loaded part
	shut  bool
}

// blobWait is the longest wait for a part after the event.
const blobWait = 30 * time.Second

var errBlobClosed = errors.New("the blob's reader was closed")

// Read implements io.Reader. An error other than io.EOF says that the store has not answered, or that the part has been
// removed since.
func (r *BlobReader) Read(p []byte) (int, error) {
	switch {
	case r.shut:
		return 0, errBlobClosed
	case len(p) == 0:
		return 0, nil
	case r.at >= r.size:
		return 0, io.EOF
	}
	if err := r.load(); err != nil {
		return 0, fmt.Errorf("read a blob of object %s: %w", r.tx.Key(), err)
	}
	n := copy(p, r.part[r.at-r.begin:])
	r.at += int64(n)
	return n, nil
}

// Seek implements io.Seeker.
func (r *BlobReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.size
	default:
		return 0, fmt.Errorf("a blob cannot be read from %d", whence)
	}
	if r.shut {
		return 0, errBlobClosed
	}
	if offset < 0 {
		return 0, fmt.Errorf("a blob cannot be read from byte %d", offset)
	}
	r.at = offset
	return offset, nil
}

// Close ends the reading.
func (r *BlobReader) Close() error {
	*r = BlobReader{shut: true}
	return nil
}

// load loads the part at which reading continues.
func (r *BlobReader) load() error {
	if r.begin <= r.at && r.at < r.begin+int64(len(r.part)) {
		return nil
	}
	ctx, done := r.context()
	defer done()
	key := partKey(r.parts, r.at)
	value, err := r.read(ctx, key) // in the common case reading continues where a part begins
	if err == nil && value == nil {
		back := overlay{kept: r.kept.Keys(ctx, r.parts, key, true), own: between(r.own, r.parts, key), backward: true}
		w, ok, err := back.Next()
		if err != nil {
			return err
		}
		if ok {
			key = w.Key
		}
		value, err = r.read(ctx, key)
		if err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	begin, err := strconv.ParseInt(key[len(r.parts):], 16, 64)
	data, raw := RawOf(value)
	if err != nil || !raw || r.at < begin || r.at >= begin+int64(len(data)) {
		return fmt.Errorf("byte %d is in no part", r.at)
	}
	r.begin, r.part = begin, data
	return nil
}

// read returns the part at a key, nil if there is none.
func (r *BlobReader) read(ctx context.Context, key string) ([]byte, error) {
	if i, ok := slices.BinarySearchFunc(r.own, key, func(w Write, key string) int { return strings.Compare(w.Key, key) }); ok {
		return r.own[i].Value, nil
	}
	return r.kept.Read(ctx, key)
}

// context returns the event's context, or that of reading a part after the event.
func (r *BlobReader) context() (context.Context, context.CancelFunc) {
	if !r.tx.ended.Load() {
		return r.tx, func() {}
	}
	base := r.tx.run.world.Context
	if base == nil {
		base = context.Background()
	}
	return context.WithTimeout(base, blobWait)
}
