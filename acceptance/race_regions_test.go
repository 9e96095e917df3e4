package acceptance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/examples/demo/race"
)

// raceLine is any line of a race's stream.
type raceLine struct {
	race.Attempted
	Regions  []string
	Sentence string
	Lost     int
	Cached   int
	Refused  int
	Run      string
	What     string // of a fault
	Host     string // likewise
}

// raced fires a race and returns its lines as they came.
func raced(t *testing.T, url, counter, body string) (lines []raceLine, stream string) {
	t.Helper()
	status, _, stream := request(t, "POST", url+"/race/"+counter, body)
	if status != http.StatusOK {
		t.Fatalf("race: status %d, %s", status, stream)
	}
	for line := range strings.Lines(stream) {
		var l raceLine
		decode(t, line, &l)
		lines = append(lines, l)
	}
	return lines, stream
}

// A race is fired from several regions at one instant, and its events are found again.
func TestARaceIsFiredFromSeveralRegions(t *testing.T) {
	beside(t, waiters)
	on := single(t)
	on.startHost(t, "host-1", "fra", steady, nil)
	doors := on.startDoors(t, "fra", "iad", "syd")

	var regions []struct{ Code, URL string }
	_, _, body := request(t, "GET", doors[2].url+"/regions", "")
	decode(t, body, &regions)
	if len(regions) != 3 || regions[0].Code != "syd" || regions[0].URL != doors[2].url {
		t.Fatalf("syd knows of %+v, want itself first and two others", regions)
	}

	lines, stream := raced(t, doors[0].url, "a", `{"n":15,"gap":"20ms","from":["syd","fra","iad"]}`)
	if start := lines[0]; !slices.Equal(start.Regions, []string{"fra", "iad", "syd"}) {
		t.Errorf("fired from %v", start.Regions)
	}
	from, sent := map[string]int{}, map[string][]int64{}
	tickets := map[int]bool{}
	for _, l := range lines {
		if l.Type != "attempt" {
			continue
		}
		from[l.Counter+" "+l.Region]++
		sent[l.Counter] = append(sent[l.Counter], l.SentUs)
		if l.Outcome != race.OK {
			t.Errorf("%s of %s: %s, %s", l.Counter, l.Region, l.Outcome, l.Error)
		}
		if l.Counter == "object" {
			tickets[l.Ticket] = true
		}
	}
	for _, counter := range []string{"object", "naive", "cas"} {
		for _, region := range []string{"fra", "iad", "syd"} {
			if n := from[counter+" "+region]; n != 5 {
				t.Errorf("%s fired %d at %s, want 5", region, n, counter)
			}
		}
		if first := slices.Min(sent[counter]); first < 0 {
			t.Errorf("the claims at %s were sent from %d µs, want at one instant", counter, first)
		}
	}
	if len(tickets) != 15 {
		t.Errorf("the object handed out %d different tickets", len(tickets))
	}

	id := lines[len(lines)-1].Run
	if id == "" {
		t.Fatal("the run was not kept")
	}
	for _, door := range doors {
		status, _, again := request(t, "GET", door.url+"/runs/"+id, "")
		if want := strings.Replace(stream, `,"run":"`+id+`"`, "", 1); status != http.StatusOK || again != want {
			t.Errorf("the run is found as %d:\n%s\nwant\n%s", status, again, want)
		}
	}
	for _, name := range []string{"nobody", strings.Repeat("A", 22), "%2e%2e"} {
		if status, _, _ := request(t, "GET", doors[0].url+"/runs/"+name, ""); status != http.StatusNotFound {
			t.Errorf("run %s: status %d, want 404", name, status)
		}
	}
	for _, body := range []string{`{"from":["mars"]}`, `{"ttl":"61s"}`, `{"ttl":"-1s"}`, `{"n":201}`, `{"spread":"11s"}`, `{"from":"fra"}`, `{"n":`} {
		if status, _, said := request(t, "POST", doors[0].url+"/race/a", body); status != http.StatusBadRequest {
			t.Errorf("%s: status %d, %s", body, status, said)
		}
	}
}

