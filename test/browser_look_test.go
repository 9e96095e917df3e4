package test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// looks opens one page as the system says, with two others in the room, and races.
func looks(t *testing.T, width, height int64, before ...chromedp.Action[chromedp.Void]) *tab {
	t.Helper()
	on := single(t)
	on.startHost(t, "host-1", "fra", quick, nil)
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
	tab := looks(t, 1440, 900, media("prefers-color-scheme", "light"))
	tab.accessible()
	tab.shoot("page-light.png")
	tab.clip("page-docs.png", 0, 0, 1440, 986)
	tab.readable()
	tab.shootElement("#race", "page-race.png")
}

func TestBrowserLooksDark(t *testing.T) {
	beside(t, browsers)
	tab := looks(t, 1440, 900, media("prefers-color-scheme", "dark"))
	tab.shoot("page-dark.png")
	tab.readable()
	// The visitor's own choice goes before the system's.
	tab.click("#theme")
	tab.until("the page is light", `document.documentElement.dataset.theme === "light"`)
	tab.readable()
}

// A phone: one column, nothing wider than the screen, targets for fingers, and touch.
func TestBrowserLooksOnPhone(t *testing.T) {
	beside(t, browsers)
	tab := looks(t, 390, 844, chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulateScale(2)))
	if wide := eval[int](tab, "document.documentElement.scrollWidth"); wide > 390 {
		t.Errorf("the page is %d px wide", wide)
	}
	small := eval[[]string](tab, `[...document.querySelectorAll("#race .buttons button, .switches button, #playback button, summary")]
		.filter((el) => el.checkVisibility() && (el.offsetHeight < 44 || el.offsetWidth < 44))
		.map((el) => el.textContent.trim() + " " + el.offsetWidth + "x" + el.offsetHeight)`)
	if len(small) > 0 {
		t.Errorf("too small for a finger: %v", small)
	}
	tab.shoot("page-phone.png")
	tab.readable()

	at := eval[[2]float64](tab, `(() => { const b = document.querySelector("#stage").getBoundingClientRect(); return [b.left + b.width / 2, b.top + b.height / 2]; })()`)
	tab.do(chromedp.TapXY(at[0], at[1]))
	tab.until("a tap ripples", `seen.ripples.some((r) => Math.abs(parseFloat(r.x) - 50) < 2)`)
}

// shootElement keeps a picture of one element and what is right around it, however
// long it is.
func (tab *tab) shootElement(selector, file string) {
	tab.t.Helper()
	box := eval[[4]float64](tab, fmt.Sprintf(`(() => {
		scrollTo(0, 0); // the header stays above everything
		const b = document.querySelector(%q).getBoundingClientRect();
		return [b.left + scrollX - 16, b.top + scrollY - 16, b.width + 32, b.height + 32];
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
	for selector, want := range map[string]string{"#verdict": "status", "#pill-spoken": "status", "#you-are": "status", "#crowd-spoken": "status", "#claim-spoken": "status"} {
		if got := eval[string](tab, fmt.Sprintf("document.querySelector(%q).role", selector)); got != want {
			tab.t.Errorf("%s has the role %q, not %q", selector, got, want)
		}
	}
	if levels := eval[[]string](tab, `[...document.querySelectorAll("h1, h2, h3")].filter((h) => h.checkVisibility()).map((h) => h.tagName)`); levels[0] != "H1" {
		tab.t.Errorf("the first heading is %v", levels)
	}
}

// word is the text of a value in the accessibility tree.
func word(v *accessibility.Value) string {
	if v == nil {
		return ""
	}
	return strings.Trim(string(v.Value), `"`)
}

// readable asks of every text on the page that it stands out from what is behind it.
func (tab *tab) readable() {
	tab.t.Helper()
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
