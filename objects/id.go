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

// ID addresses one object. It is a comparable value; the zero ID addresses nothing.
//
// As Cloudflare's DurableObjectId: 32 bytes shown as 64 lower-case hex digits.
// The first half is derived from the name (or random), the second half is a MAC
// of the first under the class, so an id proves to which class it belongs.
type ID struct {
	class, key, name string // key is "class.hex"
}

// NameID is the id of the object that class calls name: the same name gives the
// same id for ever. A name is any valid UTF-8 of 1 to MaxName bytes, taken as it
// is, without normalising; anything else is Invalid. Making an id creates nothing.
func NameID(class, name string) (ID, error) {
	switch {
	case !ValidClass(class):
		return ID{}, Errorf(Invalid, "class name %.80q: want 1 to 63 of a-z, 0-9 and -, a letter first", class)
	case name == "":
		return ID{}, Errorf(Invalid, "an object's name must not be empty")
	case len(name) > MaxName:
		return ID{}, Errorf(Invalid, "an object's name has %d bytes, at most %d are allowed", len(name), MaxName)
	case !utf8.ValidString(name):
		return ID{}, Errorf(Invalid, "an object's name must be valid UTF-8")
	}
	derived := mac(class, []byte(name))
	return seal(class, [16]byte(derived[:16]), name), nil
}

// NewID is a fresh random id of the class, without a name. Keep it: nothing
// lists it until the object stores something.
func NewID(class string) (ID, error) {
	if !ValidClass(class) {
		return ID{}, Errorf(Invalid, "class name %.80q: want 1 to 63 of a-z, 0-9 and -, a letter first", class)
	}
	var half [16]byte
	rand.Read(half[:]) // never fails, by its contract
	return seal(class, half, ""), nil
}

// ParseID reads what ID.String gave. It does not bring back the name. Invalid if
// it is not 64 hex digits or belongs to another class.
func ParseID(class, s string) (ID, error) {
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != 32 {
		return ID{}, Errorf(Invalid, "an object id must be 64 hex digits")
	}
	id := seal(class, [16]byte(raw[:16]), "")
	if !hmac.Equal([]byte(id.String()), []byte(hex.EncodeToString(raw))) {
		return ID{}, Errorf(Invalid, "the object id is not valid for class %.80q", class)
	}
	return id, nil
}

func seal(class string, half [16]byte, name string) ID {
	proof := mac(class, half[:])
	var room [63 + 1 + 64]byte // every key fits
	key := append(append(room[:0], class...), '.')
	key = hex.AppendEncode(key, half[:])
	key = hex.AppendEncode(key, proof[:16])
	return ID{class: class, key: string(key), name: name}
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

// idOf is the id with this key, which is known to be one.
func idOf(key, name string) ID {
	class, _, _ := strings.Cut(key, ".")
	return ID{class: class, key: key, name: name}
}

// String is the id's 64 hex digits.
func (id ID) String() string { return id.key[min(len(id.key), len(id.class)+1):] }

// Class is the class the id belongs to.
func (id ID) Class() string { return id.class }

// Name is the name the id was made from, "" for random and parsed ids.
func (id ID) Name() string { return id.name }

// WithName gives a parsed id the name it is known to have; a name that does not
// derive it is ignored.
func (id ID) WithName(name string) ID {
	if named, err := NameID(id.class, name); err == nil && named.key == id.key {
		id.name = name
	}
	return id
}

// Key is "class.hex", the only form of an object that enters a subject or a key.
func (id ID) Key() string { return id.key }

// ValidClass tells whether s can name a class: 1 to 63 of a-z, 0-9 and -, a letter first.
func ValidClass(s string) bool {
	for i := range len(s) {
		letter, other := 'a' <= s[i] && s[i] <= 'z', '0' <= s[i] && s[i] <= '9' || s[i] == '-'
		if !letter && (!other || i == 0) {
			return false
		}
	}
	return 1 <= len(s) && len(s) <= 63
}
