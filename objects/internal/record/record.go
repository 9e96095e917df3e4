// Package record is the entry that is an object, and the bucket that keeps it.
//
// An object is one entry, <class>.<id>, and a commit is one put of all of it: that
// one message is the transaction, the fence and the version, whatever the number
// of keys. It is JSON, so that `nats kv get HF_OBJECTS <key>` shows it:
//
//	{"v":1,"name":"global","epoch":2,"owner":"Jx…","host":"box-4412","region":"fra","commit":41,
//	 "gateways":["…"],"answers":[…],"keys":{"count":15}}
//
// Values and answers are encoded once, when they are made; encoding a record is
// then little more than concatenation.
package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"holdfast/objects"
)

// version of the format. A reader refuses a newer one.
const version = 1

// Record is an object as it is kept.
type Record struct {
	Name     string
	Epoch    uint64 // hand-overs so far
	Owner    string // incarnation of the owner, "" for none
	Host     string // the owner's name, for people
	Region   string // the owner's
	Commit   uint64 // puts so far
	Alarm    objects.Alarm
	Gateways []string // that may hold sockets of the object
	Answers  []Answer // to requests that a commit covered, oldest first
	Data     *objects.Data
}

// Answer remembers what a request was told, so that it is not run twice. It is
// known by its gateway and number or, if the client gave one, by its key.
type Answer struct {
	Gateway string    `json:"g,omitempty"`
	N       uint64    `json:"n,omitempty"`
	Key     string    `json:"k,omitempty"`
	Sum     string    `json:"s,omitempty"` // of what the client asked under Key
	At      time.Time `json:"at,omitzero"` // of answers with a Key, which expire
	Reply   []byte    `json:"r,omitempty"` // as sent; empty if it was too large to keep

	encoded []byte
}

// Encoded is the answer with its encoding made, once for all the commits it will be part of.
func (a Answer) Encoded() Answer {
	a.encoded = must(json.Marshal(a))
	return a
}

// Size is the number of bytes that an Encoded answer takes in a record.
func (a Answer) Size() int { return len(a.encoded) + len(",") }

// head is the part of a record that is encoded anew with every put.
type head struct {
	Version  int           `json:"v"`
	Name     string        `json:"name,omitempty"`
	Epoch    uint64        `json:"epoch"`
	Owner    string        `json:"owner,omitempty"`
	Host     string        `json:"host,omitempty"`
	Region   string        `json:"region,omitempty"`
	Commit   uint64        `json:"commit"`
	Alarm    objects.Alarm `json:"alarm,omitzero"`
	Gateways []string      `json:"gateways,omitempty"`
}

// Encode makes the entry's value.
func (r *Record) Encode() []byte {
	out := must(json.Marshal(head{
		version, r.Name, r.Epoch, r.Owner, r.Host, r.Region, r.Commit, r.Alarm, r.Gateways,
	}))
	out = out[:len(out)-1]
	for i, a := range r.Answers {
		if i == 0 {
			out = append(out, `,"answers":[`...)
		} else {
			out = append(out, ',')
		}
		if a.encoded == nil {
			a = a.Encoded()
		}
		out = append(out, a.encoded...)
	}
	if len(r.Answers) > 0 {
		out = append(out, ']')
	}
	out = append(out, `,"keys":`...)
	out = r.Data.AppendJSON(out)
	return append(out, '}')
}

// ErrUnreadable is a record that is damaged, or of a newer format. It stays as it is.
var ErrUnreadable = errors.New("the record cannot be read")

// Decode reads what Encode made. Errors wrap ErrUnreadable.
func Decode(data []byte) (*Record, error) {
	var r struct {
		head
		Answers []Answer                   `json:"answers"`
		Keys    map[string]json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	if r.Version != version {
		return nil, fmt.Errorf("%w: format %d, this program knows %d: run the newer release that wrote it", ErrUnreadable, r.Version, version)
	}
	for i, a := range r.Answers {
		r.Answers[i] = a.Encoded()
	}
	return &Record{
		Name: r.Name, Epoch: r.Epoch, Owner: r.Owner, Host: r.Host, Region: r.Region, Commit: r.Commit,
		Alarm: r.Alarm, Gateways: r.Gateways, Answers: r.Answers, Data: objects.DataOf(r.Keys),
	}, nil
}

// Empty tells whether the object has nothing worth keeping once nobody owns it.
// Answers under a client's key are worth keeping.
func (r *Record) Empty() bool {
	for _, a := range r.Answers {
		if a.Key != "" {
			return false
		}
	}
	return r.Data.Len() == 0 && len(r.Gateways) == 0 && r.Alarm == objects.Alarm{}
}

// must is for our own types, which always encode.
func must(data []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return data
}
