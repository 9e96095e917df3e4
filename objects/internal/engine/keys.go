package engine

import "strings"

// Reserved begins the keys that no author can use: those of the runtime, of blobs, and of an object's database.
const Reserved = "\x00"

// Prefixes of what authors store other than by key. A restore puts them back.
const (
	Blobs = Reserved + "b/" // see blob.go for the rest of the key
	Pages = Reserved + "p"  // + number: pages of the object's database
)

// Prefixes of the runtime's own keys. Restoring an older state, and forking an object, leave all of these keys
// unchanged (Stays).
const (
	AnswersAt = Reserved + "a/" // + number: answers to clients' keys that the record does not have

	ToldCount = Reserved + "o"  // Count
	OutboxAt  = Reserved + "o/" // + number: messages to others that are on their way
	TimersAt  = Reserved + "t/" // + number, or = and the key: messages to others that are not due, and messages to the object itself
	ParkedAt  = Reserved + "k/" // + number: messages that are not delivered until an operator retries them
	MarksAt   = Reserved + "m/" // + sender: which of its messages were handled

	SessionsAt = Reserved + "r/s/" // + session: the session is away, and may come back
	DetachedAt = Reserved + "r/d/" // + socket: the socket's session is elsewhere
	WindowAt   = Reserved + "r/w"  // what an owner has handed over of its messages to sockets
)

// firstKey begins the keys of authors.
const firstKey = "\x01"

// LastKey is greater than every key: UTF-8 does not contain its byte.
const LastKey = "\xff"

// Stays reports whether a key is the runtime's own. A restore leaves such keys unchanged; it puts blobs and the pages
// of the database back.
func Stays(key string) bool {
	return strings.HasPrefix(key, Reserved) && !strings.HasPrefix(key, Blobs) && !strings.HasPrefix(key, Pages)
}

// After returns the smallest key that is greater than all keys that begin with prefix.
func After(prefix string) string {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xff {
			return prefix[:i] + string([]byte{prefix[i] + 1})
		}
	}
	return LastKey
}
