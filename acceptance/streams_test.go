package acceptance

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/nats-io/nats.go"

	asking "holdfast/client"
	"holdfast/gateway"
	"holdfast/objects"
)

// press is a class that streams on request.
const presses objects.Class = "press"

var pressTurns = objects.NewCall[objects.None, int](presses, "turns")

var turnsKey = objects.NewKey[int]("turns")

type press struct{ log *pressLog }

// pressLog notes what the streams of all presses do.
type pressLog struct {
	next    chan string   // what /lines writes, a line each
	written atomic.Int64  // bytes of /bytes
	ended   chan error    // how each stream ended
	reading chan struct{} // has one for each upload that has begun
}

func newPressLog() *pressLog {
	return &pressLog{next: make(chan string), ended: make(chan error, 100), reading: make(chan struct{}, 100)}
}

func (l *pressLog) objects() *objects.Implementation {
	return objects.Implement(presses, func(*objects.Tx) *press { return &press{l} }, objects.On(pressTurns, (*press).turns)).With(objects.Settings{Upload: 1 << 30})
}

func (p *press) turns(tx *objects.Tx, _ objects.None) (int, error) {
	n := turnsKey.Get(tx) + 1
	turnsKey.Set(tx, n)
	return n, nil
}

func (p *press) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	tx, log := objects.TxOf(r), p.log
	switch r.URL.Path {
	case "/lines": // server-sent events, as the test says
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, ":begin\n") // who does not hear of it fails
		tx.Stream(func(t *objects.Task, out io.Writer) error {
			defer func() { log.ended <- context.Cause(t) }()
			for {
				select {
				case line, more := <-log.next:
					if !more {
						return nil
					}
					if _, err := fmt.Fprintf(out, "data: %s\n\n", line); err != nil {
						return err
					}
				case <-t.Done():
					return t.Err()
				}
			}
		})
	case "/bytes": // so many
		n, err := strconv.ParseInt(r.URL.Query().Get("n"), 10, 64)
		if err != nil {
			tx.Refuse(err)
			return
		}
		tx.Stream(func(_ *objects.Task, out io.Writer) error {
			piece := make([]byte, 32<<10)
			for n > 0 {
				some, err := out.Write(piece[:min(n, int64(len(piece)))])
				log.written.Add(int64(some))
				if n -= int64(some); err != nil {
					log.ended <- err
					return err
				}
			}
			return nil
		})
	case "/upload": // is read, and its sum told
		length := r.ContentLength
		tx.Stream(func(_ *objects.Task, out io.Writer) error {
			log.reading <- struct{}{}
			sum := sha256.New()
			n, err := io.Copy(sum, r.Body)
			if err != nil {
				log.ended <- err
				return err
			}
			_, err = fmt.Fprintf(out, "%d of %d %s", n, length, hex.EncodeToString(sum.Sum(nil)))
			return err
		})
	case "/cut":
		tx.Stream(func(_ *objects.Task, out io.Writer) error {
			if _, err := io.WriteString(out, "half"); err != nil {
				return err
			}
			return objects.Errorf(objects.Conflict, "the press is jammed")
		})
	case "/read": // reads within the event
		data, err := io.ReadAll(r.Body)
		if err != nil {
			tx.Refuse(err)
			return
		}
		fmt.Fprint(w, len(data))
	}
}

// newPress returns a gateway, a host with presses behind it, and what they do.
func newPress(t *testing.T, on *substrate, change ...func(*gateway.Config)) (string, *pressLog) {
	t.Helper()
	log := newPressLog()
	calm := quick
	calm.TTL, calm.Margin = 10*time.Second, time.Second
	on.startHost(t, "h", "fra", calm, nil, log.objects(), objects.Implement("mute", objects.New[mute]))
	cfg := gateway.Config{
		Region: "fra", NATS: on.dial(t, nats.ReconnectBufSize(-1)), Nearby: on.near, Classes: []string{"press", "mute"}, Timing: calm, Log: testLog(t),
		Worker: func(r fiber.Router, env *gateway.Env) {
			env.Mount(r, "/press/:name", presses)
			env.Mount(r, "/mute/:name", "mute")
			r.Post("/turns/:name", gateway.Handle(env, pressTurns, gateway.Param("name")))
			r.Post("/own", func(c *fiber.Ctx) error { return c.SendString(fmt.Sprint(len(c.BodyRaw()))) })
		},
	}
	for _, f := range change {
		f(&cfg)
	}
	g, err := gateway.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	running(t, func(ctx context.Context) error { return g.Run(ctx, ln) })
	return "http://" + ln.Addr().String(), log
}

