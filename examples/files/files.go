// Package files keeps files of any size: one object for each folder, one blob for each file. No program holds a whole
// file in memory: uploads are pieces of up to 512 KiB, and downloads are pieces too.
//
// An upload is PUT /files/{folder}/{file}?at=0 and so on, each piece at the offset where the one before has ended: a
// piece that is sent again changes nothing. POST /files/{folder}/{file} makes the uploaded bytes the file, at once and
// as a whole. GET returns the file or, with a Range as video players send it, a piece.
package files

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"holdfast/objects"
)

// Folders are folders of files.
const Folders objects.Class = "folder"

// Objects is the class with its code.
var Objects = objects.Implement(Folders, objects.New[folder])

// piece is the number of bytes that one event sends.
const piece = 256 << 10

// file describes a file, or an upload.
type file struct {
	Version uint64
	Type    string
	At      time.Time
}

var (
	known   = objects.NewMap[string, file]("file")
	uploads = objects.NewMap[string, file]("upload")
	last    = objects.NewKey[uint64]("last version")
)

// blob returns the blob with the content of a version. A reader of an old version can go on for a while after the file
// was replaced.
func blob(version uint64) objects.Blob { return objects.NewBlob(fmt.Sprint(version)) }

type folder struct{}

func (f *folder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	tx, name := objects.TxOf(r), strings.TrimPrefix(r.URL.Path, "/")
	var err error
	switch {
	case name == "" || len(name) > 200:
		err = objects.Errorf(objects.Invalid, "a file has a name of 1 to 200 bytes")
	case r.Method == http.MethodPut:
		err = f.add(tx, w, r, name)
	case r.Method == http.MethodPost:
		err = f.finish(tx, name)
	case r.Method == http.MethodGet, r.Method == http.MethodHead:
		err = f.send(tx, w, r, name)
	case r.Method == http.MethodDelete:
		if v, ok := known.Lookup(tx, name); ok {
			blob(v.Version).Delete(tx)
			known.Delete(tx, name)
		}
	default:
		err = objects.Errorf(objects.Invalid, "a file is not for %s", r.Method)
	}
	if err != nil {
		tx.Refuse(err)
	}
}

// add appends a piece to an upload.
func (*folder) add(tx *objects.Tx, w http.ResponseWriter, r *http.Request, name string) error {
	at, err := strconv.ParseInt(r.URL.Query().Get("at"), 10, 64)
	if err != nil || at < 0 {
		return objects.Errorf(objects.Invalid, "say at which byte the piece begins: ?at=0")
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	up, begun := uploads.Lookup(tx, name)
	if at == 0 {
		if begun {
			blob(up.Version).Delete(tx)
		}
		up = file{Version: last.Get(tx) + 1, Type: r.Header.Get("Content-Type"), At: tx.Now()}
		last.Set(tx, up.Version)
		uploads.Set(tx, name, up)
	}
	content := blob(up.Version)
	switch size := content.Size(tx); {
	case at == size:
		content.Append(tx, data)
	case at+int64(len(data)) > size: // otherwise the piece is here already
		return objects.Errorf(objects.Conflict, "the upload has %d bytes, and the piece begins at %d", size, at)
	}
	fmt.Fprintln(w, content.Size(tx))
	return nil
}

// finish makes an upload the file.
func (*folder) finish(tx *objects.Tx, name string) error {
	up, begun := uploads.Lookup(tx, name)
	if !begun {
		return objects.Errorf(objects.NotFound, "nothing was uploaded for %s", name)
	}
	if old, ok := known.Lookup(tx, name); ok {
		blob(old.Version).Delete(tx)
	}
	known.Set(tx, name, up)
	uploads.Delete(tx, name)
	return nil
}

// send answers with a file, or a piece of it.
func (*folder) send(tx *objects.Tx, w http.ResponseWriter, r *http.Request, name string) error {
	v, ok := known.Lookup(tx, name)
	if !ok {
		return objects.Errorf(objects.NotFound, "there is no %s", name)
	}
	content, ok := blob(v.Version).Open(tx)
	if !ok {
		return objects.Errorf(objects.NotFound, "%s is empty", name)
	}
	defer content.Close()
	size := blob(v.Version).Size(tx)
	if size == 0 {
		r.Header.Del("Range") // there is none
	}
	var from, to int64
	switch n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to); {
	case n == 1 || n == 2 && to-from >= piece:
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, from+piece-1))
	case n == 0 && r.Method == http.MethodGet && size > piece:
		return objects.Errorf(objects.TooLarge, "ask for a range of %s", name)
	}
	if v.Type != "" {
		w.Header().Set("Content-Type", v.Type)
	}
	w.Header().Set("Etag", fmt.Sprintf(`"%d"`, v.Version))
	http.ServeContent(w, r, name, v.At, content)
	return nil
}
