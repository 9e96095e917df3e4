package acceptance

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"strings"
	"testing"

	"holdfast/gateway"
)

// playground returns the page of a dev run, which has everything.
func playground(t *testing.T) *tab {
	t.Helper()
	e := dev(t, "--regions", "fra,iad", "--store", "memory")
	page := openTab(t, startBrowser(t), strings.Replace(e.doors[0].url, "localhost", "127.0.0.1", 1))
	page.live()
	page.until("the owner was asked", `document.querySelector("#life").dataset.state === "awake"`)
	return page
}

// The room falls asleep with everybody in it, the process says what they cost, and a move wakes it.
func TestBrowserShowsTheRoomAsleepWithACrowdInIt(t *testing.T) {
	beside(t, browsers)
	page := playground(t)
	page.until("it says what woke the room", `document.querySelector("#life-why").textContent === "What woke it: somebody came in."`)
	eval[any](page, `void (document.querySelector("#fill").dataset.people = "150")`)
	page.click("#fill")
	page.until("they have come", `document.querySelector("#headcount").textContent === "151" && document.querySelector("#fill-says").textContent.includes("150 sockets came in")`)
	if said := page.text("#fill-says"); !strings.Contains(said, "is their other end, the clients', which is in this process too") || !strings.Contains(said, " each.") {
		t.Errorf("of what they cost it says %q", said)
	}
	if listed, more := page.count("#presence li[data-user]"), page.text("#presence .and-more"); listed > 101 || !strings.HasPrefix(more, "and ") {
		t.Errorf("%d people are listed, and %q", listed, more)
	}
	page.until("the room is asleep", `document.querySelector("#life").dataset.state === "asleep"`)
	page.until("nobody hears anything", `document.querySelector("#fill-rest").textContent.includes("all 150 together were sent no messages")`)
	if facts := page.text("#life-facts"); facts != "Constructed once by this owner. 151 sockets open." {
		t.Errorf("of the sleeping room it says %q", facts)
	}
	if spoken := page.text("#life-spoken"); spoken != "The room fell asleep." {
		t.Errorf("a listener hears %q", spoken)
	}
	page.shoot("page-asleep.png")

	page.point(500, 500)
	page.until("a move woke it", `document.querySelector("#life").dataset.state === "awake" && document.querySelector("#life-why").textContent === "What woke it: somebody moved."`)
	page.until("the tour knows", `document.querySelector("#tour [data-step=sleep]").dataset.done === "true"`)
	if facts := page.text("#life-facts"); facts != "Constructed 2 times by this owner. 151 sockets open." {
		t.Errorf("of the room that woke it says %q", facts)
	}
	page.click("#fill")
	page.until("they are gone", `document.querySelector("#headcount").textContent === "1"`)
}

// Four other objects, each with its purpose.
func TestBrowserPlaysWithFourOtherObjects(t *testing.T) {
	beside(t, browsers)
	page := playground(t)
	page.excuse("429")
	page.until("the panels are there", `[...document.querySelectorAll(".panel")].every((el) => el.checkVisibility())`)
	says := func(panel, what string) {
		t.Helper()
		page.until(panel+" says "+what, `document.querySelector("#panel-`+panel+` .says").textContent.includes(`+"`"+what+"`"+`)`)
	}
	press := func(panel string, button int) {
		t.Helper()
		eval[any](page, `void document.querySelectorAll("#panel-`+panel+` .buttons button")[`+string(rune('0'+button))+`].click()`)
	}

	press("leaderboard", 0)
	says("leaderboard", "your best, and rank 1.")
	page.until("the board has the player", `document.querySelector("#panel-leaderboard tr.mine th").textContent === document.querySelector("#presence .mine .who").textContent.replace(" (you)", "")`)

	for left := 4; left >= 0; left-- {
		press("limit", 0)
		page.until("the limit counts", `document.querySelectorAll("#panel-limit .pip:not(.used)").length === `+string(rune('0'+left)))
	}
	press("limit", 0)
	says("limit", "Refused: 429. Its alarm gives all five back in ")

	press("payment", 1)
	says("payment", "2 presses, one charge.")
	press("payment", 0)
	says("payment", "3 presses, one charge.")

	press("jobs", 1)
	says("jobs", "is in the queue")
	page.until("the first try fails", `document.querySelector("#panel-jobs .queue").textContent.includes("it stumbled; its timer rings in ")`)
	says("jobs", "All jobs are done.")
	page.until("the second does not", `document.querySelector("#panel-jobs .queue").textContent === "job 1: done after 2 tries"`)

	for _, class := range []string{"leaderboard", "limit", "payment", "jobs"} {
		page.until("the owner of "+class+" is named", `document.querySelector("#owners").textContent.includes("`+class+`/")`)
		if line := page.text("#panel-" + class + " .terminal code"); !strings.HasPrefix(line, "curl ") || !strings.Contains(line, page.home+"/"+class+"/") {
			t.Errorf("the curl line of %s is %q", class, line)
		}
		if code := page.text("#panel-" + class + " pre"); !strings.Contains(code, "\npackage "+class+"\n") {
			t.Errorf("as the source of %s is shown %.80q", class, code)
		}
	}
	page.axe()
	page.shootElement("#panels", "page-play.png")
}

