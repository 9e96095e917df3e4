package acceptance

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"holdfast/examples/room"
	"holdfast/examples/ticket"
	"holdfast/kvfoil"
)

// racePage returns a page ready to race.
func racePage(t *testing.T, before ...chromedp.Action[chromedp.Void]) (*tab, *door) {
	t.Helper()
	on := single(t)
	on.startHost(t, "host-1", "fra", steady, nil)
	doors := on.startDoors(t, "fra", "syd")
	page := openTab(t, startBrowser(t), doors[0].url, before...)
	page.live()
	page.until("the counters are known", `document.querySelector("#col-object .number").textContent === "0"`)
	return page, doors[0]
}

// stress presses the button and waits until the replay is over.
func (tab *tab) stress() {
	tab.t.Helper()
	tab.race("#stress")
}

// race presses a button that races and waits until the replay is over.
func (tab *tab) race(button string) {
	tab.t.Helper()
	tab.click(button)
	tab.until("a run is over and replayed", `
		document.querySelector("#race").ariaBusy === "false" && document.querySelector("#playback:not([hidden])") &&
		document.querySelector("#scrub").value === "1000" && document.querySelector("#play").dataset.playing === "false"`)
}

// chips returns the tickets that a column shows, in order.
func (tab *tab) chips(column string) []string {
	tab.t.Helper()
	return eval[[]string](tab, fmt.Sprintf(`[...document.querySelectorAll("%s .chip:not(.empty)")].map((c) => c.textContent)`, column))
}

func (tab *tab) count(selector string) int {
	tab.t.Helper()
	return eval[int](tab, fmt.Sprintf("document.querySelectorAll(%q).length", selector))
}

var fifteen = "[1 2 3 4 5 6 7 8 9 10 11 12 13 14 15]"

// Fifteen at once: the object hands out fifteen tickets, plain KV the same one to many.
func TestBrowserRace(t *testing.T) {
	beside(t, browsers)
	page, door := racePage(t)
	page.stress()

	if got := fmt.Sprint(page.chips("#col-object")); got != fifteen {
		t.Errorf("the object's tickets are %s", got)
	}
	if dups := page.count("#col-object .chip.dup"); dups != 0 {
		t.Errorf("the object's column marks %d duplicates", dups)
	}
	if got := len(page.chips("#col-kv")); got != 15 {
		t.Errorf("KV shows %d tickets", got)
	}
	if page.count("#col-kv .chip.dup") < 2 || page.count("#col-kv .badge") < 1 {
		t.Errorf("KV's duplicates are not marked: %v", page.chips("#col-kv"))
	}
	verdict := page.text("#verdict .main")
	if !strings.HasPrefix(verdict, "KV handed ") || !strings.Contains(verdict, "15 increments were lost.") {
		t.Errorf("the verdict is %q", verdict)
	}
	if object := page.text("#verdict .more"); !strings.Contains(object, "15 different tickets, each to one person.") {
		t.Errorf("of the object the verdict says %q", object)
	}
	if n := page.text("#col-object .number"); n != "15" {
		t.Errorf("the object is said to stand at %s", n)
	}
	if _, _, body := request(t, "GET", door.url+"/ticket/global", ""); body != `{"ticket":15}` {
		t.Errorf("the object stands at %s", body)
	}

	// The same as a table.
	for _, column := range []string{"#col-object", "#col-kv"} {
		page.click(column + " details summary")
		page.until("the table is shown", fmt.Sprintf(`document.querySelector("%s .as-table table")?.checkVisibility()`, column))
		if rows := page.count(column + " .as-table tbody tr"); rows != 15 {
			t.Errorf("the table of %s has %d rows", column, rows)
		}
	}

	// And the code that ran, beside what is said of it.
	for name, code := range map[string]string{"object": ticket.Source, "room": room.Source, "naive": kvfoil.Source("naive"), "cas": kvfoil.Source("cas")} {
		if shown := eval[string](page, fmt.Sprintf(`document.querySelector("pre[data-source=%s]").textContent`, name)); shown != code || code == "" {
			t.Errorf("as the source of %s is shown:\n%s", name, shown)
		}
	}
	for _, column := range []string{"#col-object", "#col-kv"} {
		if lead := eval[bool](page, fmt.Sprintf(`!!document.querySelector(document.querySelector("%s .why").hash + " pre").checkVisibility()`, column)); !lead {
			t.Errorf("%s does not lead to its code", column)
		}
	}

	// Compare-and-set is right too, and shows what it costs.
	page.click("#col-kv .switch")
	page.until("the other counter is shown", `document.querySelector("#col-kv .stats").textContent.includes("attempts")`)
	if got := fmt.Sprint(page.chips("#col-kv")); got != fifteen {
		t.Errorf("compare-and-set's tickets are %s", got)
	}
	if verdict := page.text("#verdict .main"); !strings.Contains(verdict, "extra attempt") {
		t.Errorf("the verdict on compare-and-set is %q", verdict)
	}
	page.shootElement("#race", "page-cas.png")
}

