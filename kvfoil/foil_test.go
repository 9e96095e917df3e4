package kvfoil

import (
	"context"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestNaiveLosesIncrementsInAtLeast99Of100Rounds(t *testing.T) {
	t.Parallel()
	f := open(t, startServer(t), Config{})
	const rounds, n = 100, 15
	lossy := 0
	for round := range rounds {
		name := fmt.Sprint("round ", round)
		burst(t, n, straight(f), name, 10*time.Millisecond)
		if mustPeek(t, f.PeekNaive, name) < n {
			lossy++
		}
	}
	if lossy < 99 {
		t.Errorf("rounds with a lost increment = %d of %d, want at least 99", lossy, rounds)
	}
}

func TestCASHandsOutEveryTicketOnceAndCountsItsAttempts(t *testing.T) {
	t.Parallel()
	f := open(t, startServer(t), Config{})
	checkCAS(t, f, 10, 5*time.Millisecond)
}

func TestCASLosesNothingOnThreeReplicas(t *testing.T) {
	t.Parallel()
	servers := startCluster(t)
	foils := make([]*Foil, len(servers))
	var wg sync.WaitGroup
	for i, s := range servers { // all make the bucket at the same moment
		wg.Go(func() { foils[i] = open(t, s, Config{Replicas: 3}) })
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	for _, f := range foils {
		checkCAS(t, f, 5, 0)
	}
	const n = 15
	burst(t, n, straight(foils[0]), "three replicas", 10*time.Millisecond)
	if got := mustPeek(t, foils[1].PeekNaive, "three replicas"); got >= n {
		t.Errorf("naive counter after %d claims at once = %d, want less", n, got)
	}
}

// checkCAS runs rounds of 15 claims at once and checks tickets, stored value and
// attempts of each.
func checkCAS(t *testing.T, f *Foil, rounds int, gap time.Duration) {
	t.Helper()
	const n = 15
	attempts := 0
	for round := range rounds {
		name := fmt.Sprintf("%p %d", f, round)
		var tickets []int
		for _, r := range burst(t, n, f.CAS, name, gap) {
			tickets = append(tickets, r.Ticket)
			attempts += len(r.Attempts)
			checkAttempts(t, r)
		}
		slices.Sort(tickets)
		for i, ticket := range tickets {
			if ticket != i+1 {
				t.Fatalf("tickets = %v, want 1 to %d", tickets, n)
			}
		}
		if got := mustPeek(t, f.PeekCAS, name); got != n {
			t.Fatalf("stored value = %d, want %d", got, n)
		}
	}
	if attempts <= n*rounds {
		t.Errorf("attempts = %d for %d claims, want more: they collided", attempts, n*rounds)
	}
	t.Logf("%d claims made %d attempts", n*rounds, attempts)
}

// checkAttempts checks that only the last attempt of r was taken, and that the
// times are in order.
func checkAttempts(t *testing.T, r Result) {
	t.Helper()
	var before time.Time
	for i, a := range r.Attempts {
		if last := i == len(r.Attempts)-1; a.Refused == last {
			t.Fatalf("attempt %d of %d: refused = %v", i+1, len(r.Attempts), a.Refused)
		}
		if a.WroteValue != a.ReadValue+1 {
			t.Fatalf("attempt read %d and wrote %d", a.ReadValue, a.WroteValue)
		}
		if a.Read.Before(before) || a.Wrote.Before(a.Read) {
			t.Fatalf("attempt read at %v and wrote at %v, after %v", a.Read, a.Wrote, before)
		}
		before = a.Wrote
	}
	if last := r.Attempts[len(r.Attempts)-1]; last.WroteValue != r.Ticket {
		t.Fatalf("ticket = %d, want the value written, %d", r.Ticket, last.WroteValue)
	}
}

func TestPeekCountsNothingAndResetStartsAgain(t *testing.T) {
	f := open(t, startServer(t), Config{Memory: true})
	ctx := t.Context()
	counters := map[string]struct {
		claim claimer
		peek  func(context.Context, string) (int, error)
		reset func(context.Context, string) error
	}{
		"naive": {straight(f), f.PeekNaive, f.ResetNaive},
		"cas":   {f.CAS, f.PeekCAS, f.ResetCAS},
	}
	for kind, c := range counters {
		t.Run(kind, func(t *testing.T) {
			steps := []struct {
				do   string
				want int
			}{
				{"peek", 0}, {"claim", 1}, {"claim", 2}, {"peek", 2}, {"peek", 2},
				{"reset", 0}, {"peek", 0}, {"claim", 1}, {"reset", 0}, {"reset", 0}, {"claim", 1},
			}
			for i, s := range steps {
				got := 0
				var err error
				switch s.do {
				case "peek":
					got, err = c.peek(ctx, "x")
				case "claim":
					var r Result
					r, err = c.claim(ctx, "x", 0)
					got = r.Ticket
				case "reset":
					err = c.reset(ctx, "x")
				}
				if err != nil || got != s.want {
					t.Fatalf("step %d, %s = %d, %v, want %d", i, s.do, got, err, s.want)
				}
			}
		})
	}
}

func TestCASGoesOnAfterSomebodyDeletedTheKey(t *testing.T) {
	f := open(t, startServer(t), Config{})
	ctx := t.Context()
	if _, err := f.CAS(ctx, "x", 0); err != nil {
		t.Fatal(err)
	}
	if err := f.kv.Delete(ctx, cas.key("x")); err != nil {
		t.Fatal(err)
	}
	if r, err := f.CAS(ctx, "x", 0); err != nil || r.Ticket != 1 {
		t.Errorf("claim = %d, %v, want 1", r.Ticket, err)
	}
}

func TestOddNamesAreDistinctCountersOrRefused(t *testing.T) {
	f := open(t, startServer(t), Config{Memory: true})
	ctx := t.Context()
	long := strings.Repeat("x", MaxName)
	names := []string{
		".", "..", "a.b", "*", ">", " ", "\r\n", "\x00", "%2e", "%252e", "\u00e9", "e\u0301",
		"🦦", "\u202eabc", "abc", strings.Repeat("x", 512), strings.Repeat("x", 513), long,
		"__proto__", "$KV.x", "$JS.API.>",
	}
	for i, name := range names {
		for range i + 1 { // a different count for each
			if _, err := f.Naive(ctx, name, 0, Edge{}); err != nil {
				t.Fatalf("naive %q: %v", name, err)
			}
			if _, err := f.CAS(ctx, name, 0); err != nil {
				t.Fatalf("cas %q: %v", name, err)
			}
		}
	}
	for i, name := range names {
		if n, c := mustPeek(t, f.PeekNaive, name), mustPeek(t, f.PeekCAS, name); n != i+1 || c != i+1 {
			t.Errorf("counters %q = %d and %d, want %d", name, n, c, i+1)
		}
	}
	for _, name := range []string{"", "\xff", "a\xc3", long + "x", strings.Repeat("x", 4<<10), strings.Repeat("x", 64<<10)} {
		_, naiveErr := f.Naive(ctx, name, 0, Edge{})
		_, casErr := f.CAS(ctx, name, 0)
		_, peekErr := f.PeekNaive(ctx, name)
		for _, err := range []error{naiveErr, casErr, peekErr, f.ResetNaive(ctx, name), f.ResetCAS(ctx, name)} {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("name of %d bytes: %v, want ErrInvalid", len(name), err)
			}
		}
	}
	if !f.nc.IsConnected() || f.nc.Stats().Reconnects != 0 {
		t.Error("a name broke the connection")
	}
}

func TestGapsOutOfBoundsAreRefused(t *testing.T) {
	f := open(t, startServer(t), Config{Memory: true})
	for _, gap := range []time.Duration{-1, MaxGap + 1} {
		if _, err := f.Naive(t.Context(), "x", gap, Edge{}); !errors.Is(err, ErrInvalid) {
			t.Errorf("naive with gap %v: %v, want ErrInvalid", gap, err)
		}
		if _, err := f.CAS(t.Context(), "x", gap); !errors.Is(err, ErrInvalid) {
			t.Errorf("cas with gap %v: %v, want ErrInvalid", gap, err)
		}
	}
}

func TestAPersonCanReadTheValue(t *testing.T) {
	f := open(t, startServer(t), Config{Memory: true})
	if _, err := f.Naive(t.Context(), "the café", 0, Edge{}); err != nil {
		t.Fatal(err)
	}
	entry, err := f.kv.Get(t.Context(), naive.key("the café"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(entry.Value()), `{"name":"the café","n":1}`; got != want {
		t.Errorf("value = %s, want %s", got, want)
	}
}

func TestAValueThatIsNoCounterIsLeftAlone(t *testing.T) {
	f := open(t, startServer(t), Config{Memory: true})
	ctx := t.Context()
	for _, value := range []string{"seven", `{"n":-1}`, `{"n":9223372036854775807}`, `{"n":1.5}`} {
		for _, k := range []kind{naive, cas} {
			if _, err := f.kv.PutString(ctx, k.key("x"), value); err != nil {
				t.Fatal(err)
			}
		}
		if r, err := f.Naive(ctx, "x", 0, Edge{}); err == nil {
			t.Errorf("naive over %s = %d, want an error", value, r.Ticket)
		}
		if r, err := f.CAS(ctx, "x", 0); err == nil {
			t.Errorf("cas over %s = %d, want an error", value, r.Ticket)
		}
		if kve, err := f.kv.Get(ctx, cas.key("x")); err != nil || string(kve.Value()) != value {
			t.Errorf("value afterwards: %v, %v, want %s", kve, err, value)
		}
	}
}

func TestAnEdgeCacheServesWhatWasTrue(t *testing.T) {
	s := startServer(t)
	fra, syd := open(t, s, Config{}), open(t, s, Config{})
	steps := []struct {
		edge   *Foil
		ticket int
		why    string
	}{
		{fra, 1, "nothing is there, and fra knows its own write"},
		{fra, 2, "fra knows its own write"},
		{syd, 3, "syd has not looked yet"},
		{fra, 3, "fra still believes in 2"},
		{fra, 4, "fra knows its own write"},
		{syd, 4, "syd still believes in 3"},
	}
	for i, s := range steps {
		r, err := s.edge.Naive(t.Context(), "x", 0, Edge{CacheTTL: MaxCacheTTL})
		if err != nil || r.Ticket != s.ticket {
			t.Fatalf("step %d: ticket = %d, %v, want %d: %s", i, r.Ticket, err, s.ticket, s.why)
		}
	}
	if got := mustPeek(t, fra.PeekNaive, "x"); got != 4 {
		t.Errorf("stored value = %d, want 4: a peek is not cached", got)
	}
}

func TestAnEdgeCacheRemembersThatNothingWasThere(t *testing.T) {
	s := startServer(t)
	fra, syd := open(t, s, Config{}), open(t, s, Config{})
	look, err := fra.claim(naive, "x", 0)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := look.get(t.Context(), Edge{}); err != nil || n != 0 {
		t.Fatalf("first look = %d, %v, want 0", n, err)
	}
	if r, err := syd.Naive(t.Context(), "x", 0, Edge{}); err != nil || r.Ticket != 1 {
		t.Fatalf("syd: ticket = %d, %v, want 1", r.Ticket, err)
	}
	r, err := fra.Naive(t.Context(), "x", 0, Edge{CacheTTL: MaxCacheTTL})
	if err != nil || r.Ticket != 1 || !r.Attempts[0].Cached {
		t.Errorf("fra: %+v, %v, want ticket 1 again: it remembers an empty store", r, err)
	}
	if r, err := fra.Naive(t.Context(), "x", 0, Edge{}); err != nil || r.Ticket != 2 || r.Attempts[0].Cached {
		t.Errorf("fra without a cache: %+v, %v, want ticket 2 from the store", r, err)
	}
	for _, ttl := range []time.Duration{-1, MaxCacheTTL + 1} {
		if _, err := fra.Naive(t.Context(), "x", 0, Edge{CacheTTL: ttl}); !errors.Is(err, ErrInvalid) {
			t.Errorf("a claim with a cache of %v = %v, want ErrInvalid", ttl, err)
		}
	}
}

func TestASecondWriteWithinASecondIsTooMany(t *testing.T) {
	f := open(t, startServer(t), Config{})
	ctx := t.Context()
	if _, err := f.Naive(ctx, "x", 0, Edge{WriteLimit: true}); err != nil {
		t.Fatal(err)
	}
	r, err := f.Naive(ctx, "x", 0, Edge{WriteLimit: true})
	if !errors.Is(err, ErrTooMany) || len(r.Attempts) != 1 || !r.Attempts[0].Refused {
		t.Errorf("second claim: %+v, %v, want one refused attempt and ErrTooMany", r, err)
	}
	if _, err := f.Naive(ctx, "y", 0, Edge{WriteLimit: true}); err != nil {
		t.Errorf("another key: %v", err)
	}
	if got := mustPeek(t, f.PeekNaive, "x"); got != 1 {
		t.Errorf("stored value = %d, want 1", got)
	}
}

func TestADownStoreIsUnavailableAndNothingIsWrittenLater(t *testing.T) {
	s := startServer(t)
	f := open(t, s, Config{})
	ctx := t.Context()
	down := f.nc.StatusChanged(nats.RECONNECTING)
	s.Shutdown()
	select {
	case <-down:
	case <-time.After(10 * time.Second):
		t.Fatal("the connection did not notice that the server is gone")
	}
	_, naiveErr := f.Naive(ctx, "x", 0, Edge{})
	_, casErr := f.CAS(ctx, "x", 0)
	_, peekErr := f.PeekNaive(ctx, "x")
	for _, err := range []error{naiveErr, casErr, peekErr, f.ResetNaive(ctx, "x")} {
		if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnknown) {
			t.Errorf("error = %v, want ErrUnavailable", err)
		}
	}
	if n, err := f.nc.Buffered(); err == nil && n != 0 {
		t.Errorf("%d bytes wait to be sent, want 0", n)
	}
}

// A cluster forgets for a moment who keeps a bucket: right after it was made, and
// while its leader is elected.
func TestAReadThatNoServerTakesIsMadeAgain(t *testing.T) {
	t.Parallel()
	url := startServer(t)
	for kind, claim := range map[string]func(*Foil) claimer{"naive": straight, "cas": func(f *Foil) claimer { return f.CAS }} {
		f := open(t, url, Config{})
		js, err := jetstream.New(f.nc)
		if err != nil {
			t.Fatal(err)
		}
		if err := js.DeleteKeyValue(t.Context(), Bucket); err != nil {
			t.Fatal(err)
		}
		answers := f.nc.Stats().InMsgs
		claimed := make(chan error, 1)
		go func() {
			_, err := claim(f)(t.Context(), "early", 0)
			claimed <- err
		}()
		for f.nc.Stats().InMsgs == answers && len(claimed) == 0 { // until a read was refused
			runtime.Gosched()
		}
		if _, err := js.CreateKeyValue(t.Context(), bucketConfig(Config{})); err != nil {
			t.Fatal(err)
		}
		if err := <-claimed; err != nil {
			t.Errorf("a claim of %s whose first read no server took: %v; want a ticket", kind, err)
		}
	}
}

func TestAContextThatEndsBeforeTheWriteWritesNothing(t *testing.T) {
	f := open(t, startServer(t), Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	for kind, claim := range map[string]claimer{"naive": straight(f), "cas": f.CAS} {
		r, err := claim(ctx, "x", time.Second)
		if !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v, want ErrUnavailable for the deadline", kind, err)
		}
		if len(r.Attempts) > 0 && !r.Attempts[0].Wrote.IsZero() {
			t.Errorf("%s wrote after its context ended", kind)
		}
	}
	if n, c := mustPeek(t, f.PeekNaive, "x"), mustPeek(t, f.PeekCAS, "x"); n != 0 || c != 0 {
		t.Errorf("stored values = %d and %d, want 0", n, c)
	}
}

func TestAWriteWithoutAnAnswerIsUnknown(t *testing.T) {
	f := open(t, startServer(t), Config{})
	f.kv = mute{f.kv}
	for kind, claim := range map[string]claimer{"naive": straight(f), "cas": f.CAS} {
		r, err := claim(t.Context(), "x", 0)
		if !errors.Is(err, ErrUnknown) || errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v, want ErrUnknown", kind, err)
		}
		if r.Ticket != 0 || len(r.Attempts) != 1 || r.Attempts[0].WroteValue != 1 || !r.Attempts[0].Wrote.IsZero() {
			t.Errorf("%s: result = %+v, want one unanswered write of 1", kind, r)
		}
	}
	if n, c := mustPeek(t, f.PeekNaive, "x"), mustPeek(t, f.PeekCAS, "x"); n != 1 || c != 1 {
		t.Errorf("stored values = %d and %d, want 1: these writes did land", n, c)
	}
}

// mute is a bucket whose acknowledgements get lost.
type mute struct{ jetstream.KeyValue }

func (m mute) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	_, err := m.KeyValue.Put(ctx, key, value)
	return 0, errors.Join(err, context.DeadlineExceeded)
}

