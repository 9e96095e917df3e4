//go:build unix

package acceptance

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

func TestAFourthRegionJoins(t *testing.T) {
	beside(t, waiters)
	e := dev(t, "--store", "memory", "--rtt", "real")
	var joined struct {
		URL, Region string
		RTTMS       float64
	}
	run(t, &joined, "gateway", "--demo", "--region", "lhr", "--nats", e.banner.NATS, "--listen", "127.0.0.1:0")
	if joined.Region != "lhr" || joined.RTTMS == 0 {
		t.Errorf("joined = %+v, want it in lhr, with the way to fra simulated", joined)
	}
	doors := append(e.doors, &door{url: joined.URL})
	for i, region := range []string{"fra", "iad", "syd", "lhr"} {
		began := time.Now()
		n, header, err := claim(doors[i].url, "far")
		if err != nil || n != i+1 || header.Get("Holdfast-Region") != region {
			t.Errorf("claim through %s = %d, %v, Holdfast-Region %q", region, n, err, header.Get("Holdfast-Region"))
		}
		if owner := header.Get("Holdfast-Owner"); owner != "fra-1 (fra)" {
			t.Errorf("the owner is %q, want the host in the region of the first claim", owner)
		}
		t.Logf("%s: %v", region, time.Since(began))
	}
	amber, jade := enter(t, doors[0], "lobby"), enter(t, doors[3], "lobby")
	jade.say(`{"type":"ripple","x":1,"y":2}`)
	if f := amber.next("ripple"); f.UserID != jade.hello.UserID || jade.hello.Region != "lhr" {
		t.Errorf("ripple of %q, want %q of lhr", f.UserID, jade.hello.UserID)
	}
}

func TestWhatIsTakenIsSaidByWhomWithExitCode3(t *testing.T) {
	beside(t, waiters)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	port := fmt.Sprint(ln.Addr().(*net.TCPAddr).Port)
	store := t.TempDir()
	var said struct{ NATS string }
	run(t, &said, "nats", "--port", "0", "--store", store)
	by := "port " + port + " is taken"
	if _, err := os.Stat("/proc/net/tcp"); err == nil {
		by += fmt.Sprintf(" (by pid %d ", os.Getpid())
	}
	for _, tt := range []struct{ args, says string }{
		{"dev --store memory --nats-port 0 --port " + port, by},
		{"dev --store memory --port 0 --nats-port " + port, by},
		{"nats --store memory --port " + port, by},
		{"gateway --demo --region fra --nats " + said.NATS + " --listen 127.0.0.1:" + port, by},
		{"dev --port 0 --nats-port 0 --store " + store, store},
	} {
		code, stdout, stderr := once(t, strings.Fields(tt.args)...)
		if code != 3 || stdout != "" || !strings.Contains(stderr, tt.says) {
			t.Errorf("holdfast %s: exit %d, want 3 and %q\n%s%s", tt.args, code, tt.says, stdout, stderr)
		}
	}
}

func TestGetLsAndRaceFromASecondTerminal(t *testing.T) {
	beside(t, waiters)
	e := dev(t, "--regions", "fra,iad", "--store", t.TempDir())
	for range 3 {
		if _, _, err := claim(e.doors[1].url, "global"); err != nil {
			t.Fatal(err)
		}
	}
	says := func(code int, into any, args ...string) {
		t.Helper()
		got, stdout, stderr := once(t, append(args, "--json")...)
		if got != code {
			t.Fatalf("holdfast %v: exit %d, want %d\n%s%s", args, got, code, stdout, stderr)
		}
		decode(t, stdout, into)
	}
	var object struct {
		OK          bool
		Class, Name string
		Host        string
		Epoch       int
		Keys        map[string]json.RawMessage
	}
	says(0, &object, "get", "ticket/global", "--nats", e.banner.NATS)
	if !object.OK || object.Name != "global" || object.Host != "iad-1" || object.Epoch != 1 || string(object.Keys["count"]) != "3" {
		t.Errorf("get = %+v, want ticket/global of iad-1 with count 3", object)
	}
	var all []struct{ Class, Name string }
	says(0, &all, "ls", "--nats", e.banner.NATS)
	if len(all) != 1 || all[0].Name != "global" {
		t.Errorf("ls = %+v, want ticket/global alone", all)
	}

	var refusal struct {
		OK    bool
		Error struct{ Code, Message string }
	}
	for _, tt := range []struct {
		exit int
		code string
		args string
	}{
		{4, "not_found", "get ticket/nobody --nats " + e.banner.NATS},
		{2, "invalid", "get ticket --nats " + e.banner.NATS},
		{2, "invalid", "ls ticket room --nats " + e.banner.NATS},
		{7, "unavailable", "race --rounds 1 --url http://127.0.0.1:1"},
	} {
		says(tt.exit, &refusal, strings.Fields(tt.args)...)
		if refusal.OK || refusal.Error.Code != tt.code || refusal.Error.Message == "" {
			t.Errorf("%s: %+v, want %s", tt.args, refusal, tt.code)
		}
	}

	var race struct {
		OK        bool
		Rounds, N int
		Counters  map[string]struct{ Rounds, Answered, Duplicates, Lost, WastedWrites int }
	}
	says(0, &race, "race", "--rounds", "3", "--expect-correct", "cas", "--url", e.doors[0].url)
	if !race.OK || race.Rounds != 3 || len(race.Counters) != 3 {
		t.Errorf("race = %+v, want 3 rounds of 3 counters", race)
	}
	for name, c := range race.Counters {
		if c.Rounds != 3 || c.Answered != 45 || (c.Lost == 0) != (name != "naive") {
			t.Errorf("%s = %+v, want 45 answers, lost only by the naive one", name, c)
		}
	}
	var broken struct {
		OK    bool
		Error struct{ Code string }
	}
	says(20, &broken, "race", "--rounds", "3", "--expect-correct", "naive", "--url", e.doors[0].url)
	if broken.OK || broken.Error.Code != "check_failed" {
		t.Errorf("race = %+v, want check_failed", broken)
	}
}
