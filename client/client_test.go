package client_test

import (
	"context"
	"errors"
	"flag"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"holdfast/client"
	"holdfast/objects"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil { // they wait
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// start starts a world and a client of it.
func start(t *testing.T, hosted bool, cfg client.Config) (*world, *client.Client, *nats.Conn) {
	t.Helper()
	w, err := newWorld(t.Context(), hosted)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.stop)
	nc, err := w.dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	objs, err := client.New(nc, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return w, objs, nc
}

func TestAProgramAsksObjects(t *testing.T) {
	_, objs, _ := start(t, true, client.Config{})
	var way objects.Caller = objs
	a := way.Object(Counters, "a")
	for want := 2; want <= 6; want += 2 {
		if n, err := add.Do(t.Context(), a, 2); err != nil || n != want {
			t.Fatalf("add = %d, %v, want %d", n, err, want)
		}
	}
	if n, err := add.Do(t.Context(), way.ObjectByID(a.ID()), 0); err != nil || n != 6 {
		t.Errorf("by its id: %d, %v", n, err)
	}
	if n, err := add.Do(t.Context(), way.Object(Counters, "b"), 0); err != nil || n != 0 {
		t.Errorf("another object: %d, %v", n, err)
	}
}

func TestAProgramFetchesFromObjects(t *testing.T) {
	_, objs, _ := start(t, true, client.Config{})
	ctx := objects.WithPrincipal(t.Context(), objects.Principal{ID: "job"})
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://counters.example/x%2Fy?z=1", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	res, err := objs.Object(Counters, "a").Fetch(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if want := `"PUT /x%2Fy?z=1 body at counters.example, 0"` + "\n"; err != nil || string(body) != want || res.StatusCode != http.StatusAccepted || res.Header.Get("X-Who") != "job" {
		t.Errorf("response = %d %v %q, %v, want %q", res.StatusCode, res.Header, body, err, want)
	}
}

func TestAnUpgradeIsRefusedByTheObjectAndNotLost(t *testing.T) {
	_, objs, _ := start(t, true, client.Config{})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="}}
	if res, err := objs.Object(Counters, "a").Fetch(r); objects.CodeOf(err) != objects.Invalid && (err != nil || res.StatusCode != http.StatusBadRequest) {
		t.Errorf("a fetch that wants to be a socket: %v, %v", res, err)
	}
}

func TestTheObjectBelievesWhoAsks(t *testing.T) {
	_, objs, _ := start(t, true, client.Config{})
	a := objs.Object(Counters, "a")
	if p, err := who.Do(t.Context(), a, nil); err != nil || p.ID != "" || p.Claims != nil {
		t.Errorf("nobody in particular is %+v, %v", p, err)
	}
	ctx := objects.WithPrincipal(t.Context(), objects.Principal{ID: "job", Claims: map[string]string{"role": "cron"}})
	if p, err := who.Do(ctx, a, nil); err != nil || p.ID != "job" || p.Claims["role"] != "cron" {
		t.Errorf("the job is %+v, %v", p, err)
	}
	ctx = objects.WithPrincipal(t.Context(), objects.Principal{ID: strings.Repeat("x", objects.MaxPrincipal)})
	if _, err := who.Do(ctx, a, nil); objects.CodeOf(err) != objects.TooLarge {
		t.Errorf("a principal that is too large: %v", err)
	}
}

func TestAQuestionThatIsRepeatedUnderItsKeyIsDoneOnce(t *testing.T) {
	_, objs, nc := start(t, true, client.Config{})
	other, err := client.New(nc, client.Config{}) // as after a restart of the program
	if err != nil {
		t.Fatal(err)
	}
	for i, way := range []objects.Caller{objs, other, objs} {
		ctx := objects.WithIdempotencyKey(t.Context(), "order-17")
		if n, err := add.Do(ctx, way.Object(Counters, "a"), 5); err != nil || n != 5 {
			t.Errorf("attempt %d: %d, %v, want 5", i, n, err)
		}
	}
	ctx := objects.WithIdempotencyKey(t.Context(), "order-17")
	if _, err := add.Do(ctx, objs.Object(Counters, "a"), 6); objects.CodeOf(err) != objects.Conflict {
		t.Errorf("another question under the key: %v, want a conflict", err)
	}
	if n, err := add.Do(t.Context(), objs.Object(Counters, "a"), 0); err != nil || n != 5 {
		t.Errorf("the counter is at %d, %v, want 5", n, err)
	}
}

func TestARefusalArrivesWordForWord(t *testing.T) {
	_, objs, _ := start(t, true, client.Config{})
	_, err := add.Do(t.Context(), objs.Object(Counters, "a"), -1)
	e, ok := errors.AsType[*objects.Error](err)
	if !ok || e.Code != "negative" || e.Message != "counters do not count down" || e.Details["least"] != float64(0) {
		t.Errorf("refusal = %#v", err)
	}
}

func TestADeadlineEndsTheWait(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		whose string
		cfg   client.Config
		ctx   time.Duration
	}{
		{"the context's", client.Config{}, 300 * time.Millisecond},
		{"the client's", client.Config{Request: 300 * time.Millisecond}, time.Minute},
	} {
		w, objs, _ := start(t, true, tt.cfg)
		ctx, cancel := context.WithTimeout(t.Context(), tt.ctx)
		defer cancel()
		began := time.Now()
		_, err := stall.Do(ctx, objs.Object(Counters, "a"), nil)
		if code := objects.CodeOf(err); code != objects.Unknown && code != objects.Unavailable { // it may not even have begun
			t.Errorf("%s: %v", tt.whose, err)
		}
		if took := time.Since(began); took > 12*time.Second {
			t.Errorf("%s: it took %v", tt.whose, took)
		}
		w.release()
	}
}

