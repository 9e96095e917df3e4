package load

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
)

// serve returns a target that a handler answers.
func serve(t *testing.T, handler http.HandlerFunc) Target {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	target, err := TargetOf(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// some returns a load of so many requests.
func some(most int) Requests {
	r := tickets(time.Hour)
	r.Most = most
	return r
}

func tickets(duration time.Duration) Requests {
	return Requests{Path: "/ticket/{name}", Names: 1, Connections: 4, Duration: duration, Tickets: true}
}

func TestATicketThatIsGivenTwiceIsFound(t *testing.T) {
	var n atomic.Int64
	for give, want := range map[string]bool{"each once": false, "each twice": true} {
		target := serve(t, func(w http.ResponseWriter, r *http.Request) {
			ticket := n.Add(1)
			if give == "each twice" {
				ticket /= 2
			}
			fmt.Fprintf(w, `{"ticket":%d}`, ticket)
		})
		got, err := some(100).Run(t.Context(), target)
		if err != nil || got.Requests == 0 || got.Failed > 0 || (got.Duplicates > 0) != want {
			t.Errorf("%s: %+v, %v", give, got, err)
		}
	}
}

func TestNoMoreRequestsAreMadeThanTheMost(t *testing.T) {
	var n atomic.Int64
	target := serve(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, `{"ticket":%d}`, n.Add(1)) })
	if got, err := some(10).Run(t.Context(), target); err != nil || got.Requests != 10 || n.Load() != 10 {
		t.Errorf("%d asked, %+v, %v; want 10", n.Load(), got, err)
	}
}

func TestWhatIsRefusedIsNotWhatFailed(t *testing.T) {
	var n atomic.Int64
	target := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch n.Add(1) % 3 {
		case 0:
			http.Error(w, "overloaded", http.StatusServiceUnavailable)
		case 1:
			http.Error(w, "broken", http.StatusInternalServerError)
		default:
			fmt.Fprintf(w, `{"ticket":%d}`, n.Load())
		}
	})
	got, err := some(100).Run(t.Context(), target)
	if err != nil || got.Requests == 0 || got.Refused == 0 || got.Failed == 0 || !strings.Contains(got.Failure, "500") {
		t.Errorf("got %+v, %v, want some of each", got, err)
	}
}

func TestNobodyWhoAnswersIsAnError(t *testing.T) {
	target := serve(t, http.NotFound)
	if _, err := some(10).Run(t.Context(), target); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("err = %v, want one that says 404", err)
	}
}

func TestAnAnswerThatDoesNotEndIsNotReadIntoMemory(t *testing.T) {
	for name, length := range map[string]string{"endless": "", "of a length that no memory has": "900000000000"} {
		target := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if length != "" {
				w.Header().Set("Content-Length", length)
			}
			part := make([]byte, 64<<10)
			for {
				if _, err := w.Write(part); err != nil {
					return
				}
			}
		})
		if _, err := some(2).Run(t.Context(), target); err == nil || !strings.Contains(err.Error(), "an answer has more than 65536 bytes") {
			t.Errorf("an answer %s: %v", name, err)
		}
	}
}

func TestAnEchoMustSayTheSame(t *testing.T) {
	target := serve(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "something else") })
	load := Requests{Path: "/echo/{name}", Names: 1, Body: []byte("words"), Connections: 1, Duration: time.Hour, Most: 10}
	if _, err := load.Run(t.Context(), target); err == nil || !strings.Contains(err.Error(), "something else") {
		t.Errorf("err = %v, want one that says what was said", err)
	}
}

// A request that is due while all connections wait is late from when it was due.
func TestAWaitCountsFromWhenARequestWasDue(t *testing.T) {
	release := make(chan struct{})
	var n atomic.Int64
	target := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 1 {
			<-release
		}
		fmt.Fprintf(w, `{"ticket":%d}`, n.Load())
	})
	load := tickets(100 * time.Millisecond)
	load.Connections, load.Rate = 1, 1000
	time.AfterFunc(load.Duration, func() { close(release) })
	got, err := load.Run(t.Context(), target)
	if err != nil || got.Requests != 100 || got.P50 < (load.Duration/4).Microseconds() {
		t.Errorf("got %+v, %v, want all 100, half of them late by much of the stall", got, err)
	}
}

// relay returns a room in which all hear what one says, but for every n-th message.
func relay(t *testing.T, lose int64) Target {
	t.Helper()
	var mu sync.Mutex
	members := make(map[*websocket.Conn]bool)
	var said int64
	upgrader := websocket.Upgrader{}
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		mu.Lock()
		members[conn] = true
		mu.Unlock()
		for {
			kind, data, err := conn.ReadMessage()
			mu.Lock()
			if err != nil {
				delete(members, conn)
				mu.Unlock()
				return
			}
			said++
			for other := range members {
				if other != conn && (lose == 0 || said%lose != 0) {
					_ = other.WriteMessage(kind, data) // its reader sees it
				}
			}
			mu.Unlock()
		}
	})
}

func TestEveryDeliveryIsCounted(t *testing.T) {
	room := Room{Path: "/room/{name}", Sockets: 5, Senders: 2, Rate: 200, Size: 64, Duration: 200 * time.Millisecond}
	got, err := room.Run(t.Context(), relay(t, 0))
	if err != nil || got.Sent == 0 || got.Due != 4*got.Sent || got.Delivered != got.Due || got.Closed != 0 {
		t.Errorf("got %+v, %v, want 4 deliveries of each message", got, err)
	}
	got, err = room.Run(t.Context(), relay(t, 2))
	if err != nil || got.Delivered != got.Due/2 {
		t.Errorf("got %+v, %v, want half of what was due", got, err)
	}
}
