package record

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// BucketName is the bucket of objects.
const BucketName = "HF_OBJECTS"

const (
	streamName = "KV_" + BucketName
	prefix     = "$KV." + BucketName + "."
)

// tombstone is how long a removed object's marker stays. It only has to outlive
// puts that are under way.
const tombstone = time.Minute

// What became of a put.
var (
	// ErrStale: refused, the record has another revision. Nothing was changed by it.
	ErrStale = errors.New("the record has another revision")
	// ErrDoubt: no answer, or one that says nothing. It may have landed, or land yet.
	ErrDoubt = errors.New("the fate of the put is not known")
)

// Bucket keeps the records. All its reads go to the stream's leader.
type Bucket struct {
	js     jetstream.JetStream
	stream jetstream.Stream
}

// Open binds to the bucket and makes it if there is none. Several may do so at
// once. It is made through the stream's own API, because the KV helper can
// neither allow atomic publish nor turn direct reads off.
func Open(ctx context.Context, js jetstream.JetStream, storage jetstream.StorageType, replicas int) (*Bucket, error) {
	stream, err := js.Stream(ctx, streamName)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = js.CreateStream(ctx, jetstream.StreamConfig{
			Name:               streamName,
			Description:        "durable objects: one entry each",
			Subjects:           []string{prefix + ">"},
			MaxMsgsPerSubject:  1,
			Discard:            jetstream.DiscardNew,
			Storage:            storage,
			Replicas:           max(1, replicas),
			AllowRollup:        true,
			DenyDelete:         true,
			AllowMsgTTL:        true,
			AllowAtomicPublish: true,
			AllowDirect:        false, // a replica's answer may be older than an acknowledged put
		})
	}
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		stream, err = js.Stream(ctx, streamName)
	}
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", BucketName, err)
	}
	return &Bucket{js, stream}, nil
}

// Read is the record of a key and its revision. Without a record it is nil; the
// revision is then 0 or that of its removal. On ErrUnreadable it is that of the record
// which cannot be read.
func (b *Bucket) Read(ctx context.Context, key string) (*Record, uint64, error) {
	msg, err := b.stream.GetLastMsgForSubject(ctx, prefix+key)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read record %s: %w", key, err)
	}
	if msg.Header.Get("KV-Operation") != "" {
		return nil, msg.Sequence, nil
	}
	r, err := Decode(key, msg.Data)
	if err != nil {
		return nil, msg.Sequence, fmt.Errorf("read record %s: %w", key, err)
	}
	return r, msg.Sequence, nil
}

// Put writes a record if its revision is still expect, and returns the new one.
// Errors are ErrStale or ErrDoubt, wrapped.
func (b *Bucket) Put(ctx context.Context, key string, value []byte, expect uint64) (uint64, error) {
	return b.publish(ctx, &nats.Msg{Subject: prefix + key, Data: value, Header: make(nats.Header, 1)}, expect)
}

// Remove deletes a record if its revision is still expect. Errors as Put's.
func (b *Bucket) Remove(ctx context.Context, key string, expect uint64) (uint64, error) {
	msg := nats.NewMsg(prefix + key)
	msg.Header.Set("KV-Operation", "DEL")
	msg.Header.Set(jetstream.MsgTTLHeader, tombstone.String())
	return b.publish(ctx, msg, expect)
}

func (b *Bucket) publish(ctx context.Context, msg *nats.Msg, expect uint64) (uint64, error) {
	msg.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(expect, 10))
	// Not through the JetStream client: it tries again by itself, and gives up before
	// a leader is elected. What to do about silence is for the owner to decide.
	answer, err := b.js.Conn().RequestMsgWithContext(ctx, msg)
	if err == nil {
		var sequence uint64
		if sequence, err = acknowledged(answer.Data); err == nil {
			return sequence, nil
		}
	}
	// Only 10071 says that the record really is another. 10164 says that some put
	// to it is under way, perhaps our own.
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
		return 0, fmt.Errorf("put record %s: %w: %w", strings.TrimPrefix(msg.Subject, prefix), ErrStale, err)
	}
	return 0, fmt.Errorf("put record %s: %w: %w", strings.TrimPrefix(msg.Subject, prefix), ErrDoubt, err)
}

// acknowledged reads what the stream answers to a put: the sequence, or its refusal.
func acknowledged(answer []byte) (uint64, error) {
	if digits, ok := bytes.CutPrefix(answer, []byte(`{"stream":"`+streamName+`","seq":`)); ok { // as servers write it
		if sequence, err := strconv.ParseUint(string(bytes.TrimSuffix(digits, []byte("}"))), 10, 64); err == nil {
			return sequence, nil
		}
	}
	var ack struct {
		Error  *jetstream.APIError `json:"error"`
		Stream string              `json:"stream"`
		Seq    uint64              `json:"seq"`
	}
	switch err := json.Unmarshal(answer, &ack); {
	case err != nil:
		return 0, fmt.Errorf("the stream's answer cannot be read: %w", err)
	case ack.Error != nil:
		return 0, ack.Error
	case ack.Stream == "" || ack.Seq == 0:
		return 0, fmt.Errorf("the stream's answer says nothing: %.80q", answer)
	}
	return ack.Seq, nil
}

// Busy tells whether a put is in doubt only because another one was under way.
func Busy(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant
}

// List yields the keys of all records of a class, or of all classes for "", in no
// order. An error is yielded last.
func (b *Bucket) List(ctx context.Context, class string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		filter := prefix + ">"
		if class != "" {
			filter = prefix + class + ".>"
		}
		info, err := b.stream.Info(ctx, jetstream.WithSubjectFilter(filter))
		if err != nil {
			yield("", fmt.Errorf("list records: %w", err))
			return
		}
		for subject := range info.State.Subjects {
			if !yield(strings.TrimPrefix(subject, prefix), nil) {
				return
			}
		}
	}
}
