package acceptance

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// looks opens one page as the system says, with two others in the room, and races.
func looks(t *testing.T, width, height int64, before ...chromedp.Action[chromedp.Void]) *tab {
	t.Helper()
	on := single(t)
	on.startHost(t, "host-1", "fra", steady, nil)
	doors := on.startDoors(t, "fra", "iad", "syd")
	browser := startBrowser(t)
	before = append([]chromedp.Action[chromedp.Void]{chromedp.EmulateViewport(width, height)}, before...)
	others := []*tab{openTab(t, browser, doors[1].url), openTab(t, browser, doors[2].url)}
	tab := openTab(t, browser, doors[0].url, before...)
	tab.live()
	for _, other := range others {
		other.live()
	}
	tab.until("three are here", `document.querySelector("#headcount").textContent === "3"`)
	tab.stress()
	for i, other := range others {
		x, y := 280+float64(i)*320, 340+float64(i)*200
		other.point(x, y)
		tab.sees(other.name(), x, y)
	}
	eval[any](tab, "void scrollTo(0, 0)")
	tab.until("the round trip is known", `document.querySelector(".pill-text").textContent.includes(" ms")`)
	return tab
}

func TestBrowserLooksLight(t *testing.T) {
	beside(t, browsers)
	tab := looks(t, 1440, 900, media("prefers-color-scheme", "light", atOnce, "reduce"))
	tab.accessible()
	tab.shoot("page-light.png")
	tab.clip("page-docs.png", 0, 0, 1440, 986)
	tab.readable()
	tab.axe()
	tab.shootElement("#race", "page-race.png")
}

func TestBrowserLooksDark(t *testing.T) {
	beside(t, browsers)
	tab := looks(t, 1440, 900, media("prefers-color-scheme", "dark", atOnce, "reduce"))
	tab.shoot("page-dark.png")
	tab.readable()
	tab.axe()
	// The visitor's own choice goes before the system's.
	tab.click("#theme")
	tab.until("the page is light", `document.documentElement.dataset.theme === "light"`)
	tab.readable()
}

// A phone: one column, nothing wider than the screen, targets for fingers, and touch.
func TestBrowserLooksOnPhone(t *testing.T) {
	beside(t, browsers)
	tab := looks(t, 390, 844, chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulateScale(2)), media(atOnce, "reduce"))
	if wide := eval[int](tab, "document.documentElement.scrollWidth"); wide > 390 {
		t.Errorf("the page is %d px wide", wide)
	}
	small := eval[[]string](tab, `[...document.querySelectorAll("#race .buttons button, .switches button, #playback button, summary")]
		.filter((el) => el.checkVisibility() && (el.offsetHeight < 44 || el.offsetWidth < (el.closest("#playback") ? 32 : 44)))
		.map((el) => el.textContent.trim() + " " + el.offsetWidth + "x" + el.offsetHeight)`)
	if len(small) > 0 {
		t.Errorf("too small for a finger: %v", small)
	}
	tab.shoot("page-phone.png")
	tab.readable()
	tab.axe()

	at := eval[[2]float64](tab, `(() => { const b = document.querySelector("#stage").getBoundingClientRect(); return [b.left + b.width / 2, b.top + b.height / 2]; })()`)
	tab.do(chromedp.TapXY(at[0], at[1]))
	tab.until("a tap ripples", `seen.ripples.some((r) => Math.abs(parseFloat(r.x) - 50) < 2)`)
}

// axe has axe-core look at the page as it stands. What it calls serious or critical
// keeps somebody out.
func (tab *tab) axe() {
	tab.t.Helper()
	file := os.Getenv("HOLDFAST_AXE")
	source, err := os.ReadFile(file)
	if err != nil {
		missing(tab.t, "axe-core", "npm install axe-core, and HOLDFAST_AXE=node_modules/axe-core/axe.min.js")
	}
	eval[any](tab, string(source)+"; undefined")
	eval[any](tab, `void axe.run(document, { resultTypes: ["violations"] }).then((found) => { window.axed = found; }, (err) => { window.axed = { failed: String(err) }; })`)
	tab.until("axe has looked", "window.axed")
	found := eval[[]string](tab, `axed.failed ? [axed.failed] : axed.violations.filter((v) => ["serious", "critical"].includes(v.impact))
		.map((v) => v.id + ": " + v.help + " " + v.nodes.slice(0, 4).map((n) => n.html.slice(0, 160)).join(" | "))`)
	for _, fault := range found {
		tab.t.Errorf("axe: %s", fault)
	}
	if passed := eval[int](tab, "axed.passes?.length ?? 0"); passed < 20 {
		tab.t.Errorf("axe passed only %d rules", passed)
	}
}

