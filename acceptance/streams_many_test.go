package acceptance

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Ten uploads, ten downloads, a reader that stops and one that leaves, at one object: all are whole, what is live is a window each, and
// the object answers others meanwhile. STREAM_MB is the size of each, 8 MB by default. Garbage is not counted: when it is collected is
// a matter of chance. All of it is one process here, the NATS server and the clients too.
func TestManyStreamsTakeAWindowEach(t *testing.T) {
	on := together(t)
	url, log := newPress(t, on)
	mb := 8
	if v, err := strconv.Atoi(os.Getenv("STREAM_MB")); err == nil {
		mb = v
	}
	size := int64(mb) << 20
	patient := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(patient.CloseIdleConnections)

	stopped := get(t, fmt.Sprintf("%s/press/a/bytes?n=%d", url, 1<<40)) // nobody reads it, until it is closed
	leaves := get(t, fmt.Sprintf("%s/press/a/bytes?n=%d", url, 1<<40))
	if status, _, _ := request(t, "POST", url+"/turns/a", ""); status != 200 {
		t.Fatal(status)
	}
	before, _ := memory()
	most := 0
	var running sync.WaitGroup
	began := time.Now()
	for range 10 {
		running.Go(func() {
			res, err := patient.Get(fmt.Sprintf("%s/press/a/bytes?n=%d", url, size))
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			if n, err := io.Copy(io.Discard, res.Body); n != size || err != nil {
				t.Errorf("downloaded %d, %v", n, err)
			}
		})
		running.Go(func() {
			res, err := patient.Post(url+"/press/a/upload", "", io.LimitReader(zeros{}, size))
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			text, err := io.ReadAll(res.Body)
			if err != nil || !bytes.HasPrefix(text, fmt.Appendf(nil, "%d of ", size)) {
				t.Errorf("uploaded: %s, %v", text, err)
			}
		})
	}
	done := make(chan struct{})
	go func() { running.Wait(); close(done) }()
	if _, err := io.ReadFull(leaves.Body, make([]byte, 1000)); err != nil {
		t.Error(err)
	}
	leaves.Body.Close()
	var slowest time.Duration
	for over := false; !over; {
		select {
		case <-done:
			over = true
		default:
			asked := time.Now()
			if status, _, text := request(t, "POST", url+"/turns/a", ""); status != 200 {
				t.Errorf("beside the streams: %d %s", status, text)
			}
			slowest = max(slowest, time.Since(asked))
			live, _ := memory()
			most = max(most, live)
		}
	}
	stopped.Body.Close()
	t.Logf("20 streams of %d MB in %v: %d MB live, the slowest call beside them %v", mb, time.Since(began).Round(time.Millisecond), (most-before)>>20, slowest.Round(time.Millisecond))
	if most-before > 64<<20 {
		t.Errorf("%d MB more are live for 22 streams", (most-before)>>20)
	}
	for range 2 { // the two that nobody reads have ended
		t.Log("a stream has ended:", <-log.ended)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }
