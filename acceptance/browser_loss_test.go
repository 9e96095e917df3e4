package acceptance

import (
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"holdfast/chaos/proxy"
)

// unreachable is Chromium's error for a request whose gateway cannot be reached.
const unreachable = "net::ERR_"

// A gateway restarts: the page says so, and comes back by itself as the same person.
func TestBrowserSurvivesGatewayRestart(t *testing.T) {
	beside(t, browsers)
	on := single(t)
	on.startHost(t, "host-1", "fra", steady, nil)
	doors := on.startDoors(t, "fra", "syd")
	browser := startBrowser(t)
	a, b := openTab(t, browser, doors[0].url), openTab(t, browser, doors[1].url)
	a.excuse(unreachable)
	a.live()
	b.live()
	b.until("two are here", `document.querySelector("#headcount").textContent === "2"`)
	b.point(300, 500)
	a.sees(b.name(), 300, 500)
	const other = `document.querySelector("#presence li[data-user]:not(.mine)").dataset.user`
	name, user := a.name(), eval[string](b, other)

	doors[0].stop()
	a.until("the page reconnects", `document.querySelector("#pill").dataset.state === "reconnecting"`)
	a.until("the loss is told of, and a retry offered", `
		getComputedStyle(document.querySelector("#toast")).opacity === "1" && !document.querySelector("#pill button").hidden`)
	if live := eval[string](a, `document.querySelector("#stage").dataset.live`); live != "false" {
		t.Errorf("the stage says it is live: %s", live)
	}
	a.shoot("page-reconnecting.png")

	on.reopen(t, "fra", doors[0])
	a.live()
	a.until("the toast is gone", `document.querySelector("#toast").dataset.shown === "false"`)
	if back, seen := a.name(), eval[string](b, other); back != name || seen != user || a.text("#headcount") != "2" || b.text("#headcount") != "2" {
		t.Errorf("%s came back as %s, whom the other knows as %s, and not %s", name, back, seen, user)
	}
	if states := eval[[]string](a, "seen.pills"); slices.Contains(states, "refused") {
		t.Errorf("the pill went through %v", states)
	}
	a.point(300, 400)
	b.sees(a.name(), 300, 400)
	b.point(600, 500)
	a.sees(b.name(), 600, 500)
}

// The network goes away and comes back: the room comes back by itself.
func TestBrowserSurvivesNetworkLoss(t *testing.T) {
	beside(t, browsers)
	on := single(t)
	on.startHost(t, "host-1", "fra", steady, nil)
	doors := on.startDoors(t, "fra", "syd")
	browser := startBrowser(t)
	a, b := openTab(t, browser, doors[0].url), openTab(t, browser, doors[1].url)
	a.excuse(unreachable)
	a.live()
	b.live()

	a.do(online(false)...)
	a.until("the pill says offline", `document.querySelector("#pill").dataset.state === "offline"`)
	a.shoot("page-offline.png")
	if spoken := a.text("#pill-spoken"); spoken != "You are offline." {
		t.Errorf("a listener hears %q", spoken)
	}
	a.do(online(true)...)
	a.live()
	a.until("two are here", `document.querySelector("#headcount").textContent === "2"`)
	b.until("two are there, too", `document.querySelector("#headcount").textContent === "2"`)
	a.point(300, 400)
	b.sees(a.name(), 300, 400)
}

// A laptop sleeps, and its connection dies without a word: the page notices when it wakes, and is back as the same person.
func TestBrowserNoticesADeadLineAfterASleep(t *testing.T) {
	beside(t, browsers)
	on := single(t)
	on.startHost(t, "host-1", "fra", steady, nil)
	doors := on.startDoors(t, "fra")
	line, err := proxy.Listen(strings.TrimPrefix(doors[0].url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(line.Close)
	a := openTab(t, startBrowser(t), "http://"+line.Addr())
	a.excuse(unreachable)
	a.live()
	name, connections := a.name(), line.Stats().Accepted

	line.Set(proxy.Cut)
	a.until("the owner is silent", `document.querySelector("#pill").dataset.state === "moving"`)
	eval[any](a, `void dispatchEvent(new Event("online"))`) // as the system says it on waking
	a.until("it has noticed", `seen.pills.includes("reconnecting")`)
	line.Set(proxy.Open)
	a.live()
	if a.name() != name || a.text("#headcount") != "1" || line.Stats().Accepted == connections {
		t.Errorf("%s came back as %s, one of %s", name, a.name(), a.text("#headcount"))
	}
}

// online takes the network from the page, or gives it back.
func online(yes bool) []chromedp.Action[chromedp.Void] {
	rule := network.EmulateNetworkConditionsByRuleParams{
		MatchedNetworkConditions: []*network.Conditions{{Offline: !yes, DownloadThroughput: -1, UploadThroughput: -1}},
	}
	return []chromedp.Action[chromedp.Void]{
		call(network.EmulateNetworkConditionsByRule.Method, struct {
			network.EmulateNetworkConditionsByRuleParams
			Offline bool `json:"offline"` // where Chromium 148 wants it, and later ones do not
		}{rule, !yes}),
		call(network.OverrideNetworkState.Method, network.OverrideNetworkStateParams{Offline: !yes, DownloadThroughput: -1, UploadThroughput: -1}),
	}
}

// The owner is lost while the page is open: the page says that it moved, and goes on.
func TestBrowserSeesTheOwnerMove(t *testing.T) {
	beside(t, browsers)
	on := single(t)
	lost := on.startHost(t, "host-1", "fra", quick, nil)
	doors := on.startDoors(t, "fra", "syd")
	browser := startBrowser(t)
	a, b := openTab(t, browser, doors[0].url), openTab(t, browser, doors[1].url)
	a.live()
	b.live()
	a.until("two are here", `document.querySelector("#headcount").textContent === "2"`)
	if pill := a.text("#pill"); !strings.Contains(pill, " · host-1") {
		t.Fatalf("the pill says %q", pill)
	}
	on.startHost(t, "host-2", "iad", steady, nil)
	lost.cut()

	for _, tab := range []*tab{a, b} {
		tab.until("the pill says that the owner moved", `[...seen.told].some((said) => /^Owner moved… epoch \d+ → \d+$/.test(said)) && seen.pills.includes("moving")`)
		tab.until("the pill is back, under the new owner", `
			["live", "forwarding"].includes(document.querySelector("#pill").dataset.state) &&
			/epoch \d+ · host-2/.test(document.querySelector("#pill").textContent)`)
		tab.until("two are here", `document.querySelector("#headcount").textContent === "2"`)
	}
	a.until("the pill in fra tells of both regions", `document.querySelector(".pill-text").textContent.includes("fra → iad")`)
	if owner := a.text("#room-owner"); !strings.HasPrefix(owner, "Owned by host-2, epoch ") || !strings.HasSuffix(owner, ". You come in through fra.") {
		t.Errorf("under the stage it says %q", owner)
	}
	a.point(300, 400)
	b.sees(a.name(), 300, 400)
}
