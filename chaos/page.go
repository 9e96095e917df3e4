package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os/exec"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// Clients in one page of Chromium. A server of this program's own has the page and its modules, and gateways let it in by its
// origin.

// pageServer serves the page until it is closed.
type pageServer struct {
	http.Server
	origin string
}

const emptyPage = `<!doctype html><link rel="icon" href="data:,"><title>seats</title>`

func (k *kit) servePage() (*pageServer, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("serve the page of the clients: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServer(http.Dir(k.root)))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, emptyPage) })
	s := &pageServer{http.Server{Handler: mux}, "http://" + ln.Addr().String()}
	go func() { _ = s.Serve(ln) }() // until Close
	return s, nil
}

// pageSitters are clients in a page.
type pageSitters struct {
	tab   context.Context
	close context.CancelFunc
}

func sitInPage(ctx context.Context, s *pageServer, config string) (*pageSitters, error) {
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.DisableGPU)
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			options = append(options, chromedp.ExecPath(path))
			break
		}
	}
	alloc, closeAlloc := chromedp.NewExecAllocator(ctx, options...)
	tab, closeTab := chromedp.NewContext(alloc)
	p := &pageSitters{tab, func() { closeTab(); closeAlloc() }}
	_, err := chromedp.Run(tab, chromedp.Navigate(s.origin+"/"))
	if err == nil {
		// A browser that reports each message to this program needs twice the time for it.
		_, err = chromedp.Call(tab, network.Disable, cdp.Empty{})
	}
	if err == nil {
		_, err = inPage[bool](p, `import("/chaos/seats.mjs").then((m) => { window.room = m.sit(`+config+`); return true; })`)
	}
	if err != nil {
		p.end()
		return nil, fmt.Errorf("open the page of the clients, which needs Chromium: %w", err)
	}
	return p, nil
}

func inPage[T any](p *pageSitters, expression string) (T, error) {
	v, err := chromedp.Run(p.tab, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		return v, fmt.Errorf("ask the page of the clients: %w", err)
	}
	return v, nil
}

func (p *pageSitters) end() { p.close() }

func (p *pageSitters) tell(word string) error {
	_, err := inPage[bool](p, "(room."+word+"(), true)")
	return err
}

func (p *pageSitters) report() (phase, error) { return inPage[phase](p, "room.report()") }
