package record

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"holdfast/internal/bucket"
	"holdfast/internal/planted"
)

// tombstone is how long the marker of a removed object stays. It has to outlive only the puts that are under way.
const tombstone = time.Minute

// The results of a put that has failed.
var (
	// ErrStale: refused, the record has another revision. The put changed nothing.
	ErrStale = errors.New("the record has another revision")
	// ErrDoubt: no answer, or one that decides nothing. The put may have landed, or may still land.
	ErrDoubt = errors.New("the fate of the put is not known")
	// ErrRefused: the store does not accept such a put. It changed nothing, and sending it again does not help.
	ErrRefused = errors.New("the store refuses the put")
	// ErrTooLarge is an ErrRefused: the record is larger than a message may be.
	ErrTooLarge = fmt.Errorf("%w: it is too large", ErrRefused)
	// ErrFull is an ErrRefused for want of room. There may be room later.
	ErrFull = fmt.Errorf("%w: it is full", ErrRefused)
)

// Settings say how the bucket is made if it does not exist.
type Settings struct {
	Storage  jetstream.StorageType
	Replicas int   // an existing bucket gets them too. 0: it keeps its own, and a new one has 1
	MaxBytes int64 // of all records; an existing bucket gets this limit too. 0: it keeps its own, and a new one has Default
	Default  int64 // 0: no limit

	// Direct reports whether every server that has the bucket may be asked for entries: it may once every host reads
	// records from the leader all the same. nil: only the leader is asked.
	Direct func() bool
}

// Bucket keeps the records. Records are read from the stream's leader. Entries, which never change, are read from any
// server that has them, once the stream allows it. Run must run for as long as records are put.
type Bucket struct {
	name     bucket.Name
	js       jetstream.JetStream
	config   jetstream.StreamConfig
	settings Settings
	stream   atomic.Pointer[jetstream.Stream] // by its name, so it stays valid when the stream is made anew
	direct   atomic.Bool                      // the stream allows direct reads, as of the last reading
	calls    calls
	room     room
	soon     chan struct{} // has a token when the room is to be read at once
}

// Open binds to the bucket and makes it if there is none. Several hosts may do so at once. The bucket is made through
// the stream's own API, because the KV helper can neither allow atomic publish nor turn direct reads off.
func Open(ctx context.Context, js jetstream.JetStream, settings Settings) (*Bucket, error) {
	name := bucket.Records()
	b := &Bucket{name: name, js: js, settings: settings, soon: make(chan struct{}, 1), config: jetstream.StreamConfig{
		Name:               name.Stream(),
		Description:        "durable objects: one entry each",
		Subjects:           []string{name.Subject(">")},
		MaxMsgsPerSubject:  1,
		MaxBytes:           -1,
		Discard:            jetstream.DiscardNew,
		Storage:            settings.Storage,
		Replicas:           max(1, settings.Replicas),
		AllowRollup:        true,
		DenyDelete:         true,
		AllowMsgTTL:        true,
		AllowAtomicPublish: true,
		AllowDirect:        false, // changed when Settings.Direct allows it
	}}
	if limit := cmp.Or(settings.MaxBytes, settings.Default); limit > 0 {
		b.config.MaxBytes = limit
	}
	return b, b.Make(ctx)
}

// Bind returns the existing bucket, for reading; false if there is none.
func Bind(ctx context.Context, js jetstream.JetStream) (*Bucket, bool, error) {
	name := bucket.Records()
	_, err := js.Stream(ctx, name.Stream())
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("open bucket %s: %w", name, err)
	}
	return &Bucket{name: name, js: js}, true, nil
}

// Make makes the bucket if there is none, or not any more. An existing bucket is changed to the explicit settings; it
// is an error if the server refuses that.
func (b *Bucket) Make(ctx context.Context) error {
	stream, err := b.js.Stream(ctx, b.name.Stream())
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = b.js.CreateStream(ctx, b.config)
	}
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another host was quicker
		stream, err = b.js.Stream(ctx, b.name.Stream())
	}
	if err == nil {
		is := stream.CachedInfo().Config
		want := is
		want.MaxBytes = cmp.Or(b.settings.MaxBytes, is.MaxBytes)
		want.Replicas = cmp.Or(b.settings.Replicas, is.Replicas)
		if want.MaxBytes != is.MaxBytes || want.Replicas != is.Replicas {
			_, err = b.js.UpdateStream(ctx, want)
		}
	}
	if err != nil {
		return fmt.Errorf("open bucket %s: %w", b.name, err)
	}
	return nil
}

