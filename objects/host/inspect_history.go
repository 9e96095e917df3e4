package host

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host/internal/record"
	"holdfast/objects/host/internal/state"
	"holdfast/objects/internal/engine"
)

// Past is an object's state at a moment.
type Past struct {
	Class string                     `json:"class"`
	Name  string                     `json:"name,omitempty"`
	ID    string                     `json:"id"`
	At    objects.Bookmark           `json:"at"`
	Size  int                        `json:"size"`            // bytes of keys and values, or more
	Pages int                        `json:"pages,omitempty"` // of its database
	Blobs map[string]int64           `json:"blobs,omitempty"` // by name, with their bytes
	Keys  map[string]json.RawMessage `json:"keys"`            // bytes in base64
}

// HistoryEntry is one change of an object.
type HistoryEntry struct {
	At       objects.Bookmark `json:"at"`
	Commit   uint64           `json:"commit,omitempty"`
	Set      []string         `json:"set,omitempty"`      // keys that were written
	Deleted  []string         `json:"deleted,omitempty"`  // and deleted
	Pages    int              `json:"pages,omitempty"`    // of the database that were written
	Blobs    []string         `json:"blobs,omitempty"`    // that were written or deleted
	Bytes    int              `json:"bytes,omitempty"`    // that the history has of the change
	Restored objects.Bookmark `json:"restored,omitempty"` // the change is that the object was put back to this state
	Gap      bool             `json:"gap,omitempty"`      // for some time before, the class kept no history
}

// Difference is the difference between two states of an object.
type Difference struct {
	From    objects.Bookmark `json:"from"`
	To      objects.Bookmark `json:"to"`
	Changed []ChangedKey     `json:"changed"`         // in order
	Pages   int              `json:"pages,omitempty"` // of the database
	Blobs   []string         `json:"blobs,omitempty"`
}

// ChangedKey is a key with both values. Bytes are in base64.
type ChangedKey struct {
	Key    string          `json:"key"`
	Before json.RawMessage `json:"before,omitempty"` // empty: there was none
	After  json.RawMessage `json:"after,omitempty"`  // empty: there is none
}

// moment returns the moment of a bookmark.
func moment(b objects.Bookmark) (state.Moment, error) {
	at, err := engine.ParseBookmark(string(b))
	if err != nil {
		return 0, objects.Errorf(objects.Invalid, "%v", err)
	}
	return state.Moment(at), nil
}

// At returns the bookmark of a time.
func At(t time.Time) objects.Bookmark {
	return objects.Bookmark(engine.BookmarkText(t.UnixMicro()))
}

// consistently calls read with the object's record. If the owner has meanwhile purged what the record names, both are
// read again.
func (in *Inspector) consistently(ctx context.Context, id objects.ID, read func(*record.Record) error) error {
	var before uint64
	for range 10 {
		if in.records == nil {
			break
		}
		rec, revision, err := in.records.Read(ctx, id.Key())
		switch {
		case errors.Is(err, record.ErrUnreadable):
			return objects.Errorf(objects.Internal, "the record is damaged: %v", err)
		case err != nil:
			return err
		case rec == nil:
			return objects.Errorf(objects.NotFound, "nothing is kept of the object")
		}
		err = read(rec)
		if !errors.Is(err, state.ErrDamaged) || revision == before {
			return readError(err)
		}
		before = revision
	}
	return objects.Errorf(objects.NotFound, "nothing is kept of the object")
}

// readError is pastError for a reader that is no owner.
func readError(err error) error {
	if errors.Is(err, state.ErrNoHistory) || errors.Is(err, state.ErrNoPast) || errors.Is(err, state.ErrDamaged) {
		return pastError(err)
	}
	return err
}

