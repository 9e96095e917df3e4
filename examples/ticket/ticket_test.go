package ticket_test

import (
	"slices"
	"sync"
	"testing"

	"holdfast/examples/ticket"
	"holdfast/objects"
	"holdfast/objects/objectstest"
)

func TestParallelClaimsGetEachTicketOnce(t *testing.T) {
	w := objectstest.New(t, ticket.Objects)
	concert := w.Object(ticket.Tickets, "concert")
	const claims = 100
	got := make([]int, claims)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			n, err := ticket.Claim.Do(t.Context(), concert, nil)
			if err != nil {
				t.Error(err)
			}
			got[i] = n
		})
	}
	wg.Wait()
	slices.Sort(got)
	for i, n := range got {
		if n != i+1 {
			t.Fatalf("tickets = %v, want 1 to %d", got, claims)
		}
	}
	if n := w.Constructed(concert); n != 1 {
		t.Errorf("constructed %d times, want once", n)
	}
}

func TestTheCountOutlivesTheInstance(t *testing.T) {
	w := objectstest.New(t, ticket.Objects)
	concert := w.Object(ticket.Tickets, "concert")
	for want := 1; want <= 3; want++ {
		if n, err := ticket.Claim.Do(t.Context(), concert, nil); n != want || err != nil {
			t.Errorf("claim = %d, %v, want %d", n, err, want)
		}
		w.Evict(concert)
	}
	w.Move(concert)
	if n, err := ticket.Peek.Do(t.Context(), concert, nil); n != 3 || err != nil {
		t.Errorf("peek = %d, %v, want 3", n, err)
	}
}

func TestAClaimThatCouldNotCommitIsMadeAtTheNextOwner(t *testing.T) {
	w := objectstest.New(t, ticket.Objects)
	concert := w.Object(ticket.Tickets, "concert")
	w.Refuse(concert)
	if n, err := ticket.Claim.Do(t.Context(), concert, nil); n != 1 || err != nil {
		t.Errorf("claim = %d, %v, want 1", n, err)
	}
	if n, err := ticket.Claim.Do(t.Context(), concert, nil); n != 2 || err != nil {
		t.Errorf("claim again = %d, %v, want 2", n, err)
	}
}

func TestResetStartsOverAndLeavesOthersAlone(t *testing.T) {
	w := objectstest.New(t, ticket.Objects)
	concert, play := w.Object(ticket.Tickets, "concert"), w.Object(ticket.Tickets, "play")
	for _, ref := range []objects.Ref{concert, play} {
		if n, err := ticket.Claim.Do(t.Context(), ref, nil); n != 1 || err != nil {
			t.Fatalf("claim = %d, %v, want 1", n, err)
		}
	}
	if n, err := ticket.Reset.Do(t.Context(), concert, nil); n != 0 || err != nil {
		t.Errorf("reset = %d, %v, want 0", n, err)
	}
	for ref, want := range map[objects.Ref]int{concert: 0, play: 1} {
		if n, err := ticket.Peek.Do(t.Context(), ref, nil); n != want || err != nil {
			t.Errorf("peek %s = %d, %v, want %d", ref.Name(), n, err, want)
		}
	}
	err := objectstest.Inside(w, concert, func(tx *objects.Tx, _ *ticket.Counter) error {
		for key := range objects.NewMap[string, any]("").All(tx) {
			t.Errorf("%s is stored after the reset", key)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