// Read returns the record of a key and its revision. Without a record it returns nil; the revision is then 0 or that of
// the removal. With ErrUnreadable the revision is that of the unreadable record. A request without an answer is
// repeated until ctx ends.
func (b *Bucket) Read(ctx context.Context, key string) (*Record, uint64, error) {
	msg, err := b.last(ctx, key)
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

// last returns the last message of a key, as the leader has it.
func (b *Bucket) last(ctx context.Context, key string) (*jetstream.RawStreamMsg, error) {
	for patience := b.patience(); ; patience *= 2 {
		asking, done := b.calls.begin(ctx, patience)
		msg, err := b.name.Last(asking, b.js.Conn(), key)
		if err == nil || final(err) {
			done()
			return msg, err
		}
		<-asking.Done() // requests are spaced out, but go at once when the connection was made again
		done()
		if ctx.Err() != nil {
			return nil, err
		}
	}
}

// handle returns the stream by its name, also if the stream does not exist.
func (b *Bucket) handle(ctx context.Context) (jetstream.Stream, error) {
	if s := b.stream.Load(); s != nil {
		return *s, nil
	}
	s, err := b.js.Stream(ctx, b.name.Stream())
	if err == nil {
		b.stream.Store(&s)
	}
	return s, err
}

// final reports whether an error is an answer that another request would get too. An error for want of a leader is
// none.
func final(err error) bool {
	if errors.Is(err, jetstream.ErrMsgNotFound) || errors.Is(err, nats.ErrConnectionClosed) {
		return true
	}
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.Code != http.StatusServiceUnavailable
}

// Put writes a record if its revision is still expect, and returns the new one. Errors are ErrStale, ErrRefused or
// ErrDoubt, wrapped. ctx needs no deadline: a put without an answer is in doubt after the time that Patience gives.
func (b *Bucket) Put(ctx context.Context, key string, value []byte, expect uint64) (uint64, error) {
	return b.publish(ctx, &nats.Msg{Subject: b.name.Subject(key), Data: value, Header: make(nats.Header, 1)}, expect, b.patience())
}

// Remove deletes a record if its revision is still expect. Errors are those of Put.
func (b *Bucket) Remove(ctx context.Context, key string, expect uint64) (uint64, error) {
	msg := nats.NewMsg(b.name.Subject(key))
	msg.Header.Set("KV-Operation", "DEL")
	msg.Header.Set(jetstream.MsgTTLHeader, tombstone.String())
	return b.publish(ctx, msg, expect, b.patience())
}

func (b *Bucket) publish(ctx context.Context, msg *nats.Msg, expect uint64, patience time.Duration) (uint64, error) {
	if !planted.NoFence {
		msg.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(expect, 10))
	}
	ctx, done := b.calls.begin(ctx, patience)
	defer done()
	// The JetStream client would try again by itself, and give up before a leader is elected. The owner decides what to
	// do without an answer.
	answer, err := b.js.Conn().RequestMsgWithContext(ctx, msg)
	if err == nil {
		b.room.noteAnswer()
		var sequence uint64
		if sequence, err = acknowledged(answer.Data, b.name.Stream()); err == nil {
			return sequence, nil
		}
	}
	fate := fateOf(err)
	switch {
	case fate == ErrFull: //nolint:errorlint // fateOf returns it as it is
		if b.room.refused(time.Now()) {
			select {
			case b.soon <- struct{}{}:
			default:
			}
		}
	case errors.Is(err, context.DeadlineExceeded):
		b.room.unheard(time.Now())
	}
	return 0, fmt.Errorf("put record %s: %w: %w", b.name.Key(msg.Subject), fate, err)
}

// The server's codes for a put that was refused and certainly not stored.
const (
	codeAccountFull jetstream.ErrorCode = 10002 // the account's limit
	codeServerFull  jetstream.ErrorCode = 10023 // the server's limit, for all its streams
	codeMemoryFull  jetstream.ErrorCode = 10028
	codeStorageFull jetstream.ErrorCode = 10047
	codeTooLarge    jetstream.ErrorCode = 10054 // the stream's limit of one message
	codeNotStored   jetstream.ErrorCode = 10077 // the stream's limits; a server that cannot write does not answer at all
	codeHeaderLarge jetstream.ErrorCode = 10097
)

// fateOf returns what an error says about the fate of a put: ErrStale, ErrFull, ErrTooLarge, ErrRefused or ErrDoubt.
func fateOf(err error) error {
	if errors.Is(err, nats.ErrMaxPayload) { // it was not sent
		return ErrTooLarge
	}
	api, ok := errors.AsType[*jetstream.APIError](err)
	if !ok {
		return ErrDoubt
	}
	switch api.ErrorCode {
	case jetstream.JSErrCodeStreamWrongLastSequence:
		// Only this code says that the record really has another revision. 10164 says that a put to the record is under
		// way, perhaps our own.
		return ErrStale
	case codeAccountFull, codeServerFull, codeMemoryFull, codeStorageFull:
		return ErrFull
	case codeNotStored:
		if strings.HasPrefix(api.Description, "maximum ") { // bytes, or messages
			return ErrFull
		}
		return ErrRefused
	case codeTooLarge, codeHeaderLarge:
		return ErrTooLarge
	}
	return ErrDoubt
}

// acknowledged decodes a stream's answer to a put: the sequence, or the refusal.
func acknowledged(answer []byte, stream string) (uint64, error) {
	rest, _ := bytes.CutPrefix(answer, []byte(`{"stream":"`)) // as servers write it
	if name, digits, ok := bytes.Cut(rest, []byte(`","seq":`)); ok && string(name) == stream {
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

// Busy reports whether a put is in doubt only because another put was under way.
func Busy(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant
}

// List yields the keys of all records of a class, or of all classes for "", in no order. An error comes last.
func (b *Bucket) List(ctx context.Context, class string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if class == "" {
			class = "*"
		}
		subjects, err := b.subjects(ctx, b.name.Subject(class+".*"))
		if err != nil {
			yield("", fmt.Errorf("list records: %w", err))
			return
		}
		for subject := range subjects {
			if !yield(b.name.Key(subject), nil) {
				return
			}
		}
	}
}

// subjects returns the subjects that have a message and match a filter.
func (b *Bucket) subjects(ctx context.Context, filter string) (map[string]uint64, error) {
	stream, err := b.handle(ctx)
	if err != nil {
		return nil, err
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(filter))
	if err != nil {
		return nil, err
	}
	return info.State.Subjects, nil
}