// GetAt reads an object's state at a moment; NotFound if the history does not reach that far.
func (in *Inspector) GetAt(ctx context.Context, id objects.ID, name string, b objects.Bookmark) (past Past, err error) {
	at, err := moment(b)
	if err != nil {
		return past, err
	}
	err = in.consistently(ctx, id, func(rec *record.Record) error {
		past = Past{Class: string(id.Class()), Name: name, ID: id.String(), At: b, Keys: make(map[string]json.RawMessage)}
		if rec.Name != "" {
			past.Name = rec.Name
		}
		s, err := openRecord(ctx, id.Key(), rec, in.records, at)
		if err != nil {
			return err
		}
		past.Size = s.Size()
		from, to := engine.BlobEnds()
		if past.Blobs, err = engine.BlobSizes(s.Scan(ctx, from, to, false)); err != nil {
			return err
		}
		for scan := s.Scan(ctx, engine.Pages, engine.LastKey, false); ; {
			w, ok, err := scan.Next()
			switch {
			case !ok || err != nil:
				return err
			case !strings.HasPrefix(w.Key, engine.Reserved):
				past.Keys[w.Key] = engine.Shown(w.Value)
			case strings.HasPrefix(w.Key, engine.Pages):
				past.Pages++
			}
		}
	})
	return past, err
}

// blobOf returns the name of the blob whose end this key marks; false if the key marks none.
func blobOf(key string) (name string, ok bool) {
	from, _ := engine.BlobEnds()
	return strings.CutPrefix(key, from)
}

// History yields the changes of an object, the newest first, as far back as they are kept. An error comes last;
// NotFound: no history is kept.
func (in *Inspector) History(ctx context.Context, id objects.ID) iter.Seq2[HistoryEntry, error] {
	return func(yield func(HistoryEntry, error) bool) {
		last := state.Moment(1<<63 - 1) // the moment of the change that was yielded last
		err := in.consistently(ctx, id, func(rec *record.Record) error {
			if _, _, ok := rec.Parts.Reach(); !ok {
				return state.ErrNoHistory
			}
			for e, err := range rec.Parts.History.Changes(ctx, id.Key(), state.Home{Store: in.records}) {
				if err != nil {
					return err
				}
				if e.At >= last { // the object was read again
					continue
				}
				if last = e.At; !yield(entryOf(e), nil) {
					return nil
				}
			}
			return nil
		})
		if err != nil {
			yield(HistoryEntry{}, err)
		}
	}
}

func entryOf(e state.Event) HistoryEntry {
	out := HistoryEntry{At: objects.Bookmark(e.At.Text()), Commit: e.Commit, Bytes: e.Bytes(), Gap: e.Gap}
	if e.Restored > 0 {
		out.Restored = objects.Bookmark(e.Restored.Text())
	}
	for i, key := range e.Keys() {
		blob, ends := blobOf(key)
		switch {
		case ends:
			out.Blobs = append(out.Blobs, blob)
		case strings.HasPrefix(key, engine.Pages):
			out.Pages++
		case strings.HasPrefix(key, engine.Reserved): // a blob's part
		case e.Deletes(i):
			out.Deleted = append(out.Deleted, key)
		default:
			out.Set = append(out.Set, key)
		}
	}
	return out
}

// Diff compares two states of an object.
func (in *Inspector) Diff(ctx context.Context, id objects.ID, from, to objects.Bookmark) (d Difference, err error) {
	before, err := moment(from)
	if err != nil {
		return d, err
	}
	after, err := moment(to)
	if err != nil {
		return d, err
	}
	err = in.consistently(ctx, id, func(rec *record.Record) error {
		d = Difference{From: from, To: to, Changed: []ChangedKey{}}
		old, err := openRecord(ctx, id.Key(), rec, in.records, before)
		if err != nil {
			return err
		}
		now, err := openRecord(ctx, id.Key(), rec, in.records, after)
		if err != nil {
			return err
		}
		return d.compare(ctx, old, now)
	})
	return d, err
}

