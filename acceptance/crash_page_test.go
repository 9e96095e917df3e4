//go:build unix

package acceptance

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"holdfast/examples/demo/race"
)

// A press kills the owner in the midst of a race, again and again: the next owner goes on
// under the next epoch, what the dead one had sent is refused, and every claim gets a
// ticket of its own.
func TestChaosTheOwnerIsKilledInTheMidstOfARace(t *testing.T) {
	beside(t, waiters)
	e := dev(t, "--regions", "fra,iad", "--store", "memory", "--rtt", "20ms")
	if _, _, err := claim(e.doors[1].url, "crash"); err != nil { // so that iad's host owns it, and its last write comes from there
		t.Fatal(err)
	}
	for press := 1; press <= 3; press++ {
		lines, _ := raced(t, e.doors[0].url, "crash", `{"crash":true}`)
		if press == 1 && !slices.ContainsFunc(lines, func(l raceLine) bool { return l.What == "refused" && strings.HasPrefix(l.Host, "iad-") }) {
			t.Error("the last write of iad's host was not refused")
		}
		tickets, epochs, whats := map[int]bool{}, map[uint64]int{}, ""
		for _, l := range lines {
			switch {
			case l.Type == "fault":
				whats += l.What + " "
			case l.Type == "attempt" && l.Counter == "object":
				if l.Outcome != race.OK {
					t.Errorf("press %d: a claim is %s: %s", press, l.Outcome, l.Error)
				}
				tickets[l.Ticket] = true
				epochs[l.Epoch]++
			}
		}
		if len(tickets) != 15 || len(epochs) < 2 { // a machine that stalls may lose the next owner, too
			t.Errorf("press %d: %d different tickets in epochs %v, want 15 in two or more", press, len(tickets), epochs)
		}
		if !strings.HasPrefix(whats, "killed refused ") || !strings.HasSuffix(whats, "replaced ") {
			t.Errorf("press %d: the run tells of %q", press, whats)
		}
	}
	if _, _, body := request(t, "GET", e.doors[1].url+"/ticket/crash", ""); body != `{"ticket":46}` {
		t.Errorf("after three presses the counter stands at %s", body)
	}
}

// A region that is cut off gives no answer while the cut lasts, and answers after it.
func TestChaosACutRegionComesBack(t *testing.T) {
	beside(t, waiters)
	e := dev(t, "--regions", "fra,iad", "--store", "memory", "--rtt", "10ms")
	if _, _, err := claim(e.doors[1].url, "cut"); err != nil {
		t.Fatal(err)
	}
	if status, _, body := request(t, "POST", e.doors[0].url+"/cut/iad", ""); status != http.StatusOK {
		t.Fatalf("cut: %d %s", status, body)
	}
	for want := 2; want <= 3; want++ { // iad's host owned it: fra waits for the lease, iad for the cut
		n, _, err := claim(e.doors[3-want].url, "cut")
		if err != nil || n != want {
			t.Errorf("claim through %s = %d, %v, want %d", e.banner.Regions[3-want].Region, n, err, want)
		}
	}
	for path, want := range map[string]int{"/cut/mars": http.StatusNotFound, "/cut/%20": http.StatusNotFound} {
		if status, _, body := request(t, "POST", e.doors[0].url+path, ""); status != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

// Faults can be caused only where everything is in one process.
func TestNothingCanBeBrokenOutsideOfDev(t *testing.T) {
	beside(t, waiters)
	on := single(t)
	on.startHost(t, "host-1", "fra", steady, nil)
	door := on.startDoors(t, "fra")[0]
	if status, _, _ := request(t, "POST", door.url+"/race/a", `{"crash":true}`); status != http.StatusNotFound {
		t.Errorf("crash: %d, want 404", status)
	}
	if status, _, _ := request(t, "POST", door.url+"/cut/fra", ""); status != http.StatusNotFound {
		t.Errorf("cut: %d, want 404", status)
	}
	if status, _, _ := request(t, "POST", door.url+"/room/a/crowd", ""); status != http.StatusNotFound {
		t.Errorf("crowd: %d, want 404", status)
	}
	if _, _, body := request(t, "GET", door.url+"/config.json", ""); !strings.Contains(body, `"faults":false`) {
		t.Errorf("the page is told %s", body)
	}
}

// The page shows the death: the pause, the next epoch, the refused write, fifteen tickets.
func TestBrowserCrashesTheOwner(t *testing.T) {
	beside(t, browsers)
	e := dev(t, "--regions", "fra,iad", "--store", "memory")
	page := openTab(t, startBrowser(t), strings.Replace(e.doors[0].url, "localhost", "127.0.0.1", 1))
	page.live()
	page.until("the button is there", `!document.querySelector("#crash").hidden`)
	if n := page.count("#tour li"); n != 7 {
		t.Errorf("the tour has %d steps where an owner can be killed", n)
	}
	if slices.Contains(page.toured(), "crash") {
		t.Error("the tour knows of a death before there was one")
	}
	page.click("#crash")
	page.until("the run is over and replayed", `
		document.querySelector("#race").ariaBusy === "false" && document.querySelector("#verdict").dataset.tone === "good"`)
	if got := fmt.Sprint(page.chips("#col-object")); got != fifteen {
		t.Errorf("the object's tickets are %s", got)
	}
	verdict := page.text("#verdict .main")
	for _, part := range []string{" was killed after 5 tickets.", "took over as epoch ", "had still sent", "refused."} {
		if !strings.Contains(verdict, part) {
			t.Errorf("the verdict is %q, without %q", verdict, part)
		}
	}
	drawn := eval[[]string](page, `[...document.querySelectorAll("#col-object .outage text")].map((el) => el.textContent)`)
	lanes := strings.Join(drawn, ", ")
	for _, part := range []string{"owner killed, epoch ", ", → epoch ", "late write of epoch "} {
		if !strings.Contains(lanes, part) {
			t.Errorf("the lanes say %q, without %q", lanes, part)
		}
	}
	if wide := eval[float64](page, `document.querySelector("#col-object .outage rect").getBoundingClientRect().width`); wide < 40 {
		t.Errorf("the pause is %g px wide", wide)
	}
	page.until("the tour knows", `document.querySelector("#tour [data-step=crash]").dataset.done === "true"`)
	if learnt := page.text("#tour [data-step=crash] .what"); !strings.HasPrefix(learnt, "The next owner went on under the next epoch") {
		t.Errorf("of the death the tour says %q", learnt)
	}
	page.shootElement("#race", "page-crash.png")

	page.click("#tour summary")
	page.click("#tour-again")
	page.stress()
	if got := page.toured(); !slices.Contains(got, "lose") || slices.Contains(got, "crash") {
		t.Errorf("a race in which nobody died ticked %v, want lose and not crash", got)
	}
}
