//go:build unix

package acceptance

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// From the first command to two cursors that see each other. Then the program restarts, and both are who they were.
func TestBrowserTwoCursorsSurviveARestartOfTheProgram(t *testing.T) {
	beside(t, browsers)
	store, began := t.TempDir(), time.Now()
	again := []string{"--regions", "fra", "--store", store, "--port", keptPorts(t, 1)[0]}
	e := dev(t, again...)
	url := strings.Replace(e.doors[0].url, "localhost", "127.0.0.1", 1)
	browser := startBrowser(t)
	a, b := openTab(t, browser, url), openTab(t, browser, url)
	a.excuse(unreachable)
	b.excuse(unreachable)
	a.live()
	b.live()
	a.point(250, 300)
	b.sees(a.name(), 250, 300)
	b.point(700, 600)
	a.sees(b.name(), 700, 600)
	t.Logf("two cursors see each other %v after the start of the program", time.Since(began).Round(10*time.Millisecond))

	nameA, nameB := a.name(), b.name()
	e.stopsInOrder(syscall.SIGINT)
	for _, tab := range []*tab{a, b} {
		tab.until("the page reconnects", `document.querySelector("#pill").dataset.state === "reconnecting"`)
	}
	dev(t, again...)
	a.live()
	b.live()
	a.point(400, 500)
	b.sees(nameA, 400, 500)
	b.point(600, 200)
	a.sees(nameB, 600, 200)
	if a.name() != nameA || b.name() != nameB || a.text("#headcount") != "2" || b.text("#headcount") != "2" {
		t.Errorf("%s and %s are %s of %s and %s of %s after the restart", nameA, nameB, a.name(), a.text("#headcount"), b.name(), b.text("#headcount"))
	}
}
