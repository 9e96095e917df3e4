package acceptance

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/coder/websocket"
)

// Two people, each through a gateway in another region, meet in one room.
func TestBrowserTwoTabsSeeEachOther(t *testing.T) {
	beside(t, browsers)
	on := single(t)
	on.startHost(t, "host-1", "fra", steady, nil)
	doors := on.startDoors(t, "fra", "syd")
	browser := startBrowser(t)
	a, b := openTab(t, browser, doors[0].url), openTab(t, browser, doors[1].url)
	a.live()
	b.live()
	nameA, nameB := a.name(), b.name()
	if nameA == nameB {
		t.Errorf("both are called %s", nameA)
	}
	if moved := eval[[]string](a, "seen.moved"); len(moved) > 0 { // each frame of a transition costs the processor a whole picture
		t.Errorf("a page that opens moves %v", moved)
	}

	for _, who := range []struct {
		tab        *tab
		me, region string
		other      string
	}{{a, nameA, "fra", nameB}, {b, nameB, "syd", nameA}} {
		who.tab.until("two are here", `document.querySelector("#headcount").textContent === "2"`)
		list := eval[[]string](who.tab, `[...document.querySelectorAll("#presence .who")].map((li) => li.textContent)`)
		if want := fmt.Sprint([]string{who.me + " (you)", who.other}); fmt.Sprint(list) != want {
			t.Errorf("the list says %v, not %s", list, want)
		}
		where := eval[string](who.tab, `document.querySelector("#presence .mine .where").textContent`)
		if where != "in "+who.region {
			t.Errorf("%s is said to be %q, not in %s", who.me, where, who.region)
		}
		who.tab.until("the invitation is gone", `document.querySelector("#alone").hidden`)
	}
	b.until("the pill in syd tells of both regions", `
		document.querySelector("#pill").dataset.state === "forwarding" && document.querySelector("#pill").textContent.includes("syd → fra") &&
		/epoch \d+ · host-1/.test(document.querySelector("#pill").textContent)`)
	a.until("the pill in fra needs only one", `document.querySelector("#pill").dataset.state === "live"`)
	a.until("the other gateway is known", `!document.querySelector("#regions").hidden`)
	if links := eval[[]string](a, `[...document.querySelectorAll("#regions a")].map((a) => a.href)`); fmt.Sprint(links) != fmt.Sprint([]string{doors[1].url + "/"}) {
		t.Errorf("the page in fra offers %v", links)
	}

	a.point(250, 300)
	b.sees(nameA, 250, 300)
	b.point(700, 600)
	a.sees(nameB, 700, 600)
	a.point(400, 350, input.DispatchMouseEventTypeMousePressed)
	b.until("the ripple arrives", `seen.ripples.some((r) => Math.abs(parseFloat(r.x) - 40) < 1 && Math.abs(parseFloat(r.y) - 35) < 1)`)
	user := eval[string](b, `[...document.querySelectorAll("#presence li")].find((li) => !li.classList.contains("mine")).dataset.user`)
	if from := eval[string](b, `seen.ripples[0].user`); from != user {
		t.Errorf("the ripple came from %s, not from %s", from, user)
	}

	// Who leaves is gone from the list and from the stage, also when the browser keeps
	// the page to show it again; and is back with it.
	b.do(chromedp.Navigate("about:blank"))
	a.until("one is here", `document.querySelector("#headcount").textContent === "1" && !document.querySelector(".cursor")`)
	a.until("the invitation is back", `!document.querySelector("#alone").hidden`)
	eval[any](b, "void setTimeout(() => history.back())") // a kept page is not loaded: there is nothing to wait for
	b.live()
	a.until("two are here again", `document.querySelector("#headcount").textContent === "2"`)
	b.close()
	a.until("one is here again", `document.querySelector("#headcount").textContent === "1"`)
}

