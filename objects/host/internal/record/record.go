// Package record defines the stored form of an object, and the bucket that keeps it.
//
// An object is one entry, <class>.<id>, and a commit is one put of the whole entry: that one message is the
// transaction, the fence and the version, whatever the number of keys. It is JSON, so that `nats kv get HF_OBJECTS
// <key>` shows it:
//
//	{"v":1,"name":"global","epoch":2,"owner":"Jx…","host":"box-4412","region":"fra","commit":41,
//	 "gateways":["…"],"answers":[…],"keys":{"count":15},"sum":"5a0c9f12"}
//
// The sum is a checksum of all bytes before it. Records from before there was a checksum have none, and are accepted.
// Decode refuses a record that no host has put, above all one of another object: such a record must neither be served
// nor overwritten.
//
// An object that has outgrown its record has most of its storage in entries of its own, <class>.<id>.c.<name>. Its
// record, of version 2, names them in "parts", and "keys" has only the latest writes (see package state).
//
// Values and answers are encoded once, when they are made; encoding a record is then little more than concatenation.
// Values that are bytes and no JSON are in a field of their own, in base64: "keys":{"count":15},"raw":{"photo":"AAEC"}.
package record

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast/objects"
	"holdfast/objects/host/internal/state"
	"holdfast/objects/internal/engine"
)

// Versions of the format. A reader refuses a newer one.
const (
	small   = 1 // all keys are in the record
	Version = 2 // storage may be in parts
)

// Record is a stored object.
type Record struct {
	Name     string
	Epoch    uint64 // hand-overs so far
	Owner    string // incarnation of the owner, "" for none
	Host     string // the owner's name, for people
	Region   string // the owner's
	Commit   uint64 // puts so far
	Claims   uint64 // claims in a row by owners that committed nothing; all of these owners but the last were lost
	Claimed  int64  // when the last of the claims was made, in Unix seconds; both are zero once an owner has committed
	Alarm    engine.Alarm
	Gateways []Gateway       // gateways that hold sockets of the object, or have been given up
	Sockets  json.RawMessage // details of the sockets, as EncodeSockets makes them; nil if they are too large
	Answers  []Kept          // to requests that a commit covered, oldest first
	Kept     []KeptAsk       // answers to objects that have asked, oldest first
	Fences   []Fence         // callers, with the oldest token whose asks run
	Data     *engine.Data
	Parts    *state.Head // nil: all storage is in Data
}

// KeptAsk is an answer to another object, in the terms of package asks.
type KeptAsk struct {
	ID     []byte `json:"i"`
	Caller string `json:"c"`
	Token  uint64 `json:"t"`
	N      uint64 `json:"n"`
	Until  int64  `json:"x"`           // in Unix milliseconds
	Answer []byte `json:"r,omitempty"` // as sent
}

// Fence is the oldest token with which asks of a caller run.
type Fence struct {
	Caller string `json:"c"`
	Token  uint64 `json:"t"`
	Until  int64  `json:"x"` // in Unix milliseconds
}

// Gateway is a record's entry of one gateway, in the terms of package stream.
type Gateway struct {
	Name      string    `json:"g"`
	Token     uint64    `json:"t"` // of the owner that made this entry
	Head      uint64    `json:"h"`
	Slots     []byte    `json:"s,omitempty"` // of its sockets, as package wire encodes them
	Tombstone time.Time `json:"x,omitzero"`  // when it was given up
}

// UnmarshalJSON decodes an entry. Earlier releases wrote a name alone. Their gateways, and so their sockets, have
// ended, so such an entry is decoded as the zero Gateway.
func (g *Gateway) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		*g = Gateway{}
		return nil
	}
	type entry Gateway
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	return d.Decode((*entry)(g))
}

// append writes the entry as package json would.
func (g *Gateway) append(out []byte) []byte {
	out = appendText(append(out, `{"g":`...), g.Name)
	out = strconv.AppendUint(append(out, `,"t":`...), g.Token, 10)
	out = strconv.AppendUint(append(out, `,"h":`...), g.Head, 10)
	if len(g.Slots) > 0 {
		out = append(base64.StdEncoding.AppendEncode(append(out, `,"s":"`...), g.Slots), '"')
	}
	if !g.Tombstone.IsZero() {
		out = append(append(out, `,"x":`...), must(g.Tombstone.MarshalJSON())...)
	}
	return append(out, '}')
}

