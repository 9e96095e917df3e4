package sqlite

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"

	"holdfast/objects/internal/engine"
)

// pageSize is in bytes.
const pageSize = 4096

// maxPatch is the largest difference that is kept beside a page, in bytes. Larger ones cost more than they save:
// inserting rows of 100 bytes into one page after the other is cheapest if a page is rewritten after about so many
// bytes.
const maxPatch = 1024

// A page is an entry of the object: its difference to a page of zeros. A second entry has the difference of the present
// page to the first entry, not to the page before, so a page is read from two entries.

func pageKey(n uint32) string { return fmt.Sprintf("%s%08x", engine.Pages, n) }

func patchKey(page string) string { return page + "+" }

// file is the database as SQLite sees it: pages in the object's storage, and the event's changes of them. SQLite writes
// pages when the event commits, or earlier if its cache is full.
type file struct {
	tx      *engine.Tx // the event in progress
	pages   uint32     // pages of the database
	kept    uint32     // pages before the event
	changed map[uint32][]byte
	read    int64 // bytes of pages that the event has read
	err     error // the reason why a read or a write has failed
	most    int   // pages that an event may change

	zero, before [pageSize]byte // before is scratch
}

var errTooMuchRead = errors.New("the event reads too much")

// open reads how many pages there are.
func (f *file) open() error {
	var first [pageSize]byte
	found, err := f.load(1, &first)
	if err != nil {
		return err
	}
	if f.pages = 0; found {
		f.pages = binary.BigEndian.Uint32(first[28:])
	}
	f.kept = f.pages
	return nil
}

// load reads a page as of the last event, and reports whether the page was ever written.
func (f *file) load(n uint32, page *[pageSize]byte) (bool, error) {
	key := pageKey(n)
	whole, err := f.entry(key)
	if err != nil || whole == nil {
		return false, err
	}
	clear(page[:])
	if err := applyPatch(page[:], whole); err != nil {
		return false, err
	}
	patch, err := f.entry(patchKey(key))
	if err != nil {
		return false, err
	}
	return true, applyPatch(page[:], patch)
}

// entry returns the bytes of an entry, nil if there is none.
func (f *file) entry(key string) ([]byte, error) {
	value, err := f.tx.Look(key)
	if err != nil || value == nil {
		return nil, err
	}
	data, raw := engine.RawOf(value)
	if !raw {
		return nil, errPatch
	}
	return data, nil
}

// flush stores the pages that the event has changed as entries.
func (f *file) flush() error {
	for n := f.pages + 1; n <= f.kept; n++ {
		f.tx.Store(pageKey(n), nil)
		f.tx.Store(patchKey(pageKey(n)), nil)
	}
	for n, page := range f.changed {
		if n <= f.pages {
			if err := f.keep(n, page); err != nil {
				return err
			}
		}
	}
	clear(f.changed)
	f.kept = f.pages
	return nil
}

// keep stores a page as entries.
func (f *file) keep(n uint32, page []byte) error {
	key := pageKey(n)
	whole, err := f.entry(key)
	if err != nil {
		return err
	}
	beside := patchKey(key)
	patch, err := f.entry(beside)
	if err != nil {
		return err
	}
	if whole != nil {
		clear(f.before[:])
		if err := applyPatch(f.before[:], whole); err != nil {
			return err
		}
		now := appendPatch(nil, f.before[:], page)
		if len(now) == 0 {
			if patch != nil {
				f.tx.Store(beside, nil)
			}
			return nil
		}
		if len(now) <= min(maxPatch, len(whole)/2) {
			f.tx.Store(beside, engine.Raw(now))
			return nil
		}
	}
	f.tx.Store(key, engine.Raw(appendPatch(nil, f.zero[:], page)))
	if patch != nil {
		f.tx.Store(beside, nil)
	}
	return nil
}

// forget drops the event's changes.
func (f *file) forget() {
	clear(f.changed)
	f.pages = f.kept
}