// compare fills in the difference between two states.
func (d *Difference) compare(ctx context.Context, old, now *state.State) error {
	a, b := old.Scan(ctx, "", engine.LastKey, false), now.Scan(ctx, "", engine.LastKey, false)
	was, has, err := a.Next()
	if err != nil {
		return err
	}
	for {
		is, more, err := b.Next()
		for err == nil && has && (!more || was.Key < is.Key) {
			d.add(was.Key, was.Value, nil)
			was, has, err = a.Next()
		}
		if err != nil || !more {
			return err
		}
		if has && was.Key == is.Key {
			d.add(is.Key, was.Value, is.Value)
			if was, has, err = a.Next(); err != nil {
				return err
			}
		} else {
			d.add(is.Key, nil, is.Value)
		}
	}
}

func (d *Difference) add(key string, before, after []byte) {
	blob, ends := blobOf(key)
	switch {
	case bytes.Equal(before, after):
	case ends:
		d.Blobs = append(d.Blobs, blob)
	case strings.HasPrefix(key, engine.Pages):
		d.Pages++
	case strings.HasPrefix(key, engine.Reserved): // the runtime's, or a blob's part
	default:
		c := ChangedKey{Key: key}
		if before != nil {
			c.Before = engine.Shown(before)
		}
		if after != nil {
			c.After = engine.Shown(after)
		}
		d.Changed = append(d.Changed, c)
	}
}

// Restored is the result of a restore.
type Restored struct {
	Undo    objects.Bookmark `json:"undo"`    // restoring to it takes the restore back
	Changed bool             `json:"changed"` // false: nothing had changed since
}

// operate has the owner of an object carry out an operator's request. An object that nobody owns is claimed for it.
func operate(ctx context.Context, nc *nats.Conn, id objects.ID, name string, kind wire.Kind, body []byte) ([]byte, error) {
	client, err := wire.NewClient(wire.ClientConfig{NATS: nc, Host: true, Name: nuid.Next(), Region: "local"})
	if err != nil {
		return nil, err
	}
	defer client.Close()
	reply, err := client.Do(ctx, wire.Address{ID: id, Name: name}, &wire.Request{Kind: kind, Body: body})
	if err == nil {
		err = reply.Err()
	}
	if err != nil {
		return nil, err
	}
	return reply.Body, nil
}

// Restore has an object's owner put the object back to an earlier state. name is the object's name, if known. Errors
// are those of a call: NotFound if the history does not reach that far.
func Restore(ctx context.Context, nc *nats.Conn, id objects.ID, name string, b objects.Bookmark) (done Restored, err error) {
	at, err := moment(b)
	if err != nil {
		return done, err
	}
	body, err := operate(ctx, nc, id, name, wire.Restore, wire.Encode(&wire.RestoreBody{At: int64(at)}))
	if err != nil {
		return done, err
	}
	var answer wire.Restored
	if err := wire.Decode(body, &answer); err != nil {
		return done, objects.Errorf(objects.Internal, "the owner's answer is not understood")
	}
	return Restored{objects.Bookmark(engine.BookmarkText(answer.Undo)), answer.Changed}, nil
}

// Fork copies the state that an object had at a moment, or has now for an empty bookmark, to another object of its
// class. It returns how many keys and pages it has copied. Conflict: the other object has something stored.
func Fork(ctx context.Context, nc *nats.Conn, from objects.ID, b objects.Bookmark, to objects.ID, name string) (int, error) {
	want := wire.ForkBody{From: from.Key()}
	if b != "" {
		at, err := moment(b)
		if err != nil {
			return 0, err
		}
		want.At = int64(at)
	}
	body, err := operate(ctx, nc, to, name, wire.Fork, wire.Encode(&want))
	if err != nil {
		return 0, err
	}
	var answer wire.Forked
	if err := wire.Decode(body, &answer); err != nil {
		return 0, objects.Errorf(objects.Internal, "the owner's answer is not understood")
	}
	return answer.Keys, nil
}