// maxGatewayName is the longest name of a gateway, in bytes. It becomes part of subjects.
const maxGatewayName = 64

// check refuses an entry that no host can have written. A gateway's name has one token or, after its user's, a second
// one.
func (g *Gateway) check() error {
	odd := func(r rune) bool { return r <= ' ' || r > '~' || r == '*' || r == '>' }
	first, second, two := strings.Cut(g.Name, ".")
	if first == "" || two && second == "" || strings.Contains(second, ".") || len(g.Name) > maxGatewayName || strings.ContainsFunc(g.Name, odd) {
		return fmt.Errorf("%.80q cannot name a gateway", g.Name)
	}
	return nil
}

// Socket is what the next owner needs to end a socket whose gateway has died.
type Socket struct {
	Tags       []string        `json:"t,omitempty"`
	Attachment json.RawMessage `json:"a,omitempty"`
	Principal  json.RawMessage `json:"p,omitempty"`
	Session    string          `json:"n,omitempty"` // the session's id, if that is not the socket's
	Secret     []byte          `json:"k,omitempty"` // of a session
}

// EncodeSockets encodes details of sockets, by their ids.
func EncodeSockets(sockets map[string]Socket) json.RawMessage { return must(json.Marshal(sockets)) }

// DecodeSockets undoes EncodeSockets. It returns none for damaged data.
func (r *Record) DecodeSockets() map[string]Socket {
	var sockets map[string]Socket
	if json.Unmarshal(r.Sockets, &sockets) != nil {
		return nil
	}
	return sockets
}

// Answer is the answer to a request, kept so that the request does not run twice. Its request is identified by gateway
// and number or, if the client gave one, by the key.
type Answer struct {
	Gateway string    `json:"g,omitempty"`
	N       uint64    `json:"n,omitempty"`
	Key     string    `json:"k,omitempty"`
	Sum     string    `json:"s,omitempty"` // digest of the client's request under Key
	At      time.Time `json:"at,omitzero"` // of answers with a Key, which expire
	Reply   []byte    `json:"r,omitempty"` // as sent; empty if it was too large to keep
}

// Kept is an Answer in a record: encoded once, for all the commits that it
// will be part of, beside the fields that name it.
type Kept struct {
	Gateway string
	N       uint64
	Key     string
	At      time.Time
	JSON    []byte
}

// Keep encodes the answer.
func (a Answer) Keep() Kept {
	k := Kept{Gateway: a.Gateway, N: a.N, Key: a.Key, At: a.At}
	if a.Key != "" {
		k.JSON = must(json.Marshal(a))
		return k
	}
	// The answers of gateways are many, and made in the midst of requests.
	var digits [20]byte
	n := strconv.AppendUint(digits[:0], a.N, 10)
	size := len(`{"g":"","n":}`) + len(a.Gateway) + len(n)
	if len(a.Reply) > 0 {
		size += len(`,"r":""`) + base64.StdEncoding.EncodedLen(len(a.Reply))
	}
	out := appendText(append(make([]byte, 0, size), `{"g":`...), a.Gateway) // the exact size, because many are kept
	out = append(append(out, `,"n":`...), n...)
	if len(a.Reply) > 0 {
		out = append(base64.StdEncoding.AppendEncode(append(out, `,"r":"`...), a.Reply), '"')
	}
	k.JSON = append(out, '}')
	return k
}

// Answer decodes the answer.
func (k Kept) Answer() (Answer, error) {
	var a Answer
	if err := json.Unmarshal(k.JSON, &a); err != nil {
		return a, fmt.Errorf("%w: an answer: %w", ErrUnreadable, err)
	}
	return a, nil
}

// Size returns the number of bytes that an answer takes in a record.
func (k Kept) Size() int { return len(k.JSON) + len(",") }

