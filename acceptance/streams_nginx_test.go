package acceptance

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/internal/wire"
)

// behindNginx returns a gateway's address behind a real nginx, which is set up as docs/deploy.md says.
func behindNginx(t *testing.T, gateway string) string {
	t.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil {
		missing(t, "nginx", "apt-get install nginx-light")
	}
	page, err := os.ReadFile("../docs/deploy.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(page), "```nginx\n")
	location, _, whole := strings.Cut(after, "```")
	if !whole || !strings.Contains(location, "http://127.0.0.1:8080") {
		t.Fatal("docs/deploy.md has no configuration of nginx")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	front := ln.Addr().String()
	ln.Close()
	dir := t.TempDir()
	config := fmt.Sprintf(`daemon off; master_process off; pid %[1]s/pid; error_log stderr warn;
events {}
http {
  access_log off;
  client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  map $http_upgrade $connection_upgrade { default upgrade; "" close; }
  server { listen %[2]s; %[3]s }
}
`, dir, front, strings.ReplaceAll(location, "http://127.0.0.1:8080", gateway))
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	nginx := exec.Command(program, "-p", dir, "-c", file)
	nginx.Stderr = t.Output()
	if err := nginx.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		_ = nginx.Process.Kill() // it may have ended
		_ = nginx.Wait()         // it was killed
	})
	await(t, "nginx answers", func() bool {
		res, err := http.Get("http://" + front + "/healthz")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return "http://" + front
}

func TestStreamsPassNginx(t *testing.T) {
	beside(t, waiters)
	url, log := newPress(t, single(t))
	url = behindNginx(t, url)

	res := get(t, url+"/press/a/lines") // server-sent events, each as it comes
	in := bufio.NewReader(res.Body)
	if line, err := in.ReadString('\n'); line != ":begin\n" {
		t.Fatalf("%q, %v", line, err)
	}
	for _, text := range []string{"one", "two"} {
		log.next <- text
		if line, err := in.ReadString('\n'); line != "data: "+text+"\n" {
			t.Fatalf("%q, %v", line, err)
		}
		if line, err := in.ReadString('\n'); line != "\n" {
			t.Fatalf("%q, %v", line, err)
		}
	}

	const size = 20 << 20 // a download, and an upload that is larger than the gateway reads before an event
	if n, err := io.Copy(io.Discard, get(t, fmt.Sprintf("%s/press/b/bytes?n=%d", url, size)).Body); n != size || err != nil {
		t.Errorf("downloaded %d, %v", n, err)
	}
	if status, _, text := request(t, "POST", url+"/press/b/upload", strings.Repeat("x", 3<<20)); status != 200 || !strings.HasPrefix(text, fmt.Sprintf("%d of %[1]d ", 3<<20)) {
		t.Errorf("an upload: %d %s", status, text)
	}

	<-log.reading
	rest, sends := io.Pipe() // an upload most of which comes when its stream has begun to read
	go func() {
		if _, err := sends.Write(make([]byte, 1<<20)); err == nil {
			<-log.reading
			_, err = sends.Write(make([]byte, size))
			sends.CloseWithError(err) // nil: that was all
		}
	}()
	slow, err := http.Post(url+"/press/b/upload", "", rest)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Body.Close()
	if text, err := io.ReadAll(slow.Body); !strings.HasPrefix(string(text), fmt.Sprintf("%d of -1 ", size+1<<20)) || err != nil {
		t.Errorf("an upload that goes on: %s, %v", text, err)
	}

	res.Body.Close() // the client of the events leaves: nginx does too, and the next event notices
	for gone := false; !gone; {
		select {
		case log.next <- "for nobody":
		case err := <-log.ended:
			gone = err != nil
		}
	}
}

// Five events at an interval, from the gateway and through nginx at once. STREAM_EVERY is the interval, 300 ms by default; with a
// minute it is what the gateway's comments are for, one of which comes every 15 s.
func TestEventsThatAreFarApartArrive(t *testing.T) {
	beside(t, waiters)
	every := 300 * time.Millisecond
	if d, err := time.ParseDuration(os.Getenv("STREAM_EVERY")); err == nil {
		every = d
	}
	url, log := newPress(t, single(t))
	patient := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(patient.CloseIdleConnections)
	readers := []*bufio.Reader{}
	for _, front := range []string{url, behindNginx(t, url)} {
		res, err := patient.Get(front + "/press/a/lines")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close() })
		in := bufio.NewReader(res.Body)
		if line, err := in.ReadString('\n'); line != ":begin\n" {
			t.Fatalf("%q, %v", line, err)
		}
		readers = append(readers, in)
	}
	const events = 5
	began := time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	var sent sync.WaitGroup
	sent.Go(func() {
		for range events * len(readers) { // each stream takes the next text
			if !wire.Pause(ctx, every/time.Duration(len(readers))) {
				return
			}
			select {
			case log.next <- "tick":
			case <-ctx.Done():
				return
			}
		}
		close(log.next)
	})
	defer sent.Wait()
	defer cancel()
	got, comments := 0, 0
	for _, in := range readers {
		for {
			line, err := in.ReadString('\n')
			if err == io.EOF {
				break
			}
			switch {
			case err != nil:
				t.Fatalf("after %v: %v", time.Since(began).Round(time.Millisecond), err)
			case line == "data: tick\n":
				got++
			case strings.HasPrefix(line, ":"):
				comments++
			case line != "\n":
				t.Fatalf("%q", line)
			}
		}
	}
	t.Logf("%d events, one every %v for %v, %d comments between them", got, every, time.Since(began).Round(time.Second), comments)
	if got != events*len(readers) {
		t.Errorf("%d events came, want %d", got, events*len(readers))
	}
}