// The race can be fired by the browser too, which sees less of it.
func TestBrowserFiresItself(t *testing.T) {
	beside(t, browsers)
	page, door := racePage(t, media(atOnce, "reduce"))
	page.click("#options-toggle")
	page.click(`.fired input[value="browser"]`)
	page.stress()
	if got := fmt.Sprint(page.chips("#col-object")); got != fifteen {
		t.Errorf("the object's tickets are %s", got)
	}
	if got := len(page.chips("#col-kv")); got != 15 {
		t.Errorf("KV shows %d tickets", got)
	}
	for _, column := range []string{"#col-object", "#col-kv"} {
		if stats := page.text(column + " .stats"); !strings.HasPrefix(stats, "15 asked") {
			t.Errorf("%s says %q", column, stats)
		}
	}
	if _, _, body := request(t, "GET", door.url+"/ticket/global", ""); body != `{"ticket":15}` {
		t.Errorf("the object stands at %s", body)
	}
}

// One claim counts one, and a reset asks first.
func TestBrowserClaimAndReset(t *testing.T) {
	beside(t, browsers)
	page, _ := racePage(t, media(atOnce, "reduce"))
	stand := func(n int) {
		t.Helper()
		for _, column := range []string{"#col-object", "#col-kv"} {
			page.until(fmt.Sprintf("%s stands at %d", column, n), fmt.Sprintf(`document.querySelector("%s .number").textContent === "%d"`, column, n))
		}
	}
	for n := 1; n <= 3; n++ {
		page.click("#claim-one")
		stand(n)
	}
	if got := fmt.Sprint(page.chips("#col-object")); got != "[1 2 3]" {
		t.Errorf("the object's tickets are %s", got)
	}
	if said := page.text("#claim-spoken"); said != "The object gave ticket 3. KV gave ticket 3." {
		t.Errorf("a listener hears %q", said)
	}
	if foot := page.text("#col-object .foot"); !strings.HasPrefix(foot, "Owned by host-1") {
		t.Errorf("the owner is said to be %q", foot)
	}

	page.click("#reset")
	page.until("the question is asked", `document.querySelector("#reset-dialog").open`)
	page.shoot("page-reset.png")
	page.click(`#reset-dialog button[value="cancel"]`)
	page.until("the question is gone", `!document.querySelector("#reset-dialog").open`)
	stand(3)
	page.click("#reset")
	page.until("the question is asked again", `document.querySelector("#reset-dialog").open`)
	page.click("#reset-confirm")
	stand(0)
	page.until("the verdict says so", `document.querySelector("#verdict .main").textContent === "All counters are back at 0."`)
	page.click("#claim-one")
	stand(1)
}

// With reduced motion nothing is played: the last picture is there at once.
func TestBrowserReducedMotion(t *testing.T) {
	beside(t, browsers)
	on := single(t)
	on.startHost(t, "host-1", "fra", steady, nil)
	doors := on.startDoors(t, "fra", "syd")
	browser := startBrowser(t)
	page := openTab(t, browser, doors[0].url, media(atOnce, "reduce"))
	page.live()
	page.click("#stress")
	page.until("the verdict is there", `document.querySelector("#verdict").dataset.tone === "bad"`)
	if at := eval[string](page, `document.querySelector("#scrub").value`); at != "1000" {
		t.Errorf("the picture stands at %s of 1000", at)
	}
	if got := fmt.Sprint(page.chips("#col-object")); got != fifteen {
		t.Errorf("the object's tickets are %s", got)
	}
	if eval[bool](page, "seen.played") {
		t.Error("the run was played")
	}

	// Another's cursor is drawn where it is, without a glide.
	other := openTab(t, browser, doors[1].url)
	other.live()
	page.until("two are here", `document.querySelector("#headcount").textContent === "2"`)
	name := other.name()
	other.point(200, 200)
	page.sees(name, 200, 200)
	other.point(300, 300)
	page.sees(name, 300, 300)
	if moving := eval[string](page, `document.querySelector(".cursor").style.willChange`); moving != "auto" {
		t.Errorf("the cursor is in motion: will-change is %s", moving)
	}
}