func TestWhatCannotBeAskedIsSaidAtOnce(t *testing.T) {
	_, objs, nc := start(t, true, client.Config{})
	if _, err := add.Do(t.Context(), objs.Object(Counters, "a"), 0); err != nil { // the host is there
		t.Fatal(err)
	}
	began := time.Now()
	tests := []struct {
		what string
		ask  func() error
		want objects.Code
	}{
		{"an object without a name", func() error { _, err := add.Do(t.Context(), objs.Object(Counters, ""), 1); return err }, objects.Invalid},
		{"an id of nothing", func() error { _, err := add.Do(t.Context(), objs.ObjectByID(objects.ID{}), 1); return err }, objects.Invalid},
		{"an object of another class", func() error { _, err := add.Do(t.Context(), objs.Object("other", "a"), 1); return err }, objects.Invalid},
		{"a class that nobody runs", func() error {
			_, err := objects.NewCall[int, int]("other", "add").Do(t.Context(), objs.Object("other", "a"), 1)
			return err
		}, objects.NotFound},
		{"a call that the class has not", func() error {
			_, err := objects.NewCall[int, int](Counters, "subtract").Do(t.Context(), objs.Object(Counters, "a"), 1)
			return err
		}, objects.NotFound},
		{"too much", func() error {
			_, err := bytes.Do(t.Context(), objs.Object(Counters, "a"), make([]byte, objects.MaxCall+1))
			return err
		}, objects.TooLarge},
	}
	for _, tt := range tests {
		if err := tt.ask(); objects.CodeOf(err) != tt.want {
			t.Errorf("%s: %v, want %s", tt.what, err, tt.want)
		}
	}
	if took := time.Since(began); took > 12*time.Second {
		t.Errorf("it took %v", took)
	}
	nc.Close()
	if _, err := add.Do(t.Context(), objs.Object(Counters, "a"), 1); objects.CodeOf(err) != objects.Unavailable {
		t.Errorf("on a closed connection: %v, want unavailable", err)
	}
}

func TestWithoutAHostNothingHappens(t *testing.T) {
	t.Parallel()
	_, objs, _ := start(t, false, client.Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := add.Do(ctx, objs.Object(Counters, "a"), 1); objects.CodeOf(err) != objects.Unavailable {
		t.Errorf("without a host: %v, want unavailable", err)
	}
}

func TestAClientThatCannotBeIsRefused(t *testing.T) {
	_, _, nc := start(t, false, client.Config{})
	if _, err := client.New(nil, client.Config{}); err == nil {
		t.Error("a client without a connection was made")
	}
	if _, err := client.New(nc, client.Config{Request: time.Hour}); err == nil {
		t.Error("a client that waits longer than copies of its requests live was made")
	}
	if _, err := client.New(nc, client.Config{Region: "Fra.>"}); err == nil {
		t.Error("a client in a region that cannot be was made")
	}
	if _, err := client.New(nc, client.Config{Inbox: "_INBOX.>"}); err == nil {
		t.Error("a client with an inbox that cannot be was made")
	}
	nc.Close()
	if _, err := client.New(nc, client.Config{}); err == nil {
		t.Error("a client of a closed connection was made")
	}
}
