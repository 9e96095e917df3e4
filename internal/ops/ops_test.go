package ops

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestAProcessIsReadyIfAnyOfItsPartsIs(t *testing.T) {
	up, down := Part{Ready: true}, Part{Why: "away"}
	for _, row := range []struct {
		stopping bool
		parts    []Part
		ok       bool
		why      string
	}{
		{false, nil, false, "starting"},
		{false, []Part{down}, false, "no part"},
		{false, []Part{down, down}, false, "no part"},
		{false, []Part{down, up}, true, ""},
		{false, []Part{up}, true, ""},
		{true, []Part{up}, false, "stopping"},
		{true, nil, false, "stopping"},
	} {
		if ok, why := verdict(row.stopping, row.parts); ok != row.ok || !strings.Contains(why, row.why) {
			t.Errorf("stopping %t, %v: %t %q, want %t %q", row.stopping, row.parts, ok, why, row.ok, row.why)
		}
	}
}

// serve runs a server until the test ends or it is stopped.
func serve(t *testing.T) (s *Server, addr string, stop func()) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s = New(slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, ln) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("stopped with %v", err)
		}
	}
	t.Cleanup(stop)
	return s, ln.Addr().String(), stop
}

// ask sends one request under a name and returns the answer.
func ask(t *testing.T, method, addr, host, path string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host, req.Close = host, true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

func TestWhoRunsAProcessSeesItsMetricsItsStateAndItsProfiles(t *testing.T) {
	t.Parallel()
	s, addr, _ := serve(t)
	s.Add(func(context.Context) Part { return Part{Kind: "host", Name: "fra-1", Ready: true} })
	s.Metrics.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "mine_total", Help: "Of a part."}))
	for path, want := range map[string]string{
		"/metrics":                        "mine_total",
		"/readyz":                         `"name":"fra-1"`,
		"/debug/pprof/":                   "goroutine",
		"/debug/pprof/goroutine?debug=1":  "goroutine profile",
		"/debug/pprof/profile?seconds=1":  "",
		"/debug/pprof/heap?debug=1&gc=1":  "heap profile",
		"/debug/pprof/trace?seconds=0.01": "",
	} {
		if status, body := ask(t, "GET", addr, "localhost", path); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("GET %s = %d without %q:\n%.300s", path, status, want, body)
		}
	}
	if status, body := ask(t, "GET", addr, "localhost", "/debug/pprof/cmdline"); status != http.StatusNotFound || strings.Contains(body, "ops.test") {
		t.Errorf("the command line, in which passwords may stand: %d %q", status, body)
	}
	if status, _ := ask(t, "POST", addr, "localhost", "/metrics"); status != http.StatusMethodNotAllowed {
		t.Errorf("POST /metrics = %d, want 405", status)
	}
}

func TestAPageWhoseNameLeadsToThisMachineSeesNothingOfIt(t *testing.T) {
	_, addr, _ := serve(t)
	for _, path := range []string{"/metrics", "/readyz", "/debug/pprof/"} {
		if status, body := ask(t, "GET", addr, "attacker.example", path); status != http.StatusForbidden || !strings.Contains(body, "--ops-listen") {
			t.Errorf("GET %s as attacker.example = %d %q, want 403 and the flag", path, status, body)
		}
	}
}

func TestAStoppingProcessIsNotReady(t *testing.T) {
	s, addr, _ := serve(t)
	s.Add(func(context.Context) Part { return Part{Kind: "nats", Ready: true} })
	s.Stopping()
	status, body := ask(t, "GET", addr, "localhost", "/readyz")
	var answer readiness
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusServiceUnavailable || answer.OK || len(answer.Parts) != 1 {
		t.Errorf("readyz = %d %s (%v), want 503 and the part", status, body, err)
	}
}

func TestALongProfileDoesNotHoldUpTheEndOfTheProcess(t *testing.T) {
	t.Parallel()
	s, addr, stop := serve(t)
	began := make(chan struct{})
	s.Add(func(ctx context.Context) Part {
		close(began)
		<-ctx.Done() // as a profile of 30 s
		return Part{}
	})
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-began
	from := time.Now()
	stop()
	if took := time.Since(from); took > 15*time.Second {
		t.Errorf("stopping took %v, want at most %v", took, stopWithin)
	}
}

func TestARequestThatIsTooLargeOrTooSlowIsCut(t *testing.T) {
	t.Parallel()
	_, addr, _ := serve(t)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	head := "GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("a", 4*mostHeader) + "\r\n\r\n"
	go func() { _, _ = io.WriteString(conn, head) }() // it may be cut before all is written
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("64 KiB of headers: %s, want 431", res.Status)
	}
	for _, seconds := range []string{"100000", "-1", "0", "NaN", "x"} {
		if status, body := ask(t, "GET", addr, "localhost", "/debug/pprof/profile?seconds="+seconds); status != http.StatusBadRequest || !strings.Contains(body, "seconds=") {
			t.Errorf("a profile of %s s = %d %q, want 400", seconds, status, body)
		}
	}
}
