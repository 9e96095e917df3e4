package app_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"holdfast/internal/wire"
	"holdfast/objects"
)

// other is a class of which only some programs have a host.
var other = objects.Implement("other", objects.New[counter])

// serving is the output of a command that serves, with --json.
type serving struct{ URL, NATS, Ops string }

func serve(t *testing.T, args ...string) (*process, serving) {
	t.Helper()
	p := start(t, config(), append(args, "--json")...)
	var said serving
	if err := json.Unmarshal([]byte(p.stdout.String()), &said); err != nil {
		t.Fatalf("%v said %s (%v)", args, p.stdout, err)
	}
	return p, said
}

// readiness is the answer of an operations listener's /readyz.
type readiness struct {
	OK    bool
	Why   string
	Parts []struct {
		Part, Name, Region, Why string
		Ready                   bool
		Classes                 map[string]string
	}
}

func readyz(t *testing.T, ops string) (status int, r readiness) {
	t.Helper()
	status, body := fetch(t, http.MethodGet, ops+"/readyz")
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		t.Fatalf("readyz = %d %s (%v)", status, body, err)
	}
	return status, r
}

func TestWhoRunsAProcessCanLookIntoIt(t *testing.T) {
	_, server := serve(t, "nats", "--port", "0", "--store", "memory", "--rtt", "0")
	h, host := serve(t, "host", "--region", "fra", "--name", "a", "--nats", server.NATS, "--rtt", "0")
	_, gateway := serve(t, "gateway", "--region", "fra", "--listen", "127.0.0.1:0", "--nats", server.NATS, "--rtt", "0")
	fetch(t, http.MethodPost, gateway.URL+"/ticket/x")
	for kind, of := range map[string]struct{ ops, metric string }{
		"nats":    {server.Ops, "go_goroutines"},
		"host":    {host.Ops, `holdfast_host_objects{class="ticket",region="fra"} 1`},
		"gateway": {gateway.Ops, `holdfast_gateway_requests_total{class="ticket",region="fra",result="ok"} 1`},
	} {
		if status, body := fetch(t, http.MethodGet, of.ops+"/metrics"); status != http.StatusOK || !strings.Contains(body, of.metric) {
			t.Errorf("metrics of %s = %d without %s", kind, status, of.metric)
		}
		if status, body := fetch(t, http.MethodGet, of.ops+"/debug/pprof/goroutine?debug=1"); status != http.StatusOK || !strings.Contains(body, "goroutine profile") {
			t.Errorf("goroutines of %s = %d", kind, status)
		}
		status, r := readyz(t, of.ops)
		if status != http.StatusOK || !r.OK || len(r.Parts) != 1 || r.Parts[0].Part != kind || !r.Parts[0].Ready {
			t.Errorf("readyz of %s = %d %+v", kind, status, r)
		}
		if kind == "gateway" && r.Parts[0].Classes["ticket"] != "ok" {
			t.Errorf("the gateway's classes are %v", r.Parts[0].Classes)
		}
	}
	if code := h.stop(); code != 0 {
		t.Errorf("host ended with %d:\n%s", code, h.stderr)
	}
	status, r := readyz(t, gateway.Ops)
	if status != http.StatusServiceUnavailable || r.OK || r.Parts[0].Ready || !strings.Contains(r.Parts[0].Classes["ticket"], "no host") {
		t.Errorf("readyz of a gateway without hosts = %d %+v", status, r)
	}
	if status, body := fetch(t, http.MethodGet, gateway.URL+"/readyz"); status != http.StatusServiceUnavailable || strings.Contains(body, "ticket") {
		t.Errorf("what clients of that gateway read = %d %s, want 503 and no class", status, body)
	}
}

func TestAGatewayIsReadyIfAnyOfItsClassesHasAHost(t *testing.T) {
	_, server := serve(t, "nats", "--port", "0", "--store", "memory", "--rtt", "0")
	serve(t, "host", "--region", "fra", "--nats", server.NATS, "--rtt", "0")
	more := config()
	more.Objects = append(more.Objects, other)
	g := start(t, more, "gateway", "--region", "fra", "--listen", "127.0.0.1:0", "--nats", server.NATS, "--rtt", "0", "--json")
	var said serving
	if err := json.Unmarshal([]byte(g.stdout.String()), &said); err != nil {
		t.Fatal(err)
	}
	if status, body := fetch(t, http.MethodGet, said.URL+"/readyz"); status != http.StatusOK {
		t.Errorf("readyz = %d %s, want 200: one of two classes has a host", status, body)
	}
	if status, r := readyz(t, said.Ops); status != http.StatusOK || r.Parts[0].Classes["ticket"] != "ok" || !strings.Contains(r.Parts[0].Classes["other"], "no host") {
		t.Errorf("operations' readyz = %d %+v, want both classes, one without a host", status, r)
	}
}

func TestADevRunHasOneOperationsListenerForAllOfIt(t *testing.T) {
	_, b := dev(t, "--regions", "fra,iad", "--hosts", "2")
	status, r := readyz(t, b.Ops)
	parts := make(map[string]int)
	for _, part := range r.Parts {
		parts[part.Part]++
		if !part.Ready {
			t.Errorf("not ready: %+v", part)
		}
	}
	if status != http.StatusOK || parts["gateway"] != 2 || parts["host"] != 4 || parts["nats"] != 1 {
		t.Errorf("readyz = %d, parts %v", status, parts)
	}
}

func TestOperationsCanBeOff(t *testing.T) {
	p, b := dev(t, "--regions", "fra", "--ops-listen", "off")
	if b.Ops != "" || strings.Contains(p.stdout.String(), "ops") {
		t.Errorf("banner = %s", p.stdout)
	}
}

func TestAConnectionMayWaitAsLongAsIdleTimeoutSays(t *testing.T) {
	t.Parallel()
	_, server := serve(t, "nats", "--port", "0", "--store", "memory", "--rtt", "0")
	_, gateway := serve(t, "gateway", "--region", "fra", "--listen", "127.0.0.1:0", "--nats", server.NATS, "--rtt", "0", "--idle-timeout", "1s")
	conn, err := net.Dial("tcp", strings.TrimPrefix(gateway.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	began := time.Now() // the connection waits from later on
	if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(conn)
	res, err := http.ReadResponse(answers, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body) // it is short
	res.Body.Close()
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, answers); err != nil || n != 0 {
		t.Errorf("%d bytes and %v while waiting, want the end of the connection", n, err)
	}
	if took := time.Since(began); took < time.Second {
		t.Errorf("the connection was closed after %v, want 1 s at least", took)
	}
}

func TestAHostThatHasLostItsLeaseIsNotReady(t *testing.T) {
	t.Parallel()
	server, said := serve(t, "nats", "--port", "0", "--store", "memory", "--rtt", "0")
	_, host := serve(t, "host", "--region", "fra", "--nats", said.NATS, "--rtt", "0")
	server.stop()
	deadline := time.Now().Add(time.Minute)
	for {
		status, r := readyz(t, host.Ops)
		if status == http.StatusServiceUnavailable && strings.Contains(r.Parts[0].Why, "lease") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("a minute after NATS has gone readyz is %d %+v", status, r)
		}
		wire.Pause(t.Context(), 20*time.Millisecond)
	}
}
