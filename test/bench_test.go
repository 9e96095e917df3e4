package test

import (
	"fmt"
	"net"
	"sync/atomic"
	"testing"

	"github.com/valyala/fasthttp"
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

// BenchmarkClaim compares, in one run, HTTP to HTTP, everything in one process: the
// object, the naive counter and the one with compare-and-set, first by one client
// at a time, then by many at one counter.
func BenchmarkClaim(b *testing.B) {
	on := single(b)
	on.startHost(b, "a", "fra", quick, nil)
	d := on.startGateway(b, "fra", quick)
	client := &fasthttp.Client{MaxConnsPerHost: 1024, Dial: func(addr string) (net.Conn, error) { return net.Dial("tcp", addr) }}
	for _, route := range []string{"ticket/%s", "naive/%s?gap=0ms", "cas/%s?gap=0ms"} {
		name := route[:len("cas")]
		b.Run(name+"/alone", func(b *testing.B) {
			url := d.url + "/" + fmt.Sprintf(route, "alone")
			hit(b, client, url)
			for b.Loop() {
				hit(b, client, url)
			}
		})
		if name == "cas" {
			continue // with many clients it does little but retry
		}
		b.Run(name+"/crowd", func(b *testing.B) {
			url := d.url + "/" + fmt.Sprintf(route, "crowd")
			hit(b, client, url)
			b.SetParallelism(128)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					hit(b, client, url)
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "claims/s")
		})
	}
	b.Run("ticket/cold", func(b *testing.B) {
		var n atomic.Int64
		for b.Loop() {
			hit(b, client, fmt.Sprintf("%s/ticket/cold-%d", d.url, n.Add(1)))
		}
	})
}
