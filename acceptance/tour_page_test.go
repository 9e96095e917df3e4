package acceptance

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// toured returns the steps of the tour that the page has ticked.
func (tab *tab) toured() []string {
	tab.t.Helper()
	return eval[[]string](tab, `[...document.querySelectorAll("#tour li[data-done=true]")].map((li) => li.dataset.step)`)
}

// Each step of the tour is ticked by what happens, and by nothing else; what cannot
// happen here is no step.
func TestBrowserTourTicksWhatHasHappened(t *testing.T) {
	beside(t, browsers)
	page, _ := racePage(t, media(atOnce, "reduce"))
	page.until("the tour is there", `!document.querySelector("#tour").hidden`)
	if n := page.count("#tour li"); n != 6 { // nothing can be killed here
		t.Errorf("the tour has %d steps", n)
	}
	ticked := func(steps ...string) {
		t.Helper()
		got := slices.DeleteFunc(page.toured(), func(step string) bool { return step == "sleep" }) // the room sleeps when it likes
		if fmt.Sprint(got) != fmt.Sprint(steps) {
			t.Errorf("ticked are %v, want %v", got, steps)
		}
	}
	ticked()
	page.stress()
	ticked("lose")
	page.click("#col-kv .switch")
	page.until("compare-and-set is seen", `document.querySelector("[data-step=cas]").dataset.done === "true"`)
	page.click("#col-kv .switch")

	other := openTab(t, startBrowser(t), regionOf(page, "syd"))
	other.live()
	page.until("two are here", `document.querySelector("#headcount").textContent === "2"`)
	other.point(500, 500)
	page.until("the other is seen to move", `document.querySelector("[data-step=meet]").dataset.done === "true"`)
	ticked("meet", "lose", "cas", "ocean")

	// From there the page draws the way to the owner, and says it.
	other.until("the way is drawn", `document.querySelector("#distances .way") && document.querySelector("#distances .owner").textContent.includes("room")`)
	if said := other.text("#distances-words"); !strings.HasPrefix(said, "You come in through syd. fra is ") || !strings.HasSuffix(said, " The room is owned in fra.") {
		t.Errorf("of the distances it says %q", said)
	}

	page.click("#options-toggle")
	eval[any](page, `(() => {
		for (const [id, value] of [["gap", 0], ["spread", 800], ["ttl", 30]]) {
			const el = document.getElementById(id);
			el.value = value;
			el.dispatchEvent(new Event("input", { bubbles: true }));
		}
	})()`)
	page.click(`[name=from][value="syd"]`)
	page.stress()
	ticked("meet", "lose", "cas", "ocean", "stale")
	if said := page.text("#tour-spoken"); said != "Step done. A region sold again what it had read long before." && !slices.Contains(page.toured(), "sleep") {
		t.Errorf("a listener hears %q", said)
	}
	page.click("#tour summary")
	page.shoot("page-tour.png")
	page.click("#tour-again")
	if got := page.toured(); len(got) != 0 {
		t.Errorf("after a start over ticked are %v", got)
	}
}

// regionOf returns the address under which a page offers another region.
func regionOf(tab *tab, region string) string {
	tab.t.Helper()
	tab.until(region+" is offered", `!document.querySelector("#regions").hidden`)
	links := eval[[][]string](tab, `[...document.querySelectorAll("#regions a")].map((a) => [a.querySelector("b").textContent, new URL(a.href).origin])`)
	i := slices.IndexFunc(links, func(l []string) bool { return l[0] == region })
	if i < 0 {
		tab.t.Fatalf("the page offers %v", links)
	}
	return links[i][1]
}
