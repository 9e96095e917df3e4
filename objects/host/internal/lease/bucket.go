package lease

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"holdfast/internal/bucket"
)

// The bucket has a limit of its own, so that leases can be renewed while the records' bucket is full.
const (
	maxBytes = 16 << 20 // enough for some thousand hosts; the server reserves it
	maxEntry = 64 << 10 // enough for one host with some thousand classes
)

// Info is the content of a lease's entry, for people and for `holdfast ls`. Claimers read what Entry has of it.
type Info struct {
	Host    string    `json:"host"`
	Region  string    `json:"region"`
	Classes []string  `json:"classes"`
	PID     int       `json:"pid"`
	Renewed time.Time `json:"renewed"`
	Beat    uint64    `json:"beat"`            // renewals so far
	TTL     int64     `json:"ttlMs,omitempty"` // how long a renewal lasts, in milliseconds; 0: written before entries said so
	Reads   int       `json:"reads,omitempty"` // the newest version of records that the host reads
}

// Bucket keeps the leases of all host incarnations. It is the Store that hosts use.
type Bucket struct {
	name     bucket.Name
	js       jetstream.JetStream
	replicas int                    // 0: an existing bucket keeps its own
	config   jetstream.StreamConfig // with which the bucket is made anew
}

// Open binds to the bucket of leases and makes it if there is none. Entries that nobody renews expire, long after every
// claimer has taken them for dead. A bucket on one server is a file, unless memory is wanted, so that a restart of the
// server forgets no lease. A replicated bucket is in memory, and waits for no server's disk. An existing bucket with
// another configuration is changed or, if the server does not allow that, replaced: then hosts that run begin anew.
func Open(ctx context.Context, js jetstream.JetStream, memory bool, replicas int, timing Timing) (*Bucket, error) {
	name := bucket.Leases()
	b := &Bucket{name, js, replicas, jetstream.StreamConfig{
		Name:              name.Stream(),
		Description:       "leases of hosts",
		Subjects:          []string{name.Subject(">")},
		MaxMsgsPerSubject: 1,
		MaxAge:            max(time.Minute, 20*timing.TTL),
		MaxBytes:          maxBytes,
		MaxMsgSize:        maxEntry,
		Discard:           jetstream.DiscardNew,
		Storage:           jetstream.FileStorage,
		Replicas:          max(1, replicas),
		AllowRollup:       true,
		AllowDirect:       false, // the leader is asked whether a lease was renewed
	}}
	if memory || replicas > 1 {
		b.config.Storage = jetstream.MemoryStorage
	}
	if err := b.Make(ctx); err != nil {
		return nil, err
	}
	return b, nil
}

// Bind returns the existing bucket, for reading, and false if there is none.
func Bind(ctx context.Context, js jetstream.JetStream) (*Bucket, bool, error) {
	name := bucket.Leases()
	_, err := js.Stream(ctx, name.Stream())
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("open bucket %s: %w", name, err)
	}
	return &Bucket{name: name, js: js}, true, nil
}

// Make makes the bucket, or changes one with another configuration.
func (b *Bucket) Make(ctx context.Context) error {
	there, err := b.js.Stream(ctx, b.name.Stream())
	if err == nil {
		is := there.CachedInfo().Config
		switch {
		case is.Storage == jetstream.FileStorage && max(is.Replicas, b.replicas) > 1: // no update changes the storage
			if err = b.js.DeleteStream(ctx, b.name.Stream()); err == nil || errors.Is(err, jetstream.ErrStreamNotFound) {
				err = jetstream.ErrStreamNotFound
			}
		case b.replicas > 0 && is.Replicas != b.replicas:
			is.Replicas = b.replicas
			_, err = b.js.UpdateStream(ctx, is)
		case is.MaxBytes != maxBytes || is.MaxMsgSize != maxEntry || is.MaxAge < b.config.MaxAge || is.AllowDirect:
			is.MaxBytes, is.MaxMsgSize, is.MaxAge, is.AllowDirect = maxBytes, maxEntry, max(is.MaxAge, b.config.MaxAge), false
			_, err = b.js.UpdateStream(ctx, is)
		}
	}
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		_, err = b.js.CreateStream(ctx, b.config)
	}
	if err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another host was quicker
		return fmt.Errorf("open bucket %s: %w", b.name, err)
	}
	return nil
}

// Put writes the entry if its revision is still expect, and returns the new one. A
// bucket that has gone is made anew.
func (b *Bucket) Put(ctx context.Context, incarnation string, value []byte, expect uint64) (uint64, error) {
	return b.publish(ctx, &nats.Msg{Subject: b.name.Subject(incarnation), Data: value, Header: make(nats.Header)}, expect)
}

// Remove deletes the entry if its revision is still expect.
func (b *Bucket) Remove(ctx context.Context, incarnation string, expect uint64) error {
	msg := nats.NewMsg(b.name.Subject(incarnation))
	msg.Header.Set("KV-Operation", "DEL")
	_, err := b.publish(ctx, msg, expect)
	return err
}

func (b *Bucket) publish(ctx context.Context, msg *nats.Msg, expect uint64) (uint64, error) {
	msg.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(expect, 10))
	ack, err := b.js.PublishMsg(ctx, msg, jetstream.WithRetryAttempts(0)) // the keeper tries again
	if errors.Is(err, jetstream.ErrNoStreamResponse) {
		if made := b.Make(ctx); made != nil {
			return 0, errors.Join(err, made)
		}
		ack, err = b.js.PublishMsg(ctx, msg)
	}
	if api, ok := errors.AsType[*jetstream.APIError](err); ok &&
		(api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant) {
		return 0, fmt.Errorf("%w: %w", ErrStale, err)
	}
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// Read asks the leader for the entry.
func (b *Bucket) Read(ctx context.Context, incarnation string) (Entry, error) {
	stream, err := b.js.Stream(ctx, b.name.Stream())
	if err != nil {
		return Entry{}, err
	}
	msg, err := stream.GetLastMsgForSubject(ctx, b.name.Subject(incarnation))
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return Entry{Incarnation: incarnation}, nil
	case err != nil:
		return Entry{}, err
	case msg.Header.Get("KV-Operation") != "":
		return Entry{Incarnation: incarnation, State: Ended, Revision: msg.Sequence}, nil
	}
	return present(incarnation, msg.Sequence, msg.Data), nil
}