// At 1280x800 one press shows all there is to see: the verdict and both charts, with
// nothing to scroll and no empty place beside them.
func TestBrowserShowsAWholeRaceOnALaptop(t *testing.T) {
	beside(t, browsers)
	page, _ := racePage(t, chromedp.EmulateViewport(1280, 800))
	page.until("two gateways are known", `!document.querySelector("#regions").hidden`)
	stored := page.text("#col-object .number")
	page.click("#stress")
	page.until("the replay has begun", `document.querySelector("#play").dataset.playing === "true"`)
	if tone := eval[string](page, `document.querySelector("#verdict").dataset.tone`); tone != "empty" {
		t.Errorf("the verdict is told before the end: %q", page.text("#verdict .main"))
	}
	if n := page.text("#col-object .number"); n != stored && eval[bool](page, `document.querySelector("#play").dataset.playing === "true"`) {
		t.Errorf("the stored value is told before the end: %s", n)
	}
	page.until("the verdict comes at the end", `document.querySelector("#verdict").dataset.tone === "bad"`)
	if n := page.text("#col-object .number"); n != "15" {
		t.Errorf("at the end the object stands at %s", n)
	}
	if y := eval[float64](page, "scrollY"); y != 0 {
		t.Errorf("the page has scrolled by %g", y)
	}
	low := eval[[]string](page, `["#stress", "#verdict", "#col-object .lanes", "#col-kv .lanes"]
		.map((sel) => [sel, document.querySelector(sel).getBoundingClientRect()])
		.filter(([, box]) => box.top < 0 || box.bottom > 800).map(([sel, box]) => sel + " ends at " + box.bottom)`)
	if len(low) > 0 {
		t.Errorf("out of sight: %v", low)
	}
	// The left column is as full as the screen.
	if bottom := eval[float64](page, `Math.max(...[...document.querySelectorAll("#around > *")].map((el) => el.getBoundingClientRect().bottom))`); bottom < 780 {
		t.Errorf("the left column ends at %g", bottom)
	}
	page.noLonelyChip()
	page.shoot("page-laptop.png")
}

// noLonelyChip checks that no row of tickets has only one ticket.
func (tab *tab) noLonelyChip() {
	tab.t.Helper()
	lonely := eval[[]string](tab, `[...document.querySelectorAll(".chips")].flatMap((list) => {
		const rows = Map.groupBy(list.querySelectorAll(".chip"), (chip) => Math.round(chip.getBoundingClientRect().top));
		return [...rows.values()].filter((row) => row.length === 1 && rows.size > 1).map((row) => row[0].textContent);
	})`)
	if len(lonely) > 0 {
		tab.t.Errorf("tickets alone in a row: %v", lonely)
	}
}

// On a phone the button is on the first screen, and what it does comes into sight.
func TestBrowserShowsARaceOnAPhone(t *testing.T) {
	beside(t, browsers)
	page, _ := racePage(t, chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulateScale(2)))
	if bottom := eval[float64](page, `document.querySelector("#stress").getBoundingClientRect().bottom`); bottom > 844 {
		t.Errorf("the button ends at %g", bottom)
	}
	page.stress()
	low := eval[[]string](page, `["#verdict", "#col-object .lanes"]
		.map((sel) => [sel, document.querySelector(sel).getBoundingClientRect()])
		.filter(([, box]) => box.top < 0 || box.bottom > 844).map(([sel, box]) => sel + " from " + box.top + " to " + box.bottom)`)
	if len(low) > 0 {
		t.Errorf("out of sight: %v", low)
	}
	page.noLonelyChip()
	page.shoot("page-phone-race.png")
}

// Technical terms have explanations for a mouse, a finger and a keyboard.
func TestBrowserExplainsItsTerms(t *testing.T) {
	beside(t, browsers)
	page, _ := racePage(t, media(atOnce, "reduce"))
	page.stress()
	for _, term := range []string{".pill-detail", "#play-speed", ".legend .term"} {
		eval[any](page, fmt.Sprintf(`document.querySelector(%q).focus()`, term))
		page.until("the tip for "+term+" is shown", fmt.Sprintf(`!document.querySelector("#tip").hidden && document.querySelector(%q).getAttribute("aria-describedby") === "tip"`, term))
		if said, want := page.text("#tip"), eval[string](page, fmt.Sprintf(`document.querySelector(%q).dataset.tip`, term)); said != want || want == "" {
			t.Errorf("%s says %q, want %q", term, said, want)
		}
		page.do(chromedp.KeyEvent(kb.Escape))
		page.until("the tip is gone", `document.querySelector("#tip").hidden`)
	}
}

