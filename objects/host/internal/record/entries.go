package record

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"holdfast/objects/host/internal/state"
)

// entries returns the prefix of the keys of an object's entries beside its record.
func entries(object string) string { return object + ".c." }

// entryPatience is the least wait for the answer to an entry's put: an entry is
// much larger than a record.
const entryPatience = 2 * time.Second

// PutEntry implements state.Store. Errors are ErrRefused or ErrDoubt, wrapped.
func (b *Bucket) PutEntry(ctx context.Context, object string, name state.Name, data []byte) error {
	msg := &nats.Msg{Subject: b.name.Subject(entries(object) + name.String()), Data: data, Header: make(nats.Header, 1)}
	_, err := b.publish(ctx, msg, 0, max(entryPatience, b.patience()))
	if errors.Is(err, ErrStale) { // an earlier copy has landed
		return nil
	}
	return err
}

// GetEntry implements state.Store. It asks any server that has the bucket, if the stream allows that: an entry never
// changes, so a replica has it or is behind. Otherwise GetEntry asks the leader, as for a record, until ctx ends.
func (b *Bucket) GetEntry(ctx context.Context, object string, name state.Name) ([]byte, error) {
	key := entries(object) + name.String()
	if data, ok := b.anyones(ctx, b.name.Subject(key)); ok {
		return data, nil
	}
	msg, err := b.last(ctx, key)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return nil, state.ErrMissing
	case err != nil:
		return nil, fmt.Errorf("read entry %s of %s: %w", name, object, err)
	}
	return msg.Data, nil
}

// anyones returns the last message of a subject from any server. It reports false if direct reads are not allowed, and
// if the server does not have the message or does not answer.
func (b *Bucket) anyones(ctx context.Context, subject string) ([]byte, bool) {
	if !b.direct.Load() {
		return nil, false
	}
	ctx, done := b.calls.begin(ctx, b.patience())
	defer done()
	reply, err := b.js.Conn().RequestWithContext(ctx, "$JS.API.DIRECT.GET."+b.name.Stream()+"."+subject, nil)
	if err != nil || reply.Header.Get(jetstream.SubjectHeader) != subject {
		return nil, false
	}
	return reply.Data, true
}

// ListEntries implements state.Store. It leaves out keys that are not an entry's.
func (b *Bucket) ListEntries(ctx context.Context, object string) ([]state.Name, error) {
	subjects, err := b.subjects(ctx, b.name.Subject(entries(object)+"*"))
	if err != nil {
		return nil, fmt.Errorf("list the entries of %s: %w", object, err)
	}
	names := make([]state.Name, 0, len(subjects))
	for subject := range subjects {
		if name, err := state.ParseName(strings.TrimPrefix(b.name.Key(subject), entries(object))); err == nil {
			names = append(names, name)
		}
	}
	return names, nil
}

// PurgeEntry implements state.Store.
func (b *Bucket) PurgeEntry(ctx context.Context, object string, name state.Name) error {
	stream, err := b.handle(ctx)
	if err == nil {
		err = stream.Purge(ctx, jetstream.WithPurgeSubject(b.name.Subject(entries(object)+name.String())))
	}
	if err != nil {
		return fmt.Errorf("purge entry %s of %s: %w", name, object, err)
	}
	return nil
}