// Lasts returns how long a renewal lasts: at most LongestTTL, and otherwise if the entry does not say.
func (i Info) Lasts(otherwise time.Duration) time.Duration {
	if i.TTL <= 0 {
		return otherwise
	}
	return time.Duration(min(i.TTL, LongestTTL.Milliseconds())) * time.Millisecond
}

// present returns an entry with its count of renewals. The count of an unreadable entry is 0, which is no sign of life.
func present(incarnation string, revision uint64, value []byte) Entry {
	var info Info
	_ = json.Unmarshal(value, &info) // Beat stays 0
	return Entry{
		Incarnation: incarnation, State: Present, Revision: revision,
		Beat: info.Beat, TTL: info.Lasts(0), Classes: info.Classes, Reads: info.Reads,
	}
}

// Generation asks the leader for the bucket's generation.
func (b *Bucket) Generation(ctx context.Context) (Generation, error) {
	stream, err := b.js.Stream(ctx, b.name.Stream())
	if err != nil {
		return Generation{}, err
	}
	info := stream.CachedInfo() // just asked for
	return Generation{info.Created, info.State.LastSeq}, nil
}

// Watch calls each for all entries and every change. After the entries that existed when the watch began, it calls each
// with the zero Entry. It returns when ctx ends or the watch breaks, and with ErrRemade when the connection was made
// again: a server that was restarted has lost the watch.
func (b *Bucket) Watch(ctx context.Context, each func(Entry)) error {
	kv, err := b.js.KeyValue(ctx, string(b.name))
	if err != nil {
		return fmt.Errorf("watch leases: %w", err)
	}
	nc := b.js.Conn()
	remade := nc.StatusChanged(nats.CONNECTED)
	defer nc.RemoveStatusListener(remade)
	updates, err := kv.WatchAll(ctx)
	if err != nil {
		return fmt.Errorf("watch leases: %w", err)
	}
	defer updates.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-remade:
			return ErrRemade
		case entry, ok := <-updates.Updates():
			switch {
			case !ok:
				return errors.New("watch leases: the watch has ended")
			case entry == nil:
				each(Entry{}) // caught up
			case entry.Operation() == jetstream.KeyValuePut:
				each(present(entry.Key(), entry.Revision(), entry.Value()))
			default:
				each(Entry{Incarnation: entry.Key(), State: Ended, Revision: entry.Revision()})
			}
		}
	}
}

// List returns all leases that have an entry, by incarnation.
func (b *Bucket) List(ctx context.Context) (map[string]Info, error) {
	stream, err := b.js.Stream(ctx, b.name.Stream())
	if err != nil {
		return nil, fmt.Errorf("list leases: %w", err)
	}
	about, err := stream.Info(ctx, jetstream.WithSubjectFilter(b.name.Subject(">")))
	if err != nil {
		return nil, fmt.Errorf("list leases: %w", err)
	}
	leases := make(map[string]Info, len(about.State.Subjects))
	for subject := range about.State.Subjects {
		msg, err := stream.GetLastMsgForSubject(ctx, subject)
		if err != nil || msg.Header.Get("KV-Operation") != "" {
			continue // the lease ended meanwhile
		}
		var info Info
		if json.Unmarshal(msg.Data, &info) == nil {
			leases[b.name.Key(subject)] = info
		}
	}
	return leases, nil
}

// echoPrefix and an incarnation are the subject of the messages that the incarnation sends to itself.
const echoPrefix = "hf.lease.echo."

const echoFlush = 5 * time.Second // how long to wait until the server has the subscription

// Loop sends messages from one connection to another. It is the Echo that hosts use.
type Loop struct {
	state   *nats.Conn
	subject string
	sub     *nats.Subscription

	mu      sync.Mutex
	n       uint64
	waiting chan struct{} // closed when message n has come
}

// OpenLoop listens on serve for the Loop's messages on state. The subscription is
// its own: no message waits behind a request.
func OpenLoop(state, serve *nats.Conn, incarnation string) (*Loop, error) {
	l := &Loop{state: state, subject: echoPrefix + incarnation}
	var err error
	l.sub, err = serve.Subscribe(l.subject, l.onMessage)
	if err == nil {
		err = serve.FlushTimeout(echoFlush)
	}
	if err != nil {
		return nil, fmt.Errorf("listen for the own echo: %w", err)
	}
	return l, nil
}

// Close stops listening.
func (l *Loop) Close() { l.sub.Unsubscribe() }

// Send publishes. The channel is closed when the message has come.
func (l *Loop) Send() (<-chan struct{}, error) {
	l.mu.Lock()
	l.n++
	n, came := l.n, make(chan struct{})
	l.waiting = came
	l.mu.Unlock()
	return came, l.state.Publish(l.subject, strconv.AppendUint(nil, n, 10))
}

func (l *Loop) onMessage(msg *nats.Msg) {
	n, err := strconv.ParseUint(string(msg.Data), 10, 64)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil && n == l.n && l.waiting != nil {
		close(l.waiting)
		l.waiting = nil
	}
}
