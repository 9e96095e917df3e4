// Package bucket names the JetStream buckets of the hosts, and reads them from their leader.
//
// No other package spells these names: requests to a bucket's stream, subjects of its keys, and permissions
// of NATS users are made from the results of Records and Leases.
package bucket

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Name is the name of a bucket.
type Name string

// Records returns the bucket of the objects' records, and of the entries of large objects beside them.
func Records() Name { return "HF_OBJECTS" }

// Leases returns the bucket of the hosts' leases.
func Leases() Name { return "HF_LEASES" }

// Stream returns the name of the stream that keeps the bucket.
func (n Name) Stream() string { return "KV_" + string(n) }

// Subject returns the subject on which the value of a key is published. Subject(">") matches all keys.
func (n Name) Subject(key string) string { return "$KV." + string(n) + "." + key }

// Key undoes Subject.
func (n Name) Key(subject string) string { return strings.TrimPrefix(subject, n.Subject("")) }

// Reads returns the subject on which Last asks.
func (n Name) Reads() string { return "$JS.API.STREAM.MSG.GET." + n.Stream() }

// Last returns the last message of a key, as the stream's leader has it. Without one the error is
// jetstream.ErrMsgNotFound. Package jetstream's own calls are not used: they accept the answer of any replica
// as soon as the stream allows that, and a replica's value may be older than an acknowledged put.
func (n Name) Last(ctx context.Context, nc *nats.Conn, key string) (*jetstream.RawStreamMsg, error) {
	subject := n.Subject(key)
	question, err := json.Marshal(map[string]string{"last_by_subj": subject})
	if err != nil {
		return nil, err
	}
	reply, err := nc.RequestWithContext(ctx, n.Reads(), question)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message *struct {
			Subject  string `json:"subject"`
			Sequence uint64 `json:"seq"`
			Header   []byte `json:"hdrs"`
			Data     []byte `json:"data"`
		} `json:"message"`
	}
	switch err := json.Unmarshal(reply.Data, &answer); {
	case err != nil:
		return nil, fmt.Errorf("the stream's answer cannot be read: %w", err)
	case answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return nil, jetstream.ErrMsgNotFound
	case answer.Error != nil:
		return nil, answer.Error
	case answer.Message == nil || answer.Message.Subject != subject || answer.Message.Sequence == 0:
		return nil, fmt.Errorf("the stream's answer says nothing: %.80q", reply.Data)
	}
	msg := &jetstream.RawStreamMsg{Subject: subject, Sequence: answer.Message.Sequence, Data: answer.Message.Data}
	if len(answer.Message.Header) > 0 {
		if msg.Header, err = nats.DecodeHeadersMsg(answer.Message.Header); err != nil {
			return nil, fmt.Errorf("the stream's answer cannot be read: %w", err)
		}
	}
	return msg, nil
}
