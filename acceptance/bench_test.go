package acceptance

import (
	"fmt"
	"net"
	"testing"

	"github.com/valyala/fasthttp"

	"holdfast/embedded"
	"holdfast/internal/wire"
)

// hit is one claim by a client that costs little: what is measured is the server.
func hit(b *testing.B, c *fasthttp.Client, url string) {
	req, res := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(res)
	req.SetRequestURI(url)
	req.Header.SetMethod("POST")
	if err := c.Do(req, res); err != nil || res.StatusCode() != 200 {
		b.Errorf("claim: %v, status %d, %s", err, res.StatusCode(), res.Body())
	}
}

// BenchmarkClaim compares the three counters in one run, HTTP to HTTP, the client
// in the same process: one client at a time, then many at one counter, then a
// counter that nobody has asked for yet. At last gateway and host reach each other
// without NATS.
func BenchmarkClaim(b *testing.B) {
	for _, sync := range []string{"default", "always"} {
		b.Run("sync="+sync, func(b *testing.B) { claims(b, sync == "always", nil) })
	}
	b.Run("nearby", func(b *testing.B) { claims(b, false, new(wire.Nearby)) })
}

func claims(b *testing.B, syncAlways bool, near *wire.Nearby) {
	on := served(b, embedded.Config{Store: b.TempDir(), Log: testLog(b), SyncAlways: syncAlways})
	on.near = near
	on.startHost(b, "a", "fra", steady, nil)
	d := on.startGateway(b, "fra", steady)
	client := &fasthttp.Client{MaxConnsPerHost: 1024, Dial: func(addr string) (net.Conn, error) { return net.Dial("tcp", addr) }}
	for _, counter := range []struct{ name, route, query string }{
		{"object", "ticket", ""}, {"naive", "naive", "?gap=0ms"}, {"cas", "cas", "?gap=0ms"},
	} {
		url := func(name string) string { return d.url + "/" + counter.route + "/" + name + counter.query }
		b.Run(counter.name+"/alone", func(b *testing.B) {
			hit(b, client, url("alone"))
			for b.Loop() {
				hit(b, client, url("alone"))
			}
		})
		if counter.name == "cas" {
			continue // with a crowd it does little but retry
		}
		b.Run(counter.name+"/crowd", func(b *testing.B) {
			hit(b, client, url("crowd"))
			b.SetParallelism(128)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					hit(b, client, url("crowd"))
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "claims/s")
		})
	}
	b.Run("object/cold", func(b *testing.B) {
		n := 0
		for b.Loop() {
			n++
			hit(b, client, fmt.Sprintf("%s/ticket/cold-%d-%d", d.url, b.N, n))
		}
	})
}