// A name is never cut off by the edge of the stage.
func TestBrowserKeepsNamesInsideTheStage(t *testing.T) {
	beside(t, browsers)
	on := single(t)
	on.startHost(t, "host-1", "fra", steady, nil)
	doors := on.startDoors(t, "fra", "syd")
	browser := startBrowser(t)
	phone := chromedp.EmulateViewport(390, 844)
	a, b := openTab(t, browser, doors[0].url, phone), openTab(t, browser, doors[1].url, phone)
	a.live()
	b.live()
	a.until("two are here", `document.querySelector("#headcount").textContent === "2"`)
	for _, at := range [][2]float64{{990, 500}, {700, 990}, {960, 975}, {500, 500}} {
		a.point(at[0], at[1])
		b.sees(a.name(), at[0], at[1])
		for tab, selector := range map[*tab]string{b: ".cursor .tag", a: "#me .tag"} {
			tab.until(fmt.Sprintf("%s at %v is inside", selector, at), fmt.Sprintf(`(() => {
				const [stage, tag] = [document.querySelector("#stage"), document.querySelector(%q)].map((el) => el.getBoundingClientRect());
				return tag.left >= stage.left && tag.right <= stage.right && tag.bottom <= stage.bottom && tag.top >= stage.top;
			})()`, selector))
		}
	}
}

// shootElement keeps a picture of one element and what is right around it, however
// long it is.
func (tab *tab) shootElement(selector, file string) {
	tab.t.Helper()
	box := eval[[4]float64](tab, fmt.Sprintf(`(() => {
		scrollTo(0, 0); // the header stays above everything
		const b = document.querySelector(%q).getBoundingClientRect();
		const left = Math.max(0, b.left + scrollX - 16); // a picture cannot begin before the page
		return [left, b.top + scrollY - 16, Math.min(b.right + 16, document.documentElement.clientWidth) - left, b.height + 32];
	})()`, selector))
	tab.clip(file, box[0], box[1], box[2], box[3])
}

// clip keeps a picture of a part of the page, which may reach below the screen.
func (tab *tab) clip(file string, x, y, width, height float64) {
	tab.t.Helper()
	ctx, cancel := context.WithTimeout(tab.ctx, pageTime)
	defer cancel()
	beyond := true
	shot, err := chromedp.Run(ctx, func(ctx context.Context, target *chromedp.Target) (page.CaptureScreenshotResult, error) {
		return cdp.Call(ctx, target, page.CaptureScreenshot, page.CaptureScreenshotParams{
			Clip:                  &page.Viewport{X: x, Y: y, Width: width, Height: height, Scale: 1},
			CaptureBeyondViewport: &beyond,
		})
	})
	if err != nil {
		tab.t.Fatalf("take a picture: %v", err)
	}
	keep(tab.t, file, shot.Data)
}