// One press is all that it takes, and it leaves the options as they are.
func TestBrowserSellsATicketTwiceByAStaleRead(t *testing.T) {
	beside(t, browsers)
	page, _ := racePage(t)
	page.until("both regions can fire", `document.querySelectorAll("[name=from]").length === 2`)
	page.click("#stale")
	page.until("it says what it does", `document.querySelector("#verdict .main").textContent.startsWith("Racing without a gap over 0.8 s, from fra and syd.")`)
	page.until("the run is replayed", `document.querySelector("#scrub").value === "1000" && document.querySelector("#verdict").dataset.tone === "bad"`)
	verdict := page.text("#verdict .main")
	for _, want := range []string{"KV handed ticket #", " people. ", "increments were lost", "read from the cache of their region"} {
		if !strings.Contains(verdict, want) {
			t.Errorf("the verdict %q lacks %q", verdict, want)
		}
	}
	if now := page.text("#options-now"); now != "gap 20 ms" {
		t.Errorf("the options say %q", now)
	}
	if !slices.Contains(page.toured(), "stale") {
		t.Errorf("the tour has seen %v", page.toured())
	}
}

// Fired from two regions, through their caches; and the same events again, by a link.
func TestBrowserRacesFromSeveralRegionsAndShowsItAgain(t *testing.T) {
	beside(t, browsers)
	page, door := racePage(t, media(atOnce, "reduce"))
	page.click("#options-toggle")
	page.until("both regions can fire", `document.querySelectorAll("[name=from]").length === 2`)
	page.click(`[name=from][value="syd"]`)
	set := func(id, value string) {
		eval[any](page, fmt.Sprintf(`(() => { const el = document.querySelector(%q); el.value = %q; el.dispatchEvent(new Event("input", { bubbles: true })); })()`, "#"+id, value))
	}
	set("gap", "0")
	set("spread", "800")
	set("ttl", "30")
	if now := page.text("#options-now"); now != "gap 0 ms, over 800 ms, KV cache 30 s, from fra, syd" {
		t.Errorf("the options say %q", now)
	}
	page.shoot("page-options.png")
	page.stress()
	if verdict := page.text("#verdict"); !strings.Contains(verdict, "read from the cache of their region") {
		t.Errorf("the verdict is %q", verdict)
	}
	labels := eval[[]string](page, `[...document.querySelectorAll("#col-kv .row-label")].map((l) => l.textContent.split(" ")[0])`)
	if n := strings.Count(fmt.Sprint(labels), "syd"); n != 7 {
		t.Errorf("syd fired %d of 15: %v", n, labels)
	}
	if page.count("#col-kv .mark.cached") < 5 {
		t.Errorf("only %d reads are marked as cached", page.count("#col-kv .mark.cached"))
	}
	page.shootElement("#race", "page-regions.png")

	sentence, chips := page.text("#verdict .main"), page.chips("#col-kv")
	page.click("#run-link")
	page.until("the link leads to the run", `location.search.startsWith("?run=")`)
	page.live()
	page.until("the run is shown again", fmt.Sprintf(`document.querySelector("#verdict .main").textContent.trim() === %q`, sentence))
	if again := page.chips("#col-kv"); fmt.Sprint(again) != fmt.Sprint(chips) {
		t.Errorf("again the tickets are %v, not %v", again, chips)
	}
	if n := page.text("#col-object .number"); n != "15" {
		t.Errorf("again the object stands at %s", n)
	}
	if _, _, body := request(t, "GET", door.url+"/ticket/global", ""); body != `{"ticket":15}` {
		t.Errorf("to look at a run changed the counter: %s", body)
	}

	// One write a second: the others are told 429, and none is called lost.
	page.click("#options-toggle")
	page.until("the options are there", `!document.querySelector("#options").hidden`)
	set("spread", "0")
	page.click("#limit")
	page.stress()
	if stats := page.text("#col-kv .stats"); !strings.Contains(stats, "14 not executed (14 × 429)") || strings.Contains(stats, "lost") {
		t.Errorf("KV's column says %q", stats)
	}
}
