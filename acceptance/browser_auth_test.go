package acceptance

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"holdfast/examples/auth"
)

// submit fills in a form and presses the named button, or the first for "".
func (tab *tab) submit(form, button string, values ...string) {
	tab.t.Helper()
	var fill strings.Builder
	for i := 0; i+1 < len(values); i += 2 {
		fmt.Fprintf(&fill, "f.elements[%q].value = %q;", values[i], values[i+1])
	}
	eval[any](tab, fmt.Sprintf(`void (() => { const f = document.querySelector(%q); %s f.querySelector(%q).click(); })()`, form, fill.String(), "button"+button))
}

// reads waits until the page shows a text.
func (tab *tab) reads(text string) {
	tab.t.Helper()
	tab.until("the page says "+text, fmt.Sprintf(`document.querySelector("#status").textContent.includes(%q)`, text))
}

// A page of the gateway's logs in by a cookie, one on another origin by a token, and a third page, which is not listed, does
// nothing in the name of who visits it.
func TestBrowserLogsInAndEntersRooms(t *testing.T) {
	beside(t, browsers)
	var gateway string
	listed := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { auth.Elsewhere(gateway).ServeHTTP(w, r) }))
	defer listed.Close()
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(`<!doctype html><title>evil</title><link rel="icon" href="data:,">`))
	}))
	defer evil.Close()
	p := newAuth(t, listed.URL)
	gateway = p.url
	browser := startBrowser(t)

	ada := openTab(t, browser, p.url+"/auth")
	ada.submit("#login", "[value=login]", "name", "ada", "password", "wrong password")
	ada.excuse("401")
	ada.reads("the name or the password is wrong")
	ada.submit("#login", "[value=login]", "name", "ada", "password", "password of ada")
	ada.reads("You are ada.")
	if seen := eval[string](ada, "document.cookie"); seen != "" {
		t.Errorf("a script reads the cookie: %s", seen)
	}
	ada.submit("#enter", "", "room", "ada")
	ada.reads("You are in the room of ada.")

	bob := openTab(t, browser, listed.URL)
	bob.also = []string{p.url}
	bob.excuse("403")
	bob.submit("#login", "[value=login]", "name", "bob", "password", "password of bob")
	bob.reads("You are bob.")
	bob.submit("#enter", "", "room", "ada")
	bob.reads("You are not in the room of ada")
	bob.submit("#enter", "", "room", "bob")
	bob.reads("You are in the room of bob.")

	eval[any](ada, `void fetch("/auth/rooms/ada/guests", { method: "POST", body: '{"name":"bob"}' }).then((r) => { window.invited = r.status; })`)
	ada.until("bob is invited", "window.invited === 204")
	bob.submit("#enter", "", "room", "ada")
	bob.reads("You are in the room of ada.")
	bob.submit("#say", "", "text", "<b>hello</b>")
	ada.until("ada reads bob", `document.querySelector("#said").textContent === "bob: <b>hello</b>"`)
	ada.submit("#say", "", "text", "welcome")
	bob.until("bob reads ada", `document.querySelector("#said").lastElementChild.textContent === "ada: welcome"`)

	// Ada visits another page, and her browser has her cookie with it.
	ada.excuse("403", "CORS", "net::ERR_FAILED")
	ada.also = []string{evil.URL, p.url}
	ada.do(chromedp.Navigate(evil.URL + "/"))
	eval[any](ada, fmt.Sprintf(`void (() => {
		window.seen = window.seen || {};
		window.tried = [];
		const note = (what) => (how) => window.tried.push(what + " " + how);
		const socket = new WebSocket(%q, ["room"]);
		socket.onopen = () => note("socket")("opened");
		socket.onclose = () => note("socket")("refused");
		fetch(%q, { credentials: "include" }).then(() => note("read")("done"), () => note("read")("refused"));
		fetch(%q, { method: "POST", mode: "no-cors", credentials: "include", body: '{"name":"eve"}' }).then(() => note("write")("sent"), () => note("write")("refused"));
	})()`, strings.Replace(p.url, "http", "ws", 1)+"/auth/rooms/ada", p.url+"/auth/me", p.url+"/auth/rooms/ada/guests"))
	ada.until("the page has tried all", "window.tried.length === 3")
	if tried := strings.Join(eval[[]string](ada, "window.tried.sort()"), ", "); tried != "read refused, socket refused, write sent" {
		t.Errorf("the page that is not listed: %s", tried)
	}
	// What was sent has done nothing: eve, who would have been invited, stays outside.
	if a := p.once(t, "POST", "/auth/signup", `{"name":"eve","password":"password of eve"}`); a.StatusCode != http.StatusOK {
		t.Fatalf("eve cannot sign up: %d %s", a.StatusCode, a.body)
	}
	if a := p.upgraded(t, "/auth/rooms/ada", "Cookie", "session="+p.cookieOf(t, "eve")); a.StatusCode != http.StatusForbidden {
		t.Errorf("eve was invited by another page: %d %s", a.StatusCode, a.body)
	}
}