// head is the part of a record that is encoded anew with every put.
type head struct {
	Version  int          `json:"v"`
	Name     string       `json:"name,omitempty"`
	Epoch    uint64       `json:"epoch"`
	Owner    string       `json:"owner,omitempty"`
	Host     string       `json:"host,omitempty"`
	Region   string       `json:"region,omitempty"`
	Commit   uint64       `json:"commit"`
	Claims   uint64       `json:"claims,omitempty"`
	Claimed  int64        `json:"claimed,omitempty"`
	Alarm    engine.Alarm `json:"alarm,omitzero"`
	Gateways []Gateway    `json:"gateways,omitempty"`

	Sockets json.RawMessage `json:"sockets,omitempty"`
	Kept    []KeptAsk       `json:"asks,omitempty"`
	Fences  []Fence         `json:"fences,omitempty"`
}

// append writes the head as package json would, less the closing brace.
func (h *head) append(out []byte) []byte {
	optional := func(name, value string) {
		if value != "" {
			out = appendText(append(out, name...), value)
		}
	}
	out = strconv.AppendInt(append(out, `{"v":`...), int64(h.Version), 10)
	optional(`,"name":`, h.Name)
	out = strconv.AppendUint(append(out, `,"epoch":`...), h.Epoch, 10)
	optional(`,"owner":`, h.Owner)
	optional(`,"host":`, h.Host)
	optional(`,"region":`, h.Region)
	out = strconv.AppendUint(append(out, `,"commit":`...), h.Commit, 10)
	if h.Claims > 0 {
		out = strconv.AppendUint(append(out, `,"claims":`...), h.Claims, 10)
		out = strconv.AppendInt(append(out, `,"claimed":`...), h.Claimed, 10)
	}
	if h.Alarm != (engine.Alarm{}) {
		out = append(append(out, `,"alarm":`...), must(json.Marshal(h.Alarm))...)
	}
	for i := range h.Gateways {
		if i == 0 {
			out = append(out, `,"gateways":[`...)
		} else {
			out = append(out, ',')
		}
		out = h.Gateways[i].append(out)
	}
	if len(h.Gateways) > 0 {
		out = append(out, ']')
	}
	if len(h.Sockets) > 0 {
		out = append(append(out, `,"sockets":`...), h.Sockets...)
	}
	if len(h.Kept) > 0 {
		out = append(append(out, `,"asks":`...), must(json.Marshal(h.Kept))...)
	}
	if len(h.Fences) > 0 {
		out = append(append(out, `,"fences":`...), must(json.Marshal(h.Fences))...)
	}
	return out
}

// appendText appends a string as JSON.
func appendText(out []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			return append(out, must(json.Marshal(s))...)
		}
	}
	return append(append(append(out, '"'), s...), '"')
}

// Encode makes the entry's value.
func (r *Record) Encode() []byte {
	size := 256 + sumSize + len(r.Name) + r.Data.Size()
	for _, a := range r.Answers {
		size += a.Size()
	}
	version := small
	if r.Parts != nil {
		version = Version
	}
	h := head{version, r.Name, r.Epoch, r.Owner, r.Host, r.Region, r.Commit, r.Claims, r.Claimed, r.Alarm, r.Gateways, r.Sockets, r.Kept, r.Fences}
	out := h.append(make([]byte, 0, size))
	for i, a := range r.Answers {
		if i == 0 {
			out = append(out, `,"answers":[`...)
		} else {
			out = append(out, ',')
		}
		out = append(out, a.JSON...)
	}
	if len(r.Answers) > 0 {
		out = append(out, ']')
	}
	if r.Parts != nil {
		out = r.Parts.AppendJSON(append(out, `,"parts":`...))
	}
	out = append(out, `,"keys":`...)
	out = r.Data.AppendJSON(out)
	return appendSum(out, out)
}

// A record ends with its sum, in sumSize bytes.
const (
	sumBegin = `,"sum":"`
	sumEnd   = `"}`
	sumSize  = len(sumBegin) + 8 + len(sumEnd)
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli) // processors have an instruction for it

// appendSum appends the end of a record that begins with body.
func appendSum(out, body []byte) []byte {
	var sum [4]byte
	binary.BigEndian.PutUint32(sum[:], crc32.Checksum(body, castagnoli))
	return append(hex.AppendEncode(append(out, sumBegin...), sum[:]), sumEnd...)
}

// intact reports whether data ends with the sum of the bytes before.
func intact(data []byte) bool {
	body := data[:max(0, len(data)-sumSize)]
	var room [sumSize]byte
	return bytes.Equal(appendSum(room[:0], body), data[len(body):])
}

