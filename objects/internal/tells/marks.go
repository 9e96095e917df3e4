package tells

import (
	"encoding/base64"
	"encoding/hex"
	"strings"

	"holdfast/objects/internal/engine"
)

// MaxMarks is how many senders an object keeps a mark of, in some 5 MB of memory. Beyond it messages of other senders are Overloaded
// and wait at them: a mark is not forgotten to make room. A mark mostly lives for a third of a second; for a minute
// where the sender has just come to another host.
const MaxMarks = 20_000

// Mark is the highest number that an object has handled of a sender's messages.
type Mark = engine.Count

// Handled reports whether the message n of the sender's life born was handled before. Of an earlier life all were: a record
// is not removed before.
func Handled(m Mark, born, n uint64) bool { return born < m.Born || born == m.Born && n <= m.Last }

// MayDrop reports whether the mark goes when the sender says that nothing up to n is left.
func MayDrop(m Mark, born, n uint64) bool { return m.Born < born || m.Born == born && m.Last <= n }

// MarkKey returns the storage key of the mark of the sender with this key, "class.hex".
func MarkKey(sender string) string {
	class, digits, _ := strings.Cut(sender, ".")
	raw, err := hex.DecodeString(digits)
	if err != nil {
		return engine.MarksAt + sender // no id of ours
	}
	return engine.MarksAt + class + "." + base64.RawURLEncoding.EncodeToString(raw)
}

// SenderOf returns the sender whose mark has the storage key.
func SenderOf(markKey string) (sender string, ok bool) {
	class, digits, _ := strings.Cut(strings.TrimPrefix(markKey, engine.MarksAt), ".")
	raw, err := base64.RawURLEncoding.DecodeString(digits)
	if err != nil {
		return "", false
	}
	return class + "." + hex.EncodeToString(raw), true
}
