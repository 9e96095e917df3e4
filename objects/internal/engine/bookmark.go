package engine

import (
	"fmt"
	"time"
)

// bookmarkLayout is the layout of a moment as text, in microseconds: texts sort like their moments.
const bookmarkLayout = "2006-01-02T15:04:05.000000Z"

// BookmarkText returns a moment of an object's history, in microseconds since 1970, as a bookmark.
func BookmarkText(at int64) string { return time.UnixMicro(at).UTC().Format(bookmarkLayout) }

// ParseBookmark parses the output of BookmarkText, and refuses everything else.
func ParseBookmark(text string) (at int64, err error) {
	t, err := time.Parse(bookmarkLayout, text)
	if at = t.UnixMicro(); err == nil && at > 0 && BookmarkText(at) == text {
		return at, nil
	}
	return 0, fmt.Errorf("%.80q is no bookmark", text)
}

// Past gives an event access to its object's history.
type Past interface {
	// Mark returns the moment of the state that the event began with.
	Mark() int64
	// Known refuses a moment whose state is not known.
	Known(at int64) error
	// Restore puts the object back when the event has succeeded. undo is the moment of the state before; target is for
	// Outcome.Target, nil if nothing has changed since. Writes of the event itself do not count.
	Restore(t *Tx, at int64) (undo int64, target any, err error)
}

// past returns the event's Past. A constructor has none.
func (t *Tx) past() Past {
	t.use()
	e, ok := t.parent.Value(EventKey{}).(Event)
	if !ok {
		t.Abort(t.errorf(invalid, "a constructor and Sleep have no bookmarks and restore nothing; do it in an event"))
	}
	return e
}

// Bookmark returns the moment of the state that the event began with.
func (t *Tx) Bookmark() int64 { return t.past().Mark() }

// BookmarkAt returns the moment of a time. It is an error if no bookmark can name the time, or if its state is not
// known.
func (t *Tx) BookmarkAt(at time.Time) (int64, error) {
	past, moment := t.past(), at.UnixMicro()
	if _, err := ParseBookmark(BookmarkText(moment)); err != nil {
		return 0, t.errorf(invalid, "no bookmark can name the time %v", at)
	}
	return moment, past.Known(moment)
}

// Restore puts the object back to a moment when the event ends, and returns the moment of the state before. If that is
// not possible, the event is aborted.
func (t *Tx) Restore(at int64) (undo int64) {
	undo, target, err := t.past().Restore(t, at)
	if err != nil {
		t.Abort(err)
	}
	t.target = target
	return undo
}

// staying returns the writes of keys that stay.
func staying(writes []Write) (left []Write) {
	for _, w := range writes {
		if Stays(w.Key) {
			left = append(left, w)
		}
	}
	return left
}