// mute is a class without uploads.
type mute struct{}

func (mute) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(w, r.Body) // whatever has come of it
}

func get(t *testing.T, url string) *http.Response {
	t.Helper()
	res, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

// onBoth is onAll without the cluster.
func onBoth(t *testing.T, test func(t *testing.T, on *substrate)) {
	t.Helper()
	t.Parallel()
	t.Run("R1", func(t *testing.T) { beside(t, waiters); test(t, single(t)) })
	t.Run("nearby", func(t *testing.T) { beside(t, waiters); test(t, together(t)) })
}

func TestAStreamIsReadWhileItIsWritten(t *testing.T) {
	onBoth(t, func(t *testing.T, on *substrate) {
		url, log := newPress(t, on)
		res := get(t, url+"/press/a/lines")
		if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" || res.Header.Get("Holdfast-Owner") == "" {
			t.Fatalf("%d %v", res.StatusCode, res.Header)
		}
		in := bufio.NewReader(res.Body)
		if line, err := in.ReadString('\n'); line != ":begin\n" {
			t.Fatalf("first %q, %v: what the event has written comes first", line, err)
		}
		for _, text := range []string{"one", "two", "three"} {
			log.next <- text
			line, err := in.ReadString('\n')
			if blank, _ := in.ReadString('\n'); line != "data: "+text+"\n" || blank != "\n" {
				t.Fatalf("%q, %v", line, err)
			}
			// The object serves others meanwhile.
			if status, _, body := request(t, "POST", url+"/turns/a", ""); status != 200 {
				t.Fatalf("a call beside the stream: %d %s", status, body)
			}
		}
		close(log.next)
		if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
			t.Fatalf("the end is %q, %v", rest, err)
		}
		t.Log("the stream has ended:", <-log.ended)
	})
}

func TestAReaderThatStopsCostsAWindowAndHoldsNobodyUp(t *testing.T) {
	onBoth(t, func(t *testing.T, on *substrate) {
		url, log := newPress(t, on)
		const size = 30 << 20
		res := get(t, fmt.Sprintf("%s/press/a/bytes?n=%d", url, size))
		last := int64(-1)
		await(t, "the stream waits for its reader", func() bool {
			for range 20 { // requests of others pass meanwhile
				if status, _, _ := request(t, "POST", url+"/turns/a", ""); status != 200 {
					t.Fatal("a call beside the stream failed")
				}
			}
			now := log.written.Load()
			still := now == last
			last = now
			return still && now > 0
		})
		if last > 16<<20 {
			t.Errorf("%d bytes were written for a reader that does not read", last)
		}
		n, err := io.Copy(io.Discard, res.Body)
		if n != size || err != nil {
			t.Errorf("read %d, %v", n, err)
		}
	})
}

func TestAClientThatLeavesEndsItsStream(t *testing.T) {
	onBoth(t, func(t *testing.T, on *substrate) {
		url, log := newPress(t, on)
		res := get(t, url+"/press/a/bytes?n=1000000000")
		if _, err := io.ReadFull(res.Body, make([]byte, 1000)); err != nil {
			t.Error(err)
		}
		res.Body.Close()
		if err := <-log.ended; err == nil {
			t.Error("the stream has ended well")
		}
		if status, _, body := request(t, "POST", url+"/turns/a", ""); status != 200 || body != "1" {
			t.Errorf("after that: %d %s", status, body)
		}
	})
}

func TestAStreamThatFailsIsCutAndNotEnded(t *testing.T) {
	onBoth(t, func(t *testing.T, on *substrate) {
		url, _ := newPress(t, on)
		text, err := io.ReadAll(get(t, url+"/press/a/cut").Body)
		if string(text) != "half" || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("read %q, %v, want half of it and no proper end", text, err)
		}
	})
}

