package acceptance

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"holdfast/examples/demo"
	"holdfast/gateway"
)

// pageTime is how long a page may take for anything, on a machine that does much else.
const pageTime = 60 * time.Second

// browser is the one Chromium of all tests: its start takes longer than most of them. Tabs have profiles of their own.
var browser struct {
	mu    sync.Mutex
	ctx   context.Context // nil: not started
	close []context.CancelFunc
}

// startBrowser returns the Chromium that all tests share. It can reach nothing but this machine. The first caller starts it,
// closeBrowser ends it.
func startBrowser(t testing.TB) context.Context {
	t.Helper()
	path := chromium(t)
	browser.mu.Lock()
	defer browser.mu.Unlock()
	if browser.ctx != nil {
		return browser.ctx
	}
	alloc, cancel := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.NoSandbox, // CI runs as root
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		// Besides chromedp's own: pages behind the address bar, which nobody sees. Each window would start a process that takes a
		// second to load them. And a process that waits for a page which may come.
		chromedp.Flag("disable-features", "Translate,BlinkGenPropertyTrees,WebUIOmniboxPopup,WebUIOmniboxAimPopup,WebUIOmniboxFullPopup,SpareRendererForSitePerProcess"),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
	)...)
	ctx, cancelBrowser := chromedp.NewContext(alloc)
	if err := chromedp.Do(ctx); err != nil {
		cancelBrowser()
		cancel()
		t.Fatalf("start the browser: %v", err)
	}
	browser.ctx, browser.close = ctx, []context.CancelFunc{cancelBrowser, cancel}
	return ctx
}

// closeBrowser ends the Chromium of all tests, if there is one.
func closeBrowser() {
	browser.mu.Lock()
	defer browser.mu.Unlock()
	for _, cancel := range browser.close {
		cancel()
	}
	browser.ctx, browser.close = nil, nil
}

func chromium(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"} { // the first has no windows to draw
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	missing(t, "a browser", "apt-get install chromium")
	return ""
}

// tab is a page that somebody has open, in a window of its own.
type tab struct {
	t     testing.TB
	ctx   context.Context
	home  string   // the page's origin, as "http://127.0.0.1:8787"
	also  []string // other origins that the page may ask
	close func()   // as a person closes it

	mu       sync.Mutex // guards what follows
	faults   []string   // exceptions, and errors on the console
	requests []string   // what the page asked for, by URL
	excused  []string   // what a fault may hold and be none
}

// openTab opens the page. When the test ends the tab must have met no fault, and must
// have asked nobody but its own gateway for anything.
func openTab(t testing.TB, browser context.Context, url string, before ...chromedp.Action[chromedp.Void]) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext(), chromedp.WithNewWindow(true))
	tab := &tab{t: t, ctx: ctx, home: url, close: cancel}
	t.Cleanup(func() {
		tab.blameless()
		cancel()
	})
	if err := chromedp.Listen(ctx, tab.hear); err != nil {
		t.Fatalf("open a tab: %v", err)
	}
	tab.do(
		call(network.Enable.Method, network.EnableParams{}),
		call(emulation.SetFocusEmulationEnabled.Method, emulation.SetFocusEmulationEnabledParams{Enabled: true}),
		chromedp.EmulateViewport(1440, 900),
		call(page.AddScriptToEvaluateOnNewDocument.Method, page.AddScriptToEvaluateOnNewDocumentParams{Source: witness}),
	)
	tab.do(before...)
	tab.do(chromedp.Navigate(url + "/"))
	return tab
}

// witness notes short-lived states for tests: texts of the pill, transitions, and ripples.
const witness = `
	window.seen = { pills: [], told: new Set(), ripples: [], moved: [], played: false };
	addEventListener("transitionrun", (e) => seen.moved.push("#" + e.target.id + " " + e.propertyName));
	addEventListener("DOMContentLoaded", () => {
		const pill = document.querySelector("#pill");
		if (!pill) return; // another page
		const note = () => {
			if (seen.pills.at(-1) !== pill.dataset.state) seen.pills.push(pill.dataset.state);
			seen.told.add(pill.querySelector(".pill-text").textContent);
		};
		note();
		new MutationObserver(note).observe(pill, { attributes: true, childList: true, subtree: true });
		new MutationObserver((all) => {
			for (const m of all) for (const el of m.addedNodes) seen.ripples.push({ user: el.dataset.user, x: el.style.left, y: el.style.top });
		}).observe(document.querySelector("#ripples"), { childList: true });
		const play = document.querySelector("#play");
		new MutationObserver(() => { seen.played ||= play.dataset.playing === "true"; }).observe(play, { attributes: true });
	});`

