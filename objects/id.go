package objects

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

// MaxName is the longest name of an object, in bytes.
const MaxName = 1024

// ID addresses one object. IDs are comparable: two ids of one object are ==, however they were made. An ID does not hold the
// name; a Ref and a Tx do. The zero ID addresses nothing.
//
// As Cloudflare's DurableObjectId it is 32 bytes, shown as 64 hex digits. The first half is derived from the name (or
// random), the second half is a MAC of the first under the class, so an id proves to which class it belongs.
type ID struct {
	class Class
	key   string // "class.hex"
}

// ID returns the id of the object with this name: the same name always gives the same id. A name is valid UTF-8 of 1 to
// MaxName bytes, not normalised; any other is Invalid. Making an id creates nothing.
func (c Class) ID(name string) (ID, error) {
	id, err := c.id(name)
	if err != nil {
		return ID{}, err
	}
	return id, nil
}

func (c Class) id(name string) (ID, *Error) {
	if err := c.check(); err != nil {
		return ID{}, err
	}
	switch {
	case name == "":
		return ID{}, Errorf(Invalid, "an object's name must not be empty")
	case len(name) > MaxName:
		return ID{}, Errorf(Invalid, "an object's name has %d bytes, at most %d are allowed", len(name), MaxName)
	case !utf8.ValidString(name):
		return ID{}, Errorf(Invalid, "an object's name must be valid UTF-8")
	}
	derived := mac(string(c), []byte(name))
	return seal(c, [16]byte(derived[:16])), nil
}

// NewID returns a new random id (Cloudflare's newUniqueId). Keep it: the object is not listed until it stores something.
func (c Class) NewID() ID {
	var half [16]byte
	rand.Read(half[:]) // never fails, by its contract
	return seal(c, half)
}

// ParseID reads the text of ID.String. It is Invalid if it is not 64 hex digits or belongs to another class.
func (c Class) ParseID(s string) (ID, error) {
	if err := c.check(); err != nil {
		return ID{}, err
	}
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != 32 {
		return ID{}, Errorf(Invalid, "an object id must be 64 hex digits")
	}
	id := seal(c, [16]byte(raw[:16]))
	if !hmac.Equal([]byte(id.String()), []byte(hex.EncodeToString(raw))) {
		return ID{}, Errorf(Invalid, "the object id is not valid for class %.80q", string(c))
	}
	return id, nil
}

func seal(c Class, half [16]byte) ID {
	proof := mac(string(c), half[:])
	var room [63 + 1 + 64]byte // every key fits
	key := append(append(room[:0], c...), '.')
	key = hex.AppendEncode(key, half[:])
	key = hex.AppendEncode(key, proof[:16])
	return ID{class: c, key: string(key)}
}

// mac is HMAC-SHA256 under the class's key, as package hmac's, but with nothing
// left for the collector: every request to an object derives its id.
func mac(class string, message []byte) [sha256.Size]byte {
	var label [96]byte // every class fits
	key := sha256.Sum256(append(append(label[:0], "holdfast class "...), class...))
	var inner, outer [sha256.BlockSize]byte
	for i := range inner {
		inner[i], outer[i] = 0x36, 0x5c
	}
	for i, b := range key {
		inner[i] ^= b
		outer[i] ^= b
	}
	var room [sha256.BlockSize + 128]byte // most names fit
	first := sha256.Sum256(append(append(room[:0], inner[:]...), message...))
	return sha256.Sum256(append(append(room[:0], outer[:]...), first[:]...))
}

// idOf returns the id with this key, which must be valid.
func idOf(key string) ID {
	class, _, _ := strings.Cut(key, ".")
	return ID{class: Class(class), key: key}
}

// Class returns the class to which the id belongs.
func (id ID) Class() Class { return id.class }

// String returns 64 lower-case hex digits, which prove to which class the id belongs.
func (id ID) String() string { return id.key[min(len(id.key), len(id.class)+1):] }

// Key returns the class and the digits, "class.hex": logs, records and JSON name objects by it.
func (id ID) Key() string { return id.key }

// MarshalText returns the Key.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.key), nil }

// UnmarshalText reads a Key; any other text is Invalid. An empty text is the zero ID.
func (id *ID) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*id = ID{}
		return nil
	}
	class, digits, _ := strings.Cut(string(text), ".")
	read, err := Class(class).ParseID(digits)
	if err != nil {
		return err
	}
	*id = read
	return nil
}
