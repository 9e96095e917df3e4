package test

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"holdfast/internal/wire"
	"holdfast/objects"
)

// Claims too are answered to gateways and hosts only.
func TestAClaimWhoseReplySubjectNamesARecordGetsNothing(t *testing.T) {
	p := newPlace(t, nil)
	if n, _, err := claim(p.url, "claimed"); err != nil || n != 1 {
		t.Fatalf("ticket %d, %v", n, err)
	}
	id, err := objects.NameID("ticket", "claimed")
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(p.raw)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), "HF_OBJECTS")
	if err != nil {
		t.Fatal(err)
	}
	before, err := kv.Get(t.Context(), id.Key())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []wire.Claim{{Class: "ticket"}, {Class: "ticket", ID: id.String()}, {Class: "ticket", ID: "nonsense"}} {
		if err := p.raw.PublishRequest(wire.ClaimSubject(wire.AnyRegion, "ticket"), "$KV.HF_OBJECTS."+id.Key(), wire.Encode(c)); err != nil {
			t.Fatal(err)
		}
	}
	// One more, that is answered: the claims before it have been taken.
	if _, err := p.raw.RequestWithContext(t.Context(), wire.ClaimSubject(wire.AnyRegion, "ticket"), wire.Encode(wire.Claim{Class: "ticket"})); err != nil {
		t.Fatal(err)
	}
	after, err := kv.Get(t.Context(), id.Key())
	if err != nil || after.Revision() != before.Revision() {
		t.Fatalf("the record went from revision %d to %d: %q, %v", before.Revision(), after.Revision(), after.Value(), err)
	}
}
