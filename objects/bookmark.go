package objects

import (
	"time"

	"holdfast/objects/internal/engine"
)

// MaxHistory is the most that Settings.History can be.
const MaxHistory = 30 * 24 * time.Hour

// Bookmark is a state that the object had (as Cloudflare's point-in-time recovery): the moment of it, as a time. Bookmarks
// of one object compare as strings, older first.
type Bookmark string

// Bookmark names the state that the event began with (as Cloudflare's getCurrentBookmark). Without Settings.History it
// cannot be restored. In a constructor and in Sleep it aborts.
func (tx *Tx) Bookmark() Bookmark { return Bookmark(engine.BookmarkText(tx.t.Bookmark())) }

// BookmarkAt names the state of a time (as Cloudflare's getBookmarkForTime); NotFound for what is older than the history
// that is kept, and without one.
func (tx *Tx) BookmarkAt(t time.Time) (Bookmark, error) {
	at, err := tx.t.BookmarkAt(t)
	if err != nil {
		return "", err
	}
	return Bookmark(engine.BookmarkText(at)), nil
}

// Restore puts the object back to an earlier state when the event ends, as one commit with the event's answer (as
// Cloudflare's onNextSessionRestoreBookmark and abort). Keys, maps and database are as they were then, and the instance is
// constructed anew. What the event itself has written is dropped. The alarm, messages that were told, sockets, and answers
// that are remembered stay as they are, and what the event does about them happens. Undo names the state before: to restore
// that takes the restore back. A bookmark that is none, or whose state is not kept, aborts the event.
func (tx *Tx) Restore(b Bookmark) (undo Bookmark) {
	at, err := engine.ParseBookmark(string(b))
	if err != nil {
		tx.t.Abort(Errorf(Invalid, "%v", err))
	}
	return Bookmark(engine.BookmarkText(tx.t.Restore(at)))
}