func (m mute) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	_, err := m.KeyValue.Update(ctx, key, value, revision)
	return 0, errors.Join(err, context.DeadlineExceeded)
}

func TestWhatBecameOfAFailedWrite(t *testing.T) {
	cases := []struct {
		err  error
		want error
	}{
		{jetstream.ErrKeyRevisionMismatch, errMoved},
		{&jetstream.APIError{Code: 400, ErrorCode: jetstream.JSErrCodeStreamWrongLastSequence}, errMoved},
		{fmt.Errorf("%w", jetstream.ErrKeyRevisionMismatch), errMoved},
		{jetstream.ErrNoStreamResponse, ErrUnavailable},
		{nats.ErrNoResponders, ErrUnavailable},
		{nats.ErrReconnectBufExceeded, ErrUnavailable},
		{&jetstream.APIError{Code: 503, ErrorCode: 10077}, ErrUnavailable},
		{nats.ErrTimeout, ErrUnknown},
		{context.DeadlineExceeded, ErrUnknown},
		{context.Canceled, ErrUnknown},
		{nats.ErrConnectionClosed, ErrUnknown},
		{errors.New("anything else"), ErrUnknown},
	}
	for _, c := range cases {
		got := writeError(c.err)
		if !errors.Is(got, c.want) || !errors.Is(got, c.err) {
			t.Errorf("writeError(%v) = %v, want %v", c.err, got, c.want)
		}
	}
}