// call returns a command to the browser whose answer does not matter.
func call(method string, params any) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		return target.Call(ctx, method, params, nil)
	})
}

// hear notes the browser's events about the page.
func (tab *tab) hear(event any) {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		fault := "exception: " + e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			fault += " " + e.ExceptionDetails.Exception.Description
		}
		tab.faults = append(tab.faults, fault)
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			tab.faults = append(tab.faults, fmt.Sprintf("console.%s: %s", e.Type, e.Args[0].Value))
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			tab.faults = append(tab.faults, e.Entry.Text+" "+e.Entry.URL)
		}
	case *network.EventRequestWillBeSent:
		if e.Request.URL != "about:blank" {
			tab.requests = append(tab.requests, e.Request.URL)
		}
	case *network.EventWebSocketCreated:
		tab.requests = append(tab.requests, e.URL)
	}
}

// excuse names errors that the browser may report, because the test causes them.
func (tab *tab) excuse(parts ...string) { tab.excused = append(tab.excused, parts...) }

func (tab *tab) blameless() {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	for _, fault := range tab.faults {
		if !slices.ContainsFunc(tab.excused, func(part string) bool { return strings.Contains(fault, part) }) {
			tab.t.Errorf("the page at %s met a fault: %s", tab.home, fault)
		}
	}
	for _, url := range tab.requests {
		asked := url
		if rest, socket := strings.CutPrefix(url, "ws"); socket {
			asked = "http" + rest
		}
		if !slices.ContainsFunc(append(tab.also, tab.home), func(origin string) bool { return strings.HasPrefix(asked, origin+"/") }) {
			tab.t.Errorf("the page at %s asked somebody else: %s", tab.home, url)
		}
	}
	if len(tab.requests) == 0 {
		tab.t.Errorf("no request of the page at %s was seen", tab.home)
	}
}

// do acts on the page.
func (tab *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	tab.t.Helper()
	if err := tab.try(steps...); err != nil {
		tab.t.Fatal(err)
	}
}

func (tab *tab) try(steps ...chromedp.Action[chromedp.Void]) error {
	ctx, cancel := context.WithTimeout(tab.ctx, pageTime)
	defer cancel()
	return chromedp.Do(ctx, steps...)
}

// eval returns the value of an expression on the page.
func eval[T any](tab *tab, expression string) T {
	tab.t.Helper()
	v, err := tryEval[T](tab, expression)
	if err != nil {
		tab.t.Fatalf("evaluate %s: %v", expression, err)
	}
	return v
}

func tryEval[T any](tab *tab, expression string) (T, error) {
	ctx, cancel := context.WithTimeout(tab.ctx, pageTime)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[T](expression))
}

// until waits for an expression to be true. The page itself looks, as to be asked costs a page more than to look. What throws is
// not so yet.
func (tab *tab) until(what, expression string) {
	tab.t.Helper()
	deadline := time.Now().Add(pageTime)
	for {
		so, err := tab.watch(expression)
		if so {
			return
		}
		if time.Now().After(deadline) || tab.ctx.Err() != nil {
			tab.shoot("failed-" + strings.ReplaceAll(tab.t.Name(), "/", "-") + ".png")
			tab.t.Fatalf("not so after %v: %s (%v)\npill %q, seen %v\nverdict %q", pageTime, what, err,
				tab.text("#pill"), eval[[]string](tab, "seen.pills"), tab.text("#verdict"))
		}
		if err != nil { // the page is another one now, or none yet
			timer := time.NewTimer(30 * time.Millisecond)
			select {
			case <-timer.C:
			case <-tab.ctx.Done():
			}
			timer.Stop()
		}
	}
}

// watch reports whether an expression becomes true within a second. A page that is left may never answer.
func (tab *tab) watch(expression string) (bool, error) {
	ctx, cancel := context.WithTimeout(tab.ctx, 5*time.Second)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[bool](`new Promise((resolve) => {
		const end = performance.now() + 1000;
		const look = () => {
			let so = false;
			try { so = !!(`+expression+`); } catch {}
			if (so || performance.now() > end) resolve(so);
			else setTimeout(look, 30);
		};
		look();
	})`, chromedp.EvalAwaitPromise))
}

// text returns what an element says.
func (tab *tab) text(selector string) string {
	tab.t.Helper()
	return eval[string](tab, fmt.Sprintf("document.querySelector(%q).textContent.trim()", selector))
}

// live waits until the page is connected to the room.
func (tab *tab) live() {
	tab.t.Helper()
	tab.until("the pill says live", `["live", "forwarding"].includes(document.querySelector("#pill").dataset.state)`)
}

