package objects

import (
	"time"

	"holdfast/objects/internal/engine"
)

// MaxHistory is the longest Settings.History.
const MaxHistory = 30 * 24 * time.Hour

// Bookmark names a state that the object had (as Cloudflare's point-in-time recovery) by its moment, a time in UTC with
// microseconds. Bookmarks of one object compare as strings, older first.
type Bookmark string

// Bookmark names the state that the event began with (as Cloudflare's getCurrentBookmark). Without Settings.History it
// cannot be restored. In a constructor and in Sleep it aborts.
func (tx *Tx) Bookmark() Bookmark { return Bookmark(engine.BookmarkText(tx.t.Bookmark())) }

// BookmarkAt names the state that the object had at a time (as Cloudflare's getBookmarkForTime). The error is NotFound if the
// time is older than the history that is kept, or if there is no history, and Invalid for a time before 1970 or after 9999.
func (tx *Tx) BookmarkAt(t time.Time) (Bookmark, error) {
	at, err := tx.t.BookmarkAt(t)
	if err != nil {
		return "", err
	}
	return Bookmark(engine.BookmarkText(at)), nil
}

// Restore puts the object back to an earlier state when the event ends, as one commit with the event's answer (as
// Cloudflare's onNextSessionRestoreBookmark and abort). Keys, maps, blobs and database are as they were then, and the
// instance is constructed anew. The event's own writes to them are dropped, also those after Restore. The alarm, told
// messages, sockets and remembered answers stay, and the event's changes to them happen. The bookmark undo names the state
// before the event: restoring undo takes the restore back. A text that is not a bookmark, and a state that is not kept,
// abort the event.
func (tx *Tx) Restore(b Bookmark) (undo Bookmark) {
	at, err := engine.ParseBookmark(string(b))
	if err != nil {
		tx.t.Abort(Errorf(Invalid, "%v", err))
	}
	return Bookmark(engine.BookmarkText(tx.t.Restore(at)))
}
