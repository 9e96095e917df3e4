package engine

import "strings"

// Reserved begins the keys that no author can name: those of the runtime, of blobs, and of an object's database.
const Reserved = "\x00"

// Where is kept what authors store otherwise than by a key. It goes back with a restore.
const (
	Blobs = Reserved + "b/" // what follows says blob.go
	Pages = Reserved + "p"  // + number: pages of the object's database
)

// Where the runtime keeps what is its own. Restoring an older state, and forking an object, leave all of these keys as they
// are (Stays).
const (
	AnswersAt = Reserved + "a/" // + number: answers to clients' keys that the record does not have

	ToldCount = Reserved + "o"  // Count
	OutboxAt  = Reserved + "o/" // + number: messages to others that are on their way
	TimersAt  = Reserved + "t/" // + number, or = and the key: messages to others that are not due, and messages to the object itself
	ParkedAt  = Reserved + "k/" // + number: messages that are not delivered until somebody sees to them
	MarksAt   = Reserved + "m/" // + sender: what the object was told

	SessionsAt = Reserved + "r/s/" // + session: a socket that may come back is away
	DetachedAt = Reserved + "r/d/" // + socket: its session is elsewhere
	WindowAt   = Reserved + "r/w"  // what an owner has handed over of what it has sent to sockets
)

// firstKey is where the keys of authors begin.
const firstKey = "\x01"

// LastKey is greater than every key: no UTF-8 contains its byte.
const LastKey = "\xff"

// Stays reports whether a key is the runtime's own: what an object has told and remembers does not go back with a restore.
// Its blobs and the pages of its database do.
func Stays(key string) bool {
	return strings.HasPrefix(key, Reserved) && !strings.HasPrefix(key, Blobs) && !strings.HasPrefix(key, Pages)
}

// After returns the least key that is greater than all that begin with prefix.
func After(prefix string) string {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xff {
			return prefix[:i] + string([]byte{prefix[i] + 1})
		}
	}
	return LastKey
}
