package ask_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"holdfast/internal/ask"
	"holdfast/internal/wire"
	"holdfast/objects"
)

func TestAKeyThatARecordCannotKeepIsRefused(t *testing.T) {
	for key, want := range map[string]objects.Code{
		"": "", "k": "", "a b~!": "", strings.Repeat("k", 255): "",
		strings.Repeat("k", 256): objects.Invalid, "k\xff": objects.Invalid, "é": objects.Invalid, "k\x00": objects.Invalid,
	} {
		if got := objects.CodeOf(ask.CheckKey(key)); got != want {
			t.Errorf("CheckKey(%.10q) = %q, want %q", key, got, want)
		}
	}
}

// asked returns what an object was asked last.
func asked(t *testing.T) (objects.Caller, *wire.Request) {
	t.Helper()
	last := new(wire.Request)
	return objects.NewCaller(ask.Transport(func(ctx context.Context, to wire.Address, req *wire.Request) (*wire.Reply, error) {
		if err := ask.Identify(ctx, netip.Addr{}, to, req); err != nil {
			return nil, err
		}
		*last = *req
		return &wire.Reply{Status: http.StatusTeapot, Header: map[string][]string{"X-A": {"b"}}, Body: []byte("short and stout")}, nil
	})), last
}

func TestAFetchSaysWhatItsRequestSays(t *testing.T) {
	objs, last := asked(t)
	r, err := http.NewRequestWithContext(t.Context(), "", "http://pots.example/a%2Fb?c=d", strings.NewReader("boil"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Heat", "high")
	res, err := objs.Object("pot", "a").Fetch(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusTeapot || res.Status != "418 I'm a teapot" || res.Header.Get("X-A") != "b" || string(body) != "short and stout" {
		t.Errorf("response = %s %v %q", res.Status, res.Header, body)
	}
	if last.Method != "GET" || last.URL != "/a%2Fb?c=d" || last.Host != "pots.example" || string(last.Body) != "boil" || last.Header["X-Heat"][0] != "high" {
		t.Errorf("asked %+v", last)
	}
}

func TestWhatAnObjectWouldNotTakeIsNotSent(t *testing.T) {
	objs, last := asked(t)
	pot := objs.Object("pot", "a")
	fetch := func(ctx context.Context, body io.Reader) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "/", body)
		if err != nil {
			t.Fatal(err)
		}
		_, err = pot.Fetch(r)
		return err
	}
	if err := fetch(t.Context(), strings.NewReader(strings.Repeat("x", objects.MaxBody+1))); objects.CodeOf(err) != objects.TooLarge {
		t.Errorf("a body that is too large: %v", err)
	}
	broken := errors.New("broken")
	if err := fetch(t.Context(), io.MultiReader(strings.NewReader("x"), failing{broken})); objects.CodeOf(err) != objects.Invalid || !errors.Is(err, broken) {
		t.Errorf("a body that cannot be read: %v", err)
	}
	if err := fetch(objects.WithPrincipal(t.Context(), objects.Principal{ID: strings.Repeat("x", objects.MaxPrincipal)}), nil); objects.CodeOf(err) != objects.TooLarge {
		t.Errorf("a principal that is too large: %v", err)
	}
	if last.Kind != 0 {
		t.Errorf("it was sent: %+v", last)
	}
}

func TestWhoAsksAndUnderWhichKeyIsSaid(t *testing.T) {
	objs, last := asked(t)
	boil := objects.NewCall[string, []byte]("pot", "boil")
	ctx := objects.WithIdempotencyKey(objects.WithPrincipal(t.Context(), objects.Principal{ID: "ada"}), "k")
	if _, err := boil.Do(ctx, objs.Object("pot", "a").Near("fra"), "x"); err != nil {
		t.Fatal(err)
	}
	first := last.Key
	if string(last.Principal) != `{"id":"ada"}` || first == "" || last.Call != "boil" {
		t.Errorf("asked %+v", last)
	}
	if _, err := boil.Do(t.Context(), objs.Object("pot", "a"), "x"); err != nil || last.Principal != nil || last.Key != "" {
		t.Errorf("nobody in particular is %q under %q: %v", last.Principal, last.Key, err)
	}
	other := objects.WithIdempotencyKey(objects.WithPrincipal(t.Context(), objects.Principal{ID: "bob"}), "k")
	if _, err := boil.Do(other, objs.Object("pot", "a"), "x"); err != nil || last.Key == first {
		t.Errorf("another's key is the same: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