// name returns the name that the room has given this tab.
func (tab *tab) name() string {
	tab.t.Helper()
	tab.until("the room gave a name", `document.querySelector("#you-are").textContent`)
	return strings.TrimSuffix(strings.TrimPrefix(tab.text("#you-are"), "You are "), ".")
}

// click clicks, with a mouse.
func (tab *tab) click(selector string) {
	tab.t.Helper()
	tab.do(chromedp.Click(chromedp.CSS(selector)))
}

// point moves the mouse to a place on the stage, in thousandths of it.
func (tab *tab) point(x, y float64, then ...input.DispatchMouseEventType) {
	tab.t.Helper()
	at := eval[[2]float64](tab, fmt.Sprintf(`(() => {
		const box = document.querySelector("#stage").getBoundingClientRect();
		return [box.left + box.width * %g / 1000, box.top + box.height * %g / 1000];
	})()`, x, y))
	tab.do(chromedp.MouseEvent(input.DispatchMouseEventTypeMouseMoved, at[0], at[1]))
	if len(then) > 0 {
		tab.do(chromedp.MouseClickXY(at[0], at[1]))
	}
}

// sees waits until another's cursor is drawn on this tab's stage near a place, in
// thousandths of it.
func (tab *tab) sees(name string, x, y float64) {
	tab.t.Helper()
	tab.until(fmt.Sprintf("%s is at %g, %g", name, x, y), fmt.Sprintf(`(() => {
		const cursor = [...document.querySelectorAll(".cursor")].find((c) => c.textContent === %q && !c.hidden);
		if (!cursor) return false;
		const [stage, at] = [document.querySelector("#stage").getBoundingClientRect(), cursor.getBoundingClientRect()];
		return Math.hypot((at.left - stage.left) / stage.width * 1000 - %g, (at.top - stage.top) / stage.height * 1000 - %g) < 10;
	})()`, name, x, y))
}

// atOnce is for tests that are not about a replay: with reduced motion a race is over when its last picture is there. A replay
// takes three seconds, and a core.
const atOnce = "prefers-reduced-motion"

// media makes the system prefer something.
func media(features ...string) chromedp.Action[chromedp.Void] {
	var p emulation.SetEmulatedMediaParams
	for i := 0; i+1 < len(features); i += 2 {
		p.Features = append(p.Features, &emulation.MediaFeature{Name: features[i], Value: features[i+1]})
	}
	return call(emulation.SetEmulatedMedia.Method, p)
}

// shoot keeps a picture of the screen.
func (tab *tab) shoot(file string) {
	tab.t.Helper()
	ctx, cancel := context.WithTimeout(tab.ctx, pageTime)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		tab.t.Fatalf("take a picture: %v", err)
	}
	keep(tab.t, file, png)
}

// keep writes an artifact.
func keep(t testing.TB, file string, data []byte) {
	t.Helper()
	dir := os.Getenv("ARTIFACTS")
	if dir == "" {
		dir = filepath.Join("..", "artifacts")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, file), data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// startDoors starts a gateway in each region. Each tells its page of the others.
func (on *substrate) startDoors(t testing.TB, regions ...string) []*door {
	t.Helper()
	var listeners []net.Listener
	var peers []gateway.Peer
	for _, region := range regions {
		ln := listenToStay(t)
		listeners = append(listeners, ln)
		peers = append(peers, gateway.Peer{Region: region, URL: "http://" + ln.Addr().String()})
	}
	var doors []*door
	for i, ln := range listeners {
		doors = append(doors, on.openDoor(t, regions[i], ln, peers))
	}
	return doors
}

// reopen starts a gateway on the port of one that has stopped.
func (on *substrate) reopen(t testing.TB, region string, d *door) *door {
	t.Helper()
	return on.openDoor(t, region, listen(t, strings.TrimPrefix(d.url, "http://")), nil)
}

func (on *substrate) openDoor(t testing.TB, region string, ln net.Listener, peers []gateway.Peer) *door {
	t.Helper()
	nc := on.dial(t)
	g, err := gateway.New(gateway.Config{
		Region: region, NATS: nc, Nearby: on.near, Classes: []string{"ticket", "room"}, Worker: demo.Worker,
		Timing: steady, Log: testLog(t), Peers: peers,
	})
	if err != nil {
		t.Fatal(err)
	}
	d := &door{running(t, func(ctx context.Context) error { return g.Run(ctx, ln) }), g, "http://" + ln.Addr().String()}
	d.cut = nc.Close
	await(t, "the gateway is ready", func() bool {
		status, _, _, err := try("GET", d.url+"/readyz", "")
		return err == nil && status == http.StatusOK
	})
	return d
}