// Everything on the stage can be done from the keyboard.
func TestBrowserKeyboard(t *testing.T) {
	beside(t, browsers)
	on := single(t)
	on.startHost(t, "host-1", "fra", steady, nil)
	doors := on.startDoors(t, "fra", "syd")
	browser := startBrowser(t)
	a, b := openTab(t, browser, doors[0].url, media(atOnce, "reduce")), openTab(t, browser, doors[1].url)
	a.live()
	b.live()
	name := a.name()
	a.until("two are here", `document.querySelector("#headcount").textContent === "2"`)

	for range 12 {
		if eval[string](a, "document.activeElement.id") == "stage" {
			break
		}
		a.do(chromedp.KeyEvent(kb.Tab))
	}
	if id := eval[string](a, "document.activeElement.id"); id != "stage" {
		t.Fatalf("twelve tabs do not lead to the stage but to %q", id)
	}
	if outline := eval[string](a, `getComputedStyle(document.querySelector("#stage")).outlineStyle`); outline != "solid" {
		t.Errorf("the focus on the stage cannot be seen: outline is %s", outline)
	}
	scrolled := eval[float64](a, "scrollY")
	a.do(chromedp.KeyEvent(kb.ArrowRight))
	b.sees(name, 520, 500)
	a.do(chromedp.KeyEvent(kb.ArrowUp, chromedp.KeyModifiers(chromedp.ModifierShift)), chromedp.KeyEvent(kb.ArrowLeft))
	b.sees(name, 500, 400)
	a.do(space(input.DispatchKeyEventTypeKeyDown), space(input.DispatchKeyEventTypeKeyUp))
	b.until("the ripple arrives", `seen.ripples.some((r) => r.x === "50%" && r.y === "40%")`)
	a.do(chromedp.KeyEvent(kb.Escape))
	b.until("the cursor is away", `document.querySelector(".cursor").hidden`)
	if y := eval[float64](a, "scrollY"); y != scrolled {
		t.Errorf("the arrow keys scrolled the page by %g", y-scrolled)
	}

	// The race needs no mouse either, and whoever pressed the button stays there.
	for range 20 {
		if eval[string](a, "document.activeElement.id") == "stress" {
			break
		}
		a.do(chromedp.KeyEvent(kb.Tab))
	}
	a.do(chromedp.KeyEvent(kb.Enter))
	a.until("the verdict is there", `document.querySelector("#verdict").dataset.tone === "bad"`)
	if id := eval[string](a, "document.activeElement.id"); id != "stress" {
		t.Errorf("after the race the focus is on %q", id)
	}
}

// space returns half of a press of the space bar. chromedp.KeyEvent adds a character that a
// browser leaves out when the page has taken the key.
func space(half input.DispatchKeyEventType) chromedp.Action[chromedp.Void] {
	return call(input.DispatchKeyEvent.Method, input.DispatchKeyEventParams{Type: half, Key: " ", Code: "Space", Text: " ", WindowsVirtualKeyCode: 32})
}

// A person in the room can send any object to the others: none of it may pass for
// something that the room itself says.
func TestBrowserIsNotFooledByForgedFrames(t *testing.T) {
	beside(t, browsers)
	on := single(t)
	on.startHost(t, "host-1", "fra", steady, nil)
	doors := on.startDoors(t, "fra", "syd")
	a := openTab(t, startBrowser(t), doors[0].url)
	a.live()
	name := a.name()
	forger := enter(t, doors[1], "global-demo-room")
	a.until("two are here", `document.querySelector("#headcount").textContent === "2"`)

	for _, frame := range []string{
		`{"type":"hello","name":"evil-hello","color":"#000000","region":"evil","owner":"evil","epoch":99,"peers":[]}`,
		`{"type":"hello","Type":"relayed","name":"evil-hello","color":"#000000","region":"evil","owner":"evil","epoch":99,"peers":[]}`,
		`{"type":"owner","owner":"evil","ownerRegion":"evil","epoch":99}`,
		`{"type":"pong","t":0,"owner":"evil","ownerRegion":"evil","epoch":99}`,
		`{"type":"error","code":"internal","message":"evil"}`,
		`{"type":"join","name":"evil-join","color":"url(https://evil.invalid/x)","region":"evil"}`,
		`{"type":"__proto__"}`, `{"type":"constructor"}`, `{"type":"__defineGetter__"}`, `{"type":7}`, `{}`,
		`{"type":"cursor","x":"evil","y":1e999}`,
	} {
		if err := forger.conn.Write(t.Context(), websocket.MessageText, []byte(strings.Replace(frame, "1e999", "null", 1))); err != nil {
			t.Fatal(err)
		}
	}
	if err := forger.conn.Write(t.Context(), websocket.MessageText, []byte(`{"type":"cursor","x":5000,"y":5000}`)); err != nil {
		t.Fatal(err)
	}
	// It came after all of the others.
	a.sees(strings.ReplaceAll(forger.hello.Name, "-", " "), 500, 500)
	if text := eval[string](a, "document.body.textContent"); strings.Contains(text, "evil") {
		t.Errorf("the page believed a forger: %s", text[max(0, strings.Index(text, "evil")-80):][:160])
	}
	if got := a.name(); got != name {
		t.Errorf("a forged hello made %s of %s", got, name)
	}
	// A round trip may take 99 ms.
	if told := eval[[]string](a, "[...seen.told].filter((text) => /99(?! ms)|evil/.test(text))"); len(told) > 0 {
		t.Errorf("the pill said %v", told)
	}
	a.until("the pill says live", `document.querySelector("#pill").dataset.state === "live"`)
}
