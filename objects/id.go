package objects

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"regexp"
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
	class, hex, name string
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
	mac := hmac.New(sha256.New, classKey(class))
	mac.Write([]byte(name))
	return seal(class, [16]byte(mac.Sum(nil)), name), nil
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
	if !hmac.Equal([]byte(id.hex), []byte(hex.EncodeToString(raw))) {
		return ID{}, Errorf(Invalid, "the object id is not valid for class %.80q", class)
	}
	return id, nil
}

func seal(class string, half [16]byte, name string) ID {
	mac := hmac.New(sha256.New, classKey(class))
	mac.Write(half[:])
	return ID{class: class, hex: hex.EncodeToString(append(half[:], mac.Sum(nil)[:16]...)), name: name}
}

func classKey(class string) []byte {
	key := sha256.Sum256([]byte("holdfast class " + class))
	return key[:]
}

// String is the id's 64 hex digits.
func (id ID) String() string { return id.hex }

// Class is the class the id belongs to.
func (id ID) Class() string { return id.class }

// Name is the name the id was made from, "" for random and parsed ids.
func (id ID) Name() string { return id.name }

// WithName gives a parsed id the name it is known to have; a name that does not
// derive it is ignored.
func (id ID) WithName(name string) ID {
	if named, err := NameID(id.class, name); err == nil && named.hex == id.hex {
		return named
	}
	return id
}

// Key is "class.hex", the only form of an object that enters a subject or a key.
func (id ID) Key() string { return id.class + "." + id.hex }

var classPattern = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)

// ValidClass tells whether s can name a class: 1 to 63 of a-z, 0-9 and -, a letter first.
func ValidClass(s string) bool { return classPattern.MatchString(s) }