// ErrUnreadable: the record is damaged, or of a newer format. It is not changed.
var ErrUnreadable = errors.New("the record cannot be read")

// Decode undoes Encode, for the record of a key. Errors wrap ErrUnreadable.
func Decode(key string, data []byte) (*Record, error) {
	r, err := decode(key, data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return r, nil
}

func decode(key string, data []byte) (*Record, error) {
	var r struct {
		head
		Answers []Answer                   `json:"answers"`
		Parts   *state.Head                `json:"parts"`
		Keys    map[string]json.RawMessage `json:"keys"`
		Raw     map[string][]byte          `json:"raw"`
		Sum     *string                    `json:"sum"`
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields() // a host would lose unknown fields with its next put
	err := d.Decode(&r)
	if r.Version > Version {
		return nil, fmt.Errorf("format %d, this program knows %d: run the newer release that wrote it", r.Version, Version)
	}
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something follows it")
	}
	switch {
	case r.Sum != nil && !intact(data):
		return nil, errors.New("its checksum does not hold")
	case r.Version < small || (r.Version == small) != (r.Parts == nil):
		return nil, fmt.Errorf("format %d", r.Version)
	case r.Keys == nil:
		return nil, errors.New("it has no keys")
	case r.Epoch == math.MaxUint64 || r.Commit == math.MaxUint64:
		return nil, fmt.Errorf("epoch %d or commit %d has no successor", r.Epoch, r.Commit)
	case r.Alarm.Retry < 0 || r.Alarm.Retry > engine.MaxAlarmRetries:
		return nil, fmt.Errorf("its alarm has failed %d times, which is impossible", r.Alarm.Retry)
	case r.Alarm.Lost < 0 || r.Alarm.Lost > engine.MaxAlarmLosses:
		return nil, fmt.Errorf("its alarm has lost %d owners, which is impossible", r.Alarm.Lost)
	}
	if err := belongs(key, r.Name); err != nil {
		return nil, err
	}
	if r.Parts != nil {
		if err := r.Parts.Check(); err != nil {
			return nil, err
		}
	}
	for key := range r.Raw {
		if _, twice := r.Keys[key]; twice {
			return nil, fmt.Errorf("key %.80q has two values", key)
		}
	}
	r.Gateways = slices.DeleteFunc(r.Gateways, func(g Gateway) bool { return g.Name == "" && g.Token == 0 })
	for i := range r.Gateways {
		if err := r.Gateways[i].check(); err != nil {
			return nil, err
		}
	}
	for _, k := range r.Kept {
		if len(k.ID) != 16 {
			return nil, fmt.Errorf("the id of a question has %d bytes", len(k.ID))
		}
	}
	kept := make([]Kept, 0, len(r.Answers))
	for _, a := range r.Answers {
		kept = append(kept, a.Keep())
	}
	return &Record{
		Name: r.Name, Epoch: r.Epoch, Owner: r.Owner, Host: r.Host, Region: r.Region, Commit: r.Commit, Claims: r.Claims, Claimed: r.Claimed,
		Alarm: r.Alarm, Gateways: r.Gateways, Sockets: r.Sockets, Answers: kept, Kept: r.Kept, Fences: r.Fences, Data: engine.DataOf(r.Keys, r.Raw), Parts: r.Parts,
	}, nil
}

// belongs checks that the record of an object of this name is kept under the key. For an object that was made without a
// name only the key says whose it is.
func belongs(key, name string) error {
	class, digits, _ := strings.Cut(key, ".")
	id, err := objects.Class(class).ParseID(digits)
	if err == nil && name != "" {
		id, err = objects.Class(class).ID(name)
	}
	switch {
	case err != nil:
		return err
	case id.Key() != key:
		return fmt.Errorf("it is the record of another object, %.80q", name)
	}
	return nil
}

// Empty reports whether nothing of the object has to be kept once nobody owns it. Answers have to be kept: without them
// a late copy of a request would run again.
func (r *Record) Empty() bool {
	return len(r.Answers) == 0 && len(r.Kept) == 0 && len(r.Fences) == 0 && r.Data.Len() == 0 && r.Parts == nil && len(r.Gateways) == 0 && r.Alarm == engine.Alarm{}
}

// must returns the encoding of a type of ours, which always encodes.
func must(data []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return data
}
