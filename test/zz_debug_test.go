package test
import ("testing";"github.com/chromedp/chromedp";"github.com/chromedp/chromedp/kb")
func TestZZ(t *testing.T) {
	on := single(t)
	on.startHost(t, "host-1", "fra", quick, nil)
	doors := on.startDoors(t, "fra", "syd")
	a := openTab(t, startBrowser(t), doors[0].url)
	a.live()
	p := func(w string) { t.Log(w, eval[string](a, `document.activeElement.id+" "+document.activeElement.className+" y="+scrollY`)) }
	for range 8 { a.do(chromedp.KeyEvent(kb.Tab)); p("tab") }
	for _, k := range []string{kb.ArrowRight, kb.ArrowUp, kb.ArrowLeft, " ", kb.Escape} { a.do(chromedp.KeyEvent(k)); p("key") }
	for range 8 { a.do(chromedp.KeyEvent(kb.Escape)); p("esc") }
}
