package app_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// gatewayOf returns a gateway that answers every race with these lines. It notes which
// counters were removed.
func gatewayOf(t *testing.T, lines string) (url string, removed func() []string) {
	t.Helper()
	var mu sync.Mutex
	var gone []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/race/race-"):
			fmt.Fprint(w, lines)
		case r.Method == http.MethodDelete:
			mu.Lock()
			defer mu.Unlock()
			gone = append(gone, r.URL.Path)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, func() []string { mu.Lock(); defer mu.Unlock(); return gone }
}

// column returns a gateway's line about one counter in one round.
func column(name string, asked, lost, wasted int) string {
	var out strings.Builder
	for i := range asked {
		tries := strings.Repeat(`{"refused":true},`, wasted) + `{"refused":false}`
		fmt.Fprintf(&out, `{"type":"attempt","counter":%q,"i":%d,"sentUs":0,"answeredUs":%d,"outcome":"ok","tries":[%s]}`+"\n", name, i, 1000*(i+1), tries)
	}
	fmt.Fprintf(&out, `{"type":"verdict","counter":%q,"asked":%d,"answered":%d,"duplicates":%d,"lost":%d,"lostMax":%d,"before":0,"after":%d}`+"\n",
		name, asked, asked, lost, lost, lost, asked-lost)
	return out.String()
}

const done = `{"type":"done","elapsedUs":1}` + "\n"

func TestRaceCountsWhatWasLost(t *testing.T) {
	url, removed := gatewayOf(t, column("object", 15, 0, 0)+column("naive", 15, 14, 0)+column("cas", 15, 0, 4)+done)
	code, out, errs := run(t, "race", "--rounds", "3", "--url", url+"/")
	for _, want := range []string{
		"3 rounds of 15 claims", "object   lost  0 everywhere", "cas      lost  0 everywhere", "14 ████████ 3", "42 tickets given twice",
		"attempts per claim p50 5 p99 5   wasted writes 60 per round", "p50 8.0 ms  p99 15.0 ms",
	} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("race = %d, want 0 and %q:\n%s%s", code, want, out, errs)
		}
	}
	if n := len(removed()); n != 9 {
		t.Errorf("%d counters were removed, want 3 in each of 3 rounds: %v", n, removed())
	}
}

func TestRaceIsExit20WhenSomethingExpectedToBeCorrectIsNot(t *testing.T) {
	honest, _ := gatewayOf(t, column("object", 15, 0, 0)+column("naive", 15, 13, 0)+column("cas", 15, 0, 4)+done)
	broken, _ := gatewayOf(t, column("object", 15, 1, 0)+done)
	silent, _ := gatewayOf(t, `{"type":"verdict","counter":"object","asked":15,"refused":15}`+"\n"+done)
	tests := []struct {
		args string
		want string
	}{
		{honest + " --expect-correct naive", "naive lost 13"},
		{broken, "object lost 1"},
		{broken + " --expect-correct cas", "cas was not raced"},
		{silent, "object answered nobody"},
	}
	for _, tt := range tests {
		args := append([]string{"race", "--rounds", "1", "--url"}, strings.Fields(tt.args)...)
		if code, out, errs := run(t, args...); code != 20 || !strings.Contains(errs, tt.want) || !strings.Contains(out, "1 round of 15 claims") {
			t.Errorf("%s = %d, want 20, %q and the figures:\n%s%s", tt.args, code, tt.want, out, errs)
		}
		code, out, _ := run(t, append(args, "--json")...)
		var report struct {
			OK       bool
			Error    struct{ Code string }
			Counters map[string]struct{ Rounds int }
		}
		if err := json.Unmarshal([]byte(out), &report); err != nil || code != 20 || report.OK || report.Error.Code != "check_failed" || report.Counters["object"].Rounds != 1 {
			t.Errorf("%s --json = %d, want one value with figures and error: %v\n%s", tt.args, code, err, out)
		}
	}
	if code, _, errs := run(t, "race", "--rounds", "1", "--url", honest, "--expect-correct", "object,cas"); code != 0 {
		t.Errorf("race of correct counters = %d:\n%s", code, errs)
	}
}

func TestRaceSaysWhyItCannotRun(t *testing.T) {
	cut, _ := gatewayOf(t, column("object", 2, 0, 0)) // the end is missing
	gone := httptest.NewServer(nil)
	gone.Close()
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `{"code":"unavailable","message":"no host runs class ticket"}`)
	}))
	defer busy.Close()
	tests := []struct {
		name, url, want string
		code            int
	}{
		{"a run that breaks off", cut, "broke off", 8},
		{"nobody there", gone.URL, "holdfast dev", 7},
		{"a gateway without the demo", other.URL, "has no /race", 4},
		{"a gateway without hosts", busy.URL, "no host runs class ticket", 7},
	}
	for _, tt := range tests {
		if code, _, errs := run(t, "race", "--rounds", "1", "--url", tt.url); code != tt.code || !strings.Contains(errs, tt.want) {
			t.Errorf("%s: exit %d, want %d and %q:\n%s", tt.name, code, tt.code, tt.want, errs)
		}
	}
}

// The flags say from where a race is fired, and how the naive counter reads and writes; the result says what came of that.
func TestRaceIsFiredAsItsFlagsSay(t *testing.T) {
	var mu sync.Mutex
	var orders []string
	stale := strings.Replace(column("naive", 15, 6, 0), `"duplicates"`, `"cached":9,"gaps":2,"duplicates"`, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			return
		}
		order, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		orders = append(orders, string(order))
		fmt.Fprint(w, column("object", 15, 0, 0)+stale+column("cas", 15, 0, 0)+done)
	}))
	defer s.Close()
	ordered := func(flags ...string) (order, out string) {
		t.Helper()
		code, out, errs := run(t, append([]string{"race", "--rounds", "1", "--url", s.URL}, flags...)...)
		if code != 0 {
			t.Fatalf("race %v = %d:\n%s%s", flags, code, out, errs)
		}
		return orders[len(orders)-1], out
	}
	if order, _ := ordered(); order != `{"from":null,"gap":"10ms","limit":false,"n":15,"spread":"0s","ttl":"0s"}` {
		t.Errorf("without flags it orders %s", order)
	}
	order, out := ordered("--from", "fra,iad,syd", "--kv-ttl", "30s", "--kv-limit", "--gap", "0", "--spread", "2s")
	if order != `{"from":["fra","iad","syd"],"gap":"0s","limit":true,"n":15,"spread":"2s","ttl":"30s"}` {
		t.Errorf("with all flags it orders %s", order)
	}
	for _, want := range []string{"2 numbers in between given to nobody", "9 claims read from a region's cache", "6 tickets given twice"} {
		if !strings.Contains(out, want) {
			t.Errorf("the result does not say %q:\n%s", want, out)
		}
	}
}
