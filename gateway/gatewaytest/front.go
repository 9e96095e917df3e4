// Package gatewaytest runs a worker in a test: objects are those of an objectstest.World, and there is neither NATS nor a
// listener.
//
//	w := objectstest.New(t, room.Objects)
//	front := gatewaytest.New(w, worker)
//	response := front.Do(httptest.NewRequest("POST", "/login", body))
//	client, _ := front.Connect(httptest.NewRequest("GET", "/rooms/lobby", nil))
//
// Everything else is as in a gateway: limits, origins, the Idempotency-Key, headers, the form of errors. A front keeps
// cookies, as a browser does.
package gatewaytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"sync"
	"testing"

	"holdfast/gateway"
	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/objectstest"
)

// Front is a gateway in front of a world's objects.
type Front struct {
	tb    testing.TB
	world *objectstest.World
	serve func(*http.Request) (*http.Response, error)
	jar   http.CookieJar

	connecting sync.Mutex // held by Connect; guards what follows
	client     *objectstest.Client
}

// New puts a worker in front of a world. At most one configuration may be given, that of the live gateway; only Region,
// Version, Classes, Origins, Peers, Limits and Log count.
func New(tb testing.TB, w *objectstest.World, worker gateway.Worker, cfg ...gateway.Config) *Front {
	tb.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		tb.Fatal(err)
	}
	f := &Front{tb: tb, world: w, jar: jar}
	var c gateway.Config
	if len(cfg) > 0 {
		c = cfg[0]
	}
	c.Worker = worker
	if c.Classes == nil {
		c.Classes = w.Classes()
	}
	if f.serve, err = gateway.Offline(c, f.answer); err != nil {
		tb.Fatal(err)
	}
	return f
}

// Do serves a request. The test fails if it cannot be served at all.
func (f *Front) Do(r *http.Request) *http.Response {
	f.tb.Helper()
	r = r.Clone(r.Context())
	if r.URL.Host == "" {
		r.URL.Host = r.Host
	}
	if r.URL.Scheme == "" {
		r.URL.Scheme = "http"
	}
	for _, cookie := range f.jar.Cookies(r.URL) {
		r.AddCookie(cookie)
	}
	response, err := f.serve(r)
	if err != nil {
		f.tb.Fatalf("%s %s: %v", r.Method, r.URL, err)
	}
	f.jar.SetCookies(r.URL, response.Cookies())
	return response
}

// Connect makes a request one for a WebSocket and serves it. The client is nil if the WebSocket was not accepted.
func (f *Front) Connect(r *http.Request) (*objectstest.Client, *http.Response) {
	f.tb.Helper()
	f.connecting.Lock()
	defer f.connecting.Unlock()
	f.client = nil
	response := f.Do(objectstest.Upgrade(r))
	if response.StatusCode != http.StatusSwitchingProtocols {
		return nil, response
	}
	return f.client, response
}

// answer has the world's objects handle a request.
func (f *Front) answer(ctx context.Context, to wire.Address, req *wire.Request) (*wire.Reply, error) {
	ref := f.world.ObjectByID(to.ID)
	if to.Name != "" {
		ref = f.world.Object(to.Class(), to.Name)
	}
	reply := &wire.Reply{}
	var err error
	switch req.Kind {
	case wire.Call:
		reply.Body, err = objects.NewCall[[]byte, []byte](to.Class(), req.Call).Do(ctx, ref, req.Body)
	case wire.Fetch:
		err = f.fetch(ctx, ref, req, reply)
	case wire.Look:
		err = objects.Errorf(objects.Unavailable, "Look does not work in a test")
	default:
		err = fmt.Errorf("no worker sends a request of kind %d", req.Kind)
	}
	if e, ok := errors.AsType[*objects.Error](err); ok {
		reply.Fail(e)
		err = nil
	}
	return reply, err
}

// fetch has an object's ServeHTTP answer.
func (f *Front) fetch(ctx context.Context, to objects.Ref, req *wire.Request, reply *wire.Reply) error {
	r, err := http.NewRequestWithContext(ctx, req.Method, "http://"+req.Host+req.URL, bytes.NewReader(req.Body))
	if err != nil {
		return objects.Errorf(objects.Invalid, "the path cannot be read")
	}
	if req.Large {
		r.Body, r.ContentLength = req.Upload, req.Length
		if req.Length == 0 {
			r.ContentLength = -1
		}
	}
	r.Header, r.Host, r.RemoteAddr, r.RequestURI = http.Header(req.Header), req.Host, req.Remote, req.URL
	var response *http.Response
	if req.Socket != "" {
		f.client, response = f.world.Connect(to, r)
	} else if response, err = to.Fetch(r); err != nil {
		return err
	}
	defer response.Body.Close()
	reply.Status, reply.Header = response.StatusCode, response.Header
	reply.Body, err = io.ReadAll(response.Body)
	return err
}
