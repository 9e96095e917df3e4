package objects

import "io"

// Blob is bytes under a name that are written and read in parts: a file, a recording, an index. The bytes are kept as they
// are, without JSON. A blob may be as large as an object ([MaxState]). An event writes at most Settings.Writes; several events
// write a larger blob, each of which appends.
type Blob struct{ name string }

// NewBlob names a blob, as NewKey does an entry: UTF-8 of 1 to MaxKey bytes, not beginning with a zero byte. Blobs have a name
// space of their own: a blob and a key may have one name, and no map contains a blob.
func NewBlob(name string) Blob { return Blob{name} }

// Write replaces the content by all of src, and returns its length. The event waits for src, and all later events wait for
// the event. An error of src aborts the event.
func (b Blob) Write(tx *Tx, src io.Reader) int64 { return tx.t.WriteBlob(b.name, src) }

// Append adds p at the end of the content. If there is no blob Append makes one.
func (b Blob) Append(tx *Tx, p []byte) { tx.t.AppendBlob(b.name, p) }

// Open returns a reader of the content as it is now; ok is false if there is no blob. The reader loads one part after the
// other. Unlike other reads of storage, a read that fails returns an error and aborts nothing. One goroutine at a time may use
// the reader, also after the event: a task ([Tx.Go]) or a stream ([Tx.Stream]). When the blob is changed, the reader goes on
// with the old content for about two minutes, less if the object drops many megabytes; then reading fails.
func (b Blob) Open(r Reader) (content io.ReadSeekCloser, ok bool) {
	reader, ok := r.reader().OpenBlob(b.name)
	if !ok {
		return nil, false
	}
	return reader, true
}

// Size returns the content's length, 0 if there is none.
func (b Blob) Size(r Reader) int64 {
	size, _ := r.reader().BlobSize(b.name)
	return size
}

// Delete removes the blob and reports whether there was one.
func (b Blob) Delete(tx *Tx) bool { return tx.t.DeleteBlob(b.name) }
