package room

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"holdfast/objects"
)

// The messages between people and the room, as JSON.

// person is the public description of a person.
type person struct {
	UserID string `json:"userId"`
	Name   string `json:"name"`
	Color  string `json:"color"`
	Region string `json:"region"` // the region of their gateway
}

// owner is the room's owner, as people see it.
type owner struct {
	Owner       string `json:"owner"`
	OwnerRegion string `json:"ownerRegion"`
	Epoch       uint64 `json:"epoch"`
}

type hello struct {
	Type string `json:"type"`
	person
	owner
	People int      `json:"people"`
	Peers  []person `json:"peers"`
}

type join struct {
	Type string `json:"type"`
	person
}

type leave struct {
	Type   string `json:"type"`
	UserID string `json:"userId"`
}

type peopleAre struct {
	Type   string `json:"type"`
	People int    `json:"people"`
}

type who struct {
	Type   string `json:"type"`
	UserID string `json:"userId"`
}

type again struct {
	Type string `json:"type"`
}

type personIs struct {
	Type string `json:"type"`
	person
}

type ownerIs struct {
	Type string `json:"type"`
	owner
}

type ping struct {
	Type string          `json:"type"`
	T    json.RawMessage `json:"t,omitempty"` // the sender's, returned unchanged
}

type cursor struct {
	Type string `json:"type"`
}

type pong struct {
	Type string          `json:"type"`
	T    json.RawMessage `json:"t,omitempty"`
	owner
}

type complaint struct {
	Type    string       `json:"type"`
	Code    objects.Code `json:"code"`
	Message string       `json:"message"`
}

func ownerOf(tx *objects.Tx) owner {
	o := tx.Owner()
	return owner{o.Host, o.Region, o.Epoch}
}

// isObject reports whether data is one JSON object, and text that a browser accepts.
func isObject(data []byte) bool {
	return bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) && json.Valid(data) && utf8.Valid(data)
}

// isA decodes an object that may be a frame of the type.
func isA[F any](kind string, object []byte) (f F, ok bool) {
	ok = bytes.Contains(object, []byte(`"`+kind+`"`)) && json.Unmarshal(object, &f) == nil
	return f, ok
}

// signed returns the object with the sender's userId added at its end. The rest stays as it was sent, unless
// the object may already have a userId.
func signed(object []byte, userID string) []byte {
	if bytes.Contains(object, []byte("userId")) || bytes.Contains(object, []byte(`\u`)) {
		object = without(object, "userId")
	}
	object = bytes.TrimRight(object, " \t\r\n")
	object = bytes.TrimRight(object[:len(object)-1], " \t\r\n") // less the closing brace
	out := make([]byte, 0, len(object)+len(`,"userId":""}`)+len(userID))
	out = append(out, object...)
	if out[len(out)-1] != '{' {
		out = append(out, ',')
	}
	return fmt.Appendf(out, `"userId":%q}`, userID)
}

// without returns the object without one field.
func without(object []byte, field string) []byte {
	var fields map[string]json.RawMessage
	if json.Unmarshal(object, &fields) != nil {
		panic("room: a valid object did not decode")
	}
	delete(fields, field)
	return objects.JSON(fields).Data
}
