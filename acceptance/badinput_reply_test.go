package acceptance

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"holdfast/internal/bucket"
	"holdfast/internal/wire"
	"holdfast/objects"
)

// A sender of requests chooses the subject of the answer. A host answers to
// gateways only: an answer written to a record's key would be the record.
func TestAReplySubjectThatNamesARecordGetsNothing(t *testing.T) {
	beside(t, places)
	p := newPlace(t, nil)
	id, before := p.counted(t, "deputy")

	record := bucket.Records().Subject(id.Key())
	fresh, err := objects.Class("ticket").ID("never-seen")
	if err != nil {
		t.Fatal(err)
	}
	ask := wire.Encode(&wire.Request{Kind: wire.Call, Gateway: "g", N: 1, Call: "claim", Body: []byte("{}")})
	for _, payload := range [][]byte{ask, nil, []byte("nonsense"), wire.Encode(&wire.Request{Kind: 99, Gateway: "g"}), wire.Encode(&wire.Request{Kind: wire.Message, Socket: "s", Seq: 1})} {
		for _, reply := range []string{record, bucket.Records().Subject(fresh.Key()), "_HFX.a", "_INBOX.a.b", "$JS.API.STREAM.PURGE." + bucket.Records().Stream()} {
			if err := p.raw.PublishRequest(wire.ObjectSubject(id), reply, payload); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.raw.Publish(wire.ObjectSubject(id), payload); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.raw.Flush(); err != nil {
		t.Fatal(err)
	}

	// The owner has had all of it before this: it takes messages in order.
	if n, _, err := claim(p.url, "deputy"); err != nil || n != 2 {
		t.Errorf("ticket %d, %v; want 2: a request with nowhere to be answered was run", n, err)
	}
	after, err := bucket.Records().Last(t.Context(), p.raw, id.Key())
	if err != nil {
		t.Fatal(err)
	}
	if after.Sequence != before.Sequence+1 {
		t.Errorf("the record went from revision %d to %d, want one put: %s", before.Sequence, after.Sequence, after.Data)
	}
	var record2 struct{ Keys map[string]int }
	decode(t, string(after.Data), &record2)
	if record2.Keys["count"] != 2 {
		t.Errorf("the record is %s", after.Data)
	}
	if _, err := bucket.Records().Last(t.Context(), p.raw, fresh.Key()); !errors.Is(err, jetstream.ErrMsgNotFound) {
		t.Errorf("an object that nobody asked for has a record, or err = %v", err)
	}
}

// Claims too are answered to gateways and hosts only.
func TestAClaimWhoseReplySubjectNamesARecordGetsNothing(t *testing.T) {
	beside(t, places)
	p := newPlace(t, nil)
	id, before := p.counted(t, "claimed")
	for _, c := range []wire.Claim{{Class: "ticket"}, {Class: "ticket", ID: id.String()}, {Class: "ticket", ID: "nonsense"}} {
		for _, subject := range []string{wire.HostsSubject("ticket"), wire.ClaimSubject("fra", "ticket")} {
			if err := p.raw.PublishRequest(subject, bucket.Records().Subject(id.Key()), wire.Encode(&c)); err != nil {
				t.Fatal(err)
			}
		}
	}
	// One more, that is answered: the claims before it have been taken.
	inbox := wire.InboxPrefix + "test.claim.1"
	answers, err := p.raw.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	if err := wire.Ask(p.raw, wire.HostsSubject("ticket"), inbox, &wire.Claim{Class: "ticket"}); err != nil {
		t.Fatal(err)
	}
	if _, err := answers.NextMsgWithContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	after, err := bucket.Records().Last(t.Context(), p.raw, id.Key())
	if err != nil || after.Sequence != before.Sequence {
		t.Fatalf("the record went from revision %d to %d: %q, %v", before.Sequence, after.Sequence, after.Data, err)
	}
}

// counted returns a counter that has given one ticket, and its record.
func (p *place) counted(t *testing.T, name string) (objects.ID, *jetstream.RawStreamMsg) {
	t.Helper()
	if n, _, err := claim(p.url, name); err != nil || n != 1 {
		t.Fatalf("ticket %d, %v", n, err)
	}
	id, err := objects.Class("ticket").ID(name)
	if err != nil {
		t.Fatal(err)
	}
	record, err := bucket.Records().Last(t.Context(), p.raw, id.Key())
	if err != nil {
		t.Fatal(err)
	}
	return id, record
}