// A region may read a recent value again from its cache, whatever others have
// written: a seat is sold twice long after the first sale.
func TestAStaleReadSellsASeatTwice(t *testing.T) {
	beside(t, waiters)
	on := single(t)
	on.startHost(t, "host-1", "fra", steady, nil)
	doors := on.startDoors(t, "fra", "syd")
	claim := func(door *door, query string) (int, string) {
		t.Helper()
		status, _, body := request(t, "POST", door.url+"/naive/seat?gap=0s&"+query, "")
		return status, body
	}
	for i, step := range []struct {
		door *door
		want string
	}{{doors[1], `{"ticket":1}`}, {doors[0], `{"ticket":2}`}, {doors[0], `{"ticket":3}`}, {doors[1], `{"ticket":2}`}} {
		if status, body := claim(step.door, "ttl=60s"); status != http.StatusOK || body != step.want {
			t.Fatalf("step %d: %d %s, want %s", i, status, body, step.want)
		}
	}
	// By default nothing is cached and nothing is refused.
	if status, body := claim(doors[0], ""); status != http.StatusOK || body != `{"ticket":3}` {
		t.Errorf("a plain claim: %d %s", status, body)
	}
	await(t, "a second write within a second is refused", func() bool { // unless the machine stood still for that second
		status, body := claim(doors[0], "limit=true")
		return status == http.StatusTooManyRequests && strings.Contains(body, "too_many")
	})
	if status, _ := claim(doors[0], "ttl=2h"); status != http.StatusBadRequest {
		t.Errorf("a cache of two hours: %d", status)
	}

	runs := 0
	await(t, "one write of each region, the others refused, all but the first reads cached", func() bool { // likewise
		runs++
		lines, _ := raced(t, doors[0].url, fmt.Sprint("b", runs), `{"n":6,"gap":"0s","spread":"600ms","ttl":"30s","limit":true,"from":["fra","syd"]}`)
		return slices.ContainsFunc(lines, func(l raceLine) bool {
			return l.Type == "verdict" && l.Counter == "naive" && l.Refused == 4 && l.Cached == 4
		})
	})
}

// A sender with the right to publish may order a gateway to fire; invalid orders are refused,
// and nothing is published where nobody waits for an answer.
func TestAForgedOrderToFireIsRefused(t *testing.T) {
	beside(t, waiters)
	on := single(t)
	on.startHost(t, "host-1", "fra", steady, nil)
	door := on.startDoors(t, "fra")[0]
	nc := on.dial(t)
	now := time.Now().UnixMicro()
	for _, order := range []string{
		``, `{`, `{"counter":"naive","name":"a"}`,
		fmt.Sprintf(`{"counter":"naive","name":"a","zeroUs":%d,"claims":[]}`, now),
		fmt.Sprintf(`{"counter":"naive","name":"a","zeroUs":%d,"claims":[{"I":0}]}`, now+60e6),
		fmt.Sprintf(`{"counter":"naive","name":"a","zeroUs":%d,"claims":[{"I":0}]}`, now-60e6),
		fmt.Sprintf(`{"counter":"naive","name":"a","zeroUs":%d,"claims":[{"I":0,"After":3600000000000}]}`, now),
		fmt.Sprintf(`{"counter":"naive","name":"a","zeroUs":%d,"claims":[{"I":-1}]}`, now),
		fmt.Sprintf(`{"counter":"nobody","name":"a","zeroUs":%d,"claims":[{"I":0}]}`, now+5e5),
		fmt.Sprintf(`{"counter":"naive","name":"","zeroUs":%d,"claims":[{"I":0}]}`, now+5e5),
	} {
		msg, err := nc.Request("hf.demo.fire.fra", []byte(order), patience)
		var end struct{ Type, Error string }
		if err != nil || json.Unmarshal(msg.Data, &end) != nil || end.Type != "end" || end.Error == "" {
			t.Errorf("%s: %v, %+v, want a refusal", order, err, end)
		}
	}
	heard, err := nc.SubscribeSync("elsewhere")
	if err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"hf.demo.roll", "hf.demo.fire.fra"} {
		if err := nc.PublishMsg(&nats.Msg{Subject: subject, Reply: "elsewhere", Data: []byte("{}")}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := nc.Request("hf.demo.fire.fra", nil, patience); err != nil { // comes after both
		t.Fatal(err)
	}
	if n, _, err := heard.Pending(); err != nil || n != 0 {
		t.Errorf("%d messages were published elsewhere, %v", n, err)
	}
	if _, _, body := request(t, "GET", door.url+"/naive/a", ""); body != `{"ticket":0}` {
		t.Errorf("the counter stands at %s", body)
	}
}