func TestALargeBodyIsReadByItsStreamAlone(t *testing.T) {
	onBoth(t, func(t *testing.T, on *substrate) {
		url, log := newPress(t, on)
		body := make([]byte, 5<<20+17)
		rand.Read(body)
		sum := sha256.Sum256(body)
		send := func(path string, known bool) (int, string) {
			t.Helper()
			var in io.Reader = strings.NewReader(string(body))
			if !known {
				in = io.MultiReader(in) // in chunks
			}
			req, err := http.NewRequest("POST", url+path, in)
			if err != nil {
				t.Fatal(err)
			}
			res, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			text, err := io.ReadAll(res.Body)
			if err != nil {
				t.Errorf("%s: %v", path, err)
			}
			return res.StatusCode, string(text)
		}
		for _, known := range []bool{true, false} {
			length := int64(-1)
			if known {
				length = int64(len(body))
			}
			if status, text := send("/press/a/upload", known); status != 200 || text != fmt.Sprintf("%d of %d %x", len(body), length, sum) {
				t.Errorf("an upload (length known: %t) = %d %s", known, status, text)
			}
			<-log.reading
			for _, path := range []string{"/press/a/read", "/mute/a", "/own", "/turns/a"} {
				if status, text := send(path, known); status != http.StatusRequestEntityTooLarge || !strings.Contains(text, "too_large") {
					t.Errorf("%s (length known: %t) = %d %s", path, known, status, text)
				}
			}
		}
		// Small ones are there when the event begins, and a stream reads them as well.
		if status, _, text := request(t, "POST", url+"/press/a/read", "small"); status != 200 || text != "5" {
			t.Errorf("a small body = %d %s", status, text)
		}
		if status, _, text := request(t, "POST", url+"/press/a/upload", "small"); status != 200 || !strings.HasPrefix(text, "5 of 5 ") {
			t.Errorf("a small upload = %d %s", status, text)
		}
	})
}

func TestASlowSenderHoldsNoObject(t *testing.T) {
	beside(t, waiters)
	url, log := newPress(t, together(t))
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /press/a/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000000\r\n\r\nabc")
	<-log.reading // the event is over, and the body has not come
	if status, _, body := request(t, "POST", url+"/turns/a", ""); status != 200 || body != "1" {
		t.Errorf("beside a slow upload: %d %s", status, body)
	}
	conn.Close()
	if err := <-log.ended; err == nil {
		t.Error("an upload that broke off has ended well")
	}
}

func TestAProgramReadsAStream(t *testing.T) {
	beside(t, waiters)
	on := single(t)
	_, log := newPress(t, on)
	c, err := asking.New(on.dial(t, nats.ReconnectBufSize(-1)), asking.Config{Region: "fra"})
	if err != nil {
		t.Fatal(err)
	}
	fetch := func(ctx context.Context, path string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(ctx, "GET", "http://x"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := c.Object(presses, "a").Fetch(req)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	res := fetch(t.Context(), "/bytes?n=3000000")
	if n, err := io.Copy(io.Discard, res.Body); n != 3000000 || err != nil {
		t.Errorf("read %d, %v", n, err)
	}
	res.Body.Close()
	res = fetch(t.Context(), "/cut")
	if text, err := io.ReadAll(res.Body); string(text) != "half" || err == nil || !strings.Contains(err.Error(), "jammed") {
		t.Errorf("a cut stream is %q, %v", text, err)
	}
	res.Body.Close()
	ctx, cancel := context.WithCancel(t.Context())
	res = fetch(ctx, "/lines")
	defer res.Body.Close()
	cancel() // as with net/http, the response ends with the request's context
	if err := <-log.ended; err == nil {
		t.Error("the stream goes on")
	}
}

func TestAClientThatCannotTakeAStreamIsRefused(t *testing.T) {
	beside(t, waiters)
	url, _ := newPress(t, together(t), func(cfg *gateway.Config) { cfg.Limits.Streams = 1 })
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /press/a/bytes?n=3 HTTP/1.0\r\nHost: localhost\r\n\r\n")
	if answer, _ := io.ReadAll(conn); !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") && !strings.HasPrefix(string(answer), "HTTP/1.0 400 ") {
		t.Errorf("HTTP/1.0 = %q", answer)
	}
	get(t, url+"/press/a/lines")
	if status, _, body := request(t, "GET", url+"/press/a/bytes?n=3", ""); status != http.StatusServiceUnavailable || !strings.Contains(body, "overloaded") {
		t.Errorf("one stream too many = %d %s", status, body)
	}
	if status, _, _ := request(t, "HEAD", url+"/press/a/lines", ""); status != 200 {
		t.Errorf("HEAD = %d", status)
	}
}