// failed notes the reason of an error that SQLite only gets as a code.
func (f *file) failed(err error) error {
	f.err = err
	return err
}

func (f *file) ReadAt(b []byte, offset int64) (done int, err error) {
	for done < len(b) {
		n, at := uint32(offset/pageSize)+1, int(offset%pageSize)
		if n > f.pages {
			return done, io.EOF
		}
		page, changed := f.changed[n]
		if !changed {
			if f.read += pageSize; f.read > MaxRead {
				return done, f.failed(errTooMuchRead)
			}
			to := &f.before
			if whole := at == 0 && len(b)-done >= pageSize; whole {
				to = (*[pageSize]byte)(b[done:])
			}
			if found, err := f.load(n, to); err != nil {
				return done, f.failed(err)
			} else if !found {
				clear(to[:])
			}
			page = to[:]
		}
		copied := copy(b[done:], page[at:])
		done, offset = done+copied, offset+int64(copied)
	}
	return done, nil
}

// WriteAt writes whole pages.
func (f *file) WriteAt(b []byte, offset int64) (int, error) {
	if len(b) != pageSize || offset%pageSize != 0 {
		return 0, f.failed(fmt.Errorf("a write of %d bytes at %d is none of a page", len(b), offset))
	}
	n := uint32(offset/pageSize) + 1
	if page, changed := f.changed[n]; changed {
		copy(page, b)
	} else {
		if len(f.changed) >= f.most {
			return 0, sqlite3.FULL
		}
		if f.changed == nil {
			f.changed = make(map[uint32][]byte)
		}
		f.changed[n] = slices.Clone(b)
	}
	f.pages = max(f.pages, n)
	return len(b), nil
}

func (f *file) Truncate(size int64) error {
	f.pages = uint32((size + pageSize - 1) / pageSize)
	for n := range f.changed {
		if n > f.pages {
			delete(f.changed, n)
		}
	}
	return nil
}

func (f *file) Size() (int64, error) { return int64(f.pages) * pageSize, nil }

// The following methods matter only for files that several processes open, or that outlive a loss of power.

func (f *file) Close() error                     { return nil }
func (f *file) Sync(vfs.SyncFlag) error          { return nil }
func (f *file) Lock(vfs.LockLevel) error         { return nil }
func (f *file) Unlock(vfs.LockLevel) error       { return nil }
func (f *file) CheckReservedLock() (bool, error) { return false, nil }
func (f *file) SectorSize() int                  { return pageSize }

func (f *file) DeviceCharacteristics() vfs.DeviceCharacteristic {
	return vfs.IOCAP_ATOMIC | vfs.IOCAP_SEQUENTIAL | vfs.IOCAP_SAFE_APPEND | vfs.IOCAP_POWERSAFE_OVERWRITE
}

// shelf is the VFS. A file is in it only from put until SQLite opens the file.
type shelf struct {
	mu    sync.Mutex // guards what follows
	last  uint64
	files map[string]*file
}

// vfsName is the shelf's name.
const vfsName = "holdfast"

var files = &shelf{files: make(map[string]*file)}

func init() { vfs.Register(vfsName, files) }

// put adds the file and returns the name under which SQLite opens it.
func (s *shelf) put(f *file) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	name := strconv.FormatUint(s.last, 10)
	s.files[name] = f
	return name
}

// remove removes a file, in case SQLite has not opened it.
func (s *shelf) remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.files, name)
}

func (s *shelf) Open(name string, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[name]
	if f == nil || flags&vfs.OPEN_MAIN_DB == 0 { // journals and temporary files are in memory
		return nil, flags, sqlite3.CANTOPEN
	}
	delete(s.files, name)
	return f, flags, nil
}

func (s *shelf) Delete(string, bool) error                   { return sqlite3.IOERR_DELETE_NOENT }
func (s *shelf) Access(string, vfs.AccessFlag) (bool, error) { return false, nil }
func (s *shelf) FullPathname(name string) (string, error)    { return name, nil }