// accessible looks at the page as assistive technology does.
func (tab *tab) accessible() {
	tab.t.Helper()
	tab.click("#options-toggle")
	defer tab.click("#options-toggle")
	ctx, cancel := context.WithTimeout(tab.ctx, pageTime)
	defer cancel()
	tree, err := chromedp.Run(ctx, func(ctx context.Context, target *chromedp.Target) (accessibility.GetFullAXTreeResult, error) {
		return cdp.Call(ctx, target, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	})
	if err != nil {
		tab.t.Fatalf("read the accessibility tree: %v", err)
	}
	named := map[string][]string{}
	for _, node := range tree.Nodes {
		if node.Ignored || node.Role == nil {
			continue
		}
		role, name := word(node.Role), strings.TrimSpace(word(node.Name))
		switch role {
		case "button", "link", "radio", "slider", "switch", "checkbox", "textbox", "application", "region", "group", "navigation", "list", "DisclosureTriangle", "status":
			named[role] = append(named[role], name)
		}
	}
	for _, role := range []string{"button", "link", "radio", "slider", "switch", "application", "DisclosureTriangle"} {
		if len(named[role]) == 0 {
			tab.t.Errorf("there is no %s: %v", role, named)
		}
		for i, name := range named[role] {
			if name == "" {
				tab.t.Errorf("%s %d of %d has no name: %q", role, i+1, len(named[role]), named[role])
			}
		}
	}
	if tab.text("html") == "" || eval[string](tab, "document.documentElement.lang") != "en" {
		tab.t.Error("the page does not say that it is English")
	}
	// A role of status is a polite live region; the verdict must be one before it speaks.
	for selector, want := range map[string]string{"#verdict > div": "status", "#pill-spoken": "status", "#you-are": "status", "#crowd-spoken": "status", "#claim-spoken": "status"} {
		if got := eval[string](tab, fmt.Sprintf("document.querySelector(%q).role", selector)); got != want {
			tab.t.Errorf("%s has the role %q, not %q", selector, got, want)
		}
	}
	if levels := eval[[]string](tab, `[...document.querySelectorAll("h1, h2, h3")].filter((h) => h.checkVisibility()).map((h) => h.tagName)`); levels[0] != "H1" {
		tab.t.Errorf("the first heading is %v", levels)
	}
}

// word returns the text of a value in the accessibility tree.
func word(v *accessibility.Value) string {
	if v == nil {
		return ""
	}
	return strings.Trim(string(v.Value), `"`)
}

// readable checks that every text on the page has enough contrast to its background.
func (tab *tab) readable() {
	tab.t.Helper()
	tab.until("no colour changes any more", `document.getAnimations().every((a) => !(a instanceof CSSTransition))`)
	pale := eval[[]string](tab, contrast)
	if len(pale) > 0 {
		tab.t.Errorf("%d texts do not stand out: %s", len(pale), strings.Join(pale, "\n"))
	}
	if checked := eval[int](tab, "window.checked"); checked < 60 {
		tab.t.Errorf("only %d texts were looked at", checked)
	}
}

// contrast lists the texts below 4.5:1, or 3:1 where they are large (WCAG 1.4.3). Colours
// are painted to learn what they are, whatever notation they come in.
const contrast = `(() => {
	const paint = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
	const over = (under, colours) => {
		paint.fillStyle = under;
		paint.fillRect(0, 0, 1, 1);
		for (const colour of colours) { paint.fillStyle = colour; paint.fillRect(0, 0, 1, 1); }
		return [...paint.getImageData(0, 0, 1, 1).data].slice(0, 3);
	};
	const light = (rgb) => {
		const [r, g, b] = rgb.map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
		return 0.2126 * r + 0.7152 * g + 0.0722 * b;
	};
	const behind = (el) => {
		const out = [];
		for (let at = el; at; at = at.parentElement) out.unshift(getComputedStyle(at).backgroundColor);
		return out;
	};
	const pale = [];
	window.checked = 0;
	const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (texts.nextNode()) {
		const el = texts.currentNode.parentElement;
		if (!texts.currentNode.data.trim() || el.closest("svg, script, noscript, dialog:not([open]), .sr, .skip, [aria-disabled=true]")) continue;
		if (!el.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
		const style = getComputedStyle(el);
		const back = behind(el);
		const [a, b] = [light(over("#fff", back)), light(over("#fff", [...back, style.color]))].sort((x, y) => y - x);
		const size = parseFloat(style.fontSize);
		const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
		const ratio = (a + 0.05) / (b + 0.05);
		window.checked++;
		if (ratio < (large ? 3 : 4.5)) pale.push(ratio.toFixed(2) + " " + style.color + " " + texts.currentNode.data.trim().slice(0, 40));
	}
	return pale;
})()`

// Where the system's colours replace the page's, and where it wants more contrast, what meant something still does.
func TestBrowserKeepsItsMeaningInOtherColours(t *testing.T) {
	beside(t, browsers)
	page, _ := racePage(t, media("forced-colors", "active", atOnce, "reduce"))
	page.stress()
	if dup := eval[string](page, `getComputedStyle(document.querySelector("#col-kv .chip.dup")).borderStyle`); dup != "double" {
		t.Errorf("a ticket that was given twice has a border of style %q", dup)
	}
	kinds := eval[[]string](page, `[...new Set(["read", "blind", "write"].map((kind) => { const mark = getComputedStyle(document.querySelector(".mark." + kind)); return mark.fill + mark.stroke + !!document.querySelector(".notch"); }))]`)
	if len(kinds) != 2 { // a blind write is a write with a notch
		t.Errorf("reads and writes are painted %v", kinds)
	}
	page.until("the lamp can be seen", `getComputedStyle(document.querySelector(".lamp")).backgroundColor !== "rgba(0, 0, 0, 0)"`)
	page.shoot("page-forced.png")
	page.do(media("prefers-contrast", "more"))
	page.until("nothing is soft", `getComputedStyle(document.querySelector("#life-why")).color === getComputedStyle(document.body).color`)
	page.readable()
	page.shoot("page-contrast.png")
}
