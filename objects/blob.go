package objects

import "io"

// Blob is bytes that are written and read in parts: a file, a recording, an index. It is kept as it is, without JSON, and may
// be as large as an object ([MaxState]). An event writes at most Settings.Writes; what is larger is written by several events,
// each of which appends.
type Blob struct{ name string }

// NewBlob names a blob, as NewKey does an entry. Blobs have a name space of their own: no key and no map contains one.
func NewBlob(name string) Blob { return Blob{name} }

// Write replaces the content by all that src has, and returns its length. It waits for src, and every other event with it. An
// error of src aborts the event.
func (b Blob) Write(tx *Tx, src io.Reader) int64 { return tx.t.WriteBlob(b.name, src) }

// Append adds to the end.
func (b Blob) Append(tx *Tx, p []byte) { tx.t.AppendBlob(b.name, p) }

// Open reads the content as it is now, part by part; ok is false if there is none. A read that fails returns an error, as a
// Reader does. The content may be read by one goroutine at a time, also after the event, by a [Tx.Go]: it stays as it was for
// two minutes after the blob has been changed, and reading fails when it is gone.
func (b Blob) Open(r Reader) (content io.ReadSeekCloser, ok bool) {
	reader, ok := r.reader().OpenBlob(b.name)
	if !ok {
		return nil, false
	}
	return reader, true
}

// Size is the content's length, 0 if there is none.
func (b Blob) Size(r Reader) int64 {
	size, _ := r.reader().BlobSize(b.name)
	return size
}

// Delete removes the blob, and tells whether there was one.
func (b Blob) Delete(tx *Tx) bool { return tx.t.DeleteBlob(b.name) }
