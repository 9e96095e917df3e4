package acceptance

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// peak returns how many bytes of a process have been in memory at once.
func peak(t *testing.T, p *process) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var kb int64
	for line := range strings.Lines(string(status)) {
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kb); n == 1 {
			return kb << 10
		}
	}
	t.Fatal("the system does not tell how much memory a process has had")
	return 0
}

// Ten uploads and ten downloads at one object, a reader that stops until they are done, and one that leaves: the gateway and the host,
// each a process that has just started, grow by less than 32 MB, also behind nginx. STREAM_MB is the size of each, 8 MB by default;
// STREAM_STOP is how long the reader stops at the least. Both programs are built without the race detector, which takes memory of its own.
func TestStreamsGrowAGatewayAndAHostByLittle(t *testing.T) {
	beside(t, waiters)
	binary := filepath.Join(t.TempDir(), "streams")
	if out, err := exec.Command("go", "build", "-ldflags=-w", "-o", binary, "./testdata/streams").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	size := int64(8)
	if v, err := strconv.ParseInt(os.Getenv("STREAM_MB"), 10, 64); err == nil {
		size = v
	}
	direct := func(_ *testing.T, url string) string { return url }
	t.Run("direct", func(t *testing.T) { streamsGrowLittle(t, binary, direct, size<<20) })
	t.Run("behind nginx", func(t *testing.T) { streamsGrowLittle(t, binary, behindNginx, size<<20) })
	t.Run("none of them large", func(t *testing.T) { streamsGrowLittle(t, binary, direct, 1000<<10) })
}

func streamsGrowLittle(t *testing.T, binary string, front func(t *testing.T, url string) string, size int64) {
	allowed := int64(32 << 20)
	if os.Getenv("STREAM_MB") == "" {
		allowed = 40 << 20 // when memory is collected is a matter of chance, and small streams are over soon
	}
	stop, _ := time.ParseDuration(os.Getenv("STREAM_STOP")) // 0 without one
	f := newFleet(t)
	var said struct{ URL string }
	host := runs(t, &said, exec.Command(binary, "host", "--json", "--region", "fra", "--nats", f.nats, "--rtt", "0"))
	gateway := runs(t, &said, exec.Command(binary, "gateway", "--json", "--region", "fra", "--nats", f.nats, "--rtt", "0", "--listen", "127.0.0.1:0"))
	url := front(t, said.URL)
	await(t, "the object answers", func() bool {
		status, _, _, err := try("POST", url+"/turns/a", "")
		return err == nil && status == 200
	})
	patient := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(patient.CloseIdleConnections)
	ask := func(method string, n int64) (*http.Response, error) {
		var body io.Reader
		if method != "GET" {
			body = io.LimitReader(zeros{}, n)
		}
		req, err := http.NewRequestWithContext(t.Context(), method, fmt.Sprintf("%s/press/a/?n=%d", url, n), body)
		if err != nil {
			return nil, err
		}
		return patient.Do(req)
	}
	hostBefore, gatewayBefore := peak(t, host), peak(t, gateway)

	began := time.Now()
	stopped, err := ask("GET", size)
	if err != nil {
		t.Fatal(err)
	}
	defer stopped.Body.Close()
	leaves, err := ask("GET", 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(leaves.Body, make([]byte, 1000)); err != nil {
		t.Error(err)
	}
	leaves.Body.Close()
	var running sync.WaitGroup
	for range 10 {
		running.Go(func() {
			res, err := ask("GET", size)
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
			res, err := ask("POST", size)
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			if text, err := io.ReadAll(res.Body); string(text) != fmt.Sprint(size) || err != nil {
				t.Errorf("uploaded: %s, %v", text, err)
			}
		})
	}
	done := make(chan struct{})
	go func() { running.Wait(); close(done) }()
	var slowest time.Duration
	for over := false; !over || time.Since(began) < stop; {
		select {
		case <-done:
			over = true
		default:
		}
		asked := time.Now()
		if status, _, text := request(t, "POST", url+"/turns/a", ""); status != 200 {
			t.Errorf("beside the streams: %d %s", status, text)
		}
		slowest = max(slowest, time.Since(asked))
	}
	took := time.Since(began)
	if n, err := io.Copy(io.Discard, stopped.Body); n != size || err != nil {
		t.Errorf("the reader that stopped read %d, %v", n, err)
	}
	hostMost, gatewayMost := peak(t, host), peak(t, gateway)
	t.Logf("20 streams of %d KB in %v, the slowest call beside them %v: the host grew from %d to %d MB, the gateway from %d to %d MB", size>>10,
		took.Round(time.Millisecond), slowest.Round(time.Millisecond), hostBefore>>20, hostMost>>20, gatewayBefore>>20, gatewayMost>>20)
	if hostMost-hostBefore > allowed || gatewayMost-gatewayBefore > allowed {
		t.Errorf("grown by more than %d MB", allowed>>20)
	}
}