func TestAnExistingBucketIsTakenAsItIs(t *testing.T) {
	s := startServer(t)
	a := open(t, s, Config{})
	b := open(t, s, Config{Memory: true})
	if _, err := a.CAS(t.Context(), "x", 0); err != nil {
		t.Fatal(err)
	}
	if got := mustPeek(t, b.PeekCAS, "x"); got != 1 {
		t.Errorf("stored value = %d, want 1", got)
	}
}

func TestSourceIsTheClaimFirst(t *testing.T) {
	for name, claim := range map[string]string{"naive": "func (f *Foil) Naive(", "cas": "func (f *Foil) CAS("} {
		source := Source(name)
		if _, err := parser.ParseFile(token.NewFileSet(), name+".go", source, parser.AllErrors); err != nil {
			t.Errorf("source of %s: %v", name, err)
		}
		if before, _, ok := strings.Cut(source, claim); !ok || strings.Contains(before, "func ") {
			t.Errorf("source of %s does not start with %q", name, claim)
		}
	}
	for _, name := range []string{"", "foil", "../foil", "naive.go"} {
		if got := Source(name); got != "" {
			t.Errorf("Source(%q) = %d bytes, want none", name, len(got))
		}
	}
}

func mustPeek(t *testing.T, peek func(context.Context, string) (int, error), name string) int {
	t.Helper()
	n, err := peek(t.Context(), name)
	if err != nil {
		t.Fatalf("peek %q: %v", name, err)
	}
	return n
}