// A gateway that joins later appears on the page by itself, with its city.
func TestBrowserShowsAGatewayThatJoinsLater(t *testing.T) {
	beside(t, browsers)
	on := single(t)
	on.startHost(t, "host-1", "fra", steady, nil)
	page := openTab(t, startBrowser(t), on.startDoors(t, "fra")[0].url)
	page.live()
	if hidden := eval[bool](page, `document.querySelector("#regions").hidden`); !hidden {
		t.Error("regions are offered where there is one")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	late := on.openDoor(t, "lhr", ln, []gateway.Peer{{Region: "lhr", City: "London", URL: "http://" + ln.Addr().String()}})
	page.until("London is offered", `document.querySelector("#gateways a")?.textContent === "lhrLondon" && document.querySelector("#gateways a").href === "`+late.url+`/"`)
	page.until("London is on the map", `[...document.querySelectorAll("#distances .city")].some((el) => el.textContent === "London")`)
	page.until("it says who owns what", `/room\/global-demo-room host-1, epoch \d/.test(document.querySelector("#owners").textContent) && document.querySelector("#distances .owner").textContent.includes("room")`)
}

// Asking for a room's state neither claims the room nor wakes it.
func TestALookAtARoomChangesNothing(t *testing.T) {
	beside(t, waiters)
	on := single(t)
	on.startHost(t, "host-1", "fra", steady, nil)
	doors := on.startDoors(t, "fra", "syd")
	for range 2 {
		if _, _, body := request(t, "GET", doors[1].url+"/room/a/life", ""); body != `{"owned":false}` {
			t.Errorf("a room that nobody has entered: %s", body)
		}
	}
	enter(t, doors[0], "a")
	var life struct {
		Owned, Awake bool
		Owner, Woken string
		Epoch, Ms    int
		Constructed  int
		Sockets      int
	}
	for range 2 {
		_, _, body := request(t, "GET", doors[1].url+"/room/a/life", "")
		if decode(t, body, &life); !life.Owned || !life.Awake || life.Owner != "host-1" || life.Woken != "fetch" || life.Epoch != 1 || life.Constructed != 1 || life.Sockets != 1 || life.Ms < 0 {
			t.Errorf("a room that one has entered: %s", body)
		}
	}
}

// A crowd is at most two thousand, and the only one.
func TestACrowdIsBounded(t *testing.T) {
	beside(t, waiters)
	e := dev(t, "--regions", "fra", "--store", "memory")
	for _, body := range []string{`{"people":0}`, `{"people":2001}`, `{"people":-1}`, `{"people":"many"}`, `[`} {
		if status, _, answer := request(t, "POST", e.doors[0].url+"/room/a/crowd", body); status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", body, status, answer)
		}
	}
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	req, err := http.NewRequestWithContext(ctx, "POST", e.doors[0].url+"/room/a/crowd", strings.NewReader(`{"people":20}`))
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() && !strings.Contains(lines.Text(), `"resting","people":20`) {
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if status, _, answer := request(t, "POST", e.doors[0].url+"/room/b/crowd", ""); status != http.StatusConflict {
		t.Errorf("a second crowd: %d %s", status, answer)
	}
	leave()
	await(t, "the crowd is gone with whoever asked for it", func() bool {
		_, _, body := request(t, "GET", e.doors[0].url+"/room/a/life", "")
		return strings.Contains(body, `"sockets":0`)
	})
}
