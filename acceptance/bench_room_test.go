package acceptance

import (
	"errors"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/fasthttp/websocket"
	fiberws "github.com/gofiber/contrib/websocket"
	"github.com/gofiber/fiber/v2"
)

// BenchmarkRoom has a hundred people in one room, of whom one after the other
// sends a message to all others: in a room that is an object, owned once and
// reached through NATS, and in one that is a hundred sockets and a mutex in one
// process, which is what a room costs at the least.
func BenchmarkRoom(b *testing.B) {
	b.Run("object", func(b *testing.B) {
		on := single(b)
		on.startHost(b, "a", "fra", steady, nil)
		relay(b, on.startGateway(b, "fra", steady).url+"/room/bench")
	})
	b.Run("bare", func(b *testing.B) { relay(b, bareRoom(b)) })
}

const (
	people  = 100
	talking = 32 // frames under way at a time
)

// relay measures frames, each from one person to all others.
func relay(b *testing.B, url string) {
	conns := make([]*websocket.Conn, people)
	var said sync.WaitGroup // frames that not everybody has heard
	slots := make(chan struct{}, talking)
	var mu sync.Mutex
	heard := 0
	for i := range conns {
		conn, _, err := websocket.DefaultDialer.Dial(strings.Replace(url, "http", "ws", 1), nil)
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		conns[i] = conn
	}
	var readers sync.WaitGroup
	for _, conn := range conns {
		readers.Go(func() {
			for {
				_, data, err := conn.ReadMessage()
				if err != nil {
					return
				}
				if !strings.Contains(string(data), `"cursor"`) {
					continue // a greeting
				}
				mu.Lock()
				if heard++; heard%(people-1) == 0 {
					<-slots
					said.Done()
				}
				mu.Unlock()
			}
		})
	}
	frame := []byte(`{"type":"cursor","x":5000,"y":5000}`)
	next := 0
	for b.Loop() {
		slots <- struct{}{}
		said.Add(1)
		if err := conns[next%people].WriteMessage(websocket.TextMessage, frame); err != nil {
			b.Fatal(err)
		}
		next++
	}
	said.Wait()
	b.ReportMetric(float64(next)*(people-1)/b.Elapsed().Seconds(), "deliveries/s")
	for _, conn := range conns {
		conn.Close()
	}
	readers.Wait()
}

// bareRoom returns a room without an owner, a name, or a memory.
func bareRoom(b *testing.B) string {
	var mu sync.Mutex
	members := make(map[*websocket.Conn]chan *websocket.PreparedMessage)
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Get("/room", fiberws.New(func(c *fiberws.Conn) {
		conn, queue := c.Conn, make(chan *websocket.PreparedMessage, 512)
		mu.Lock()
		members[conn] = queue
		mu.Unlock()
		var writer sync.WaitGroup
		writer.Go(func() {
			for m := range queue {
				if conn.WritePreparedMessage(m) != nil {
					return
				}
			}
		})
		for {
			kind, data, err := conn.ReadMessage()
			if err != nil {
				break
			}
			m, err := websocket.NewPreparedMessage(kind, data)
			if err != nil {
				break
			}
			mu.Lock()
			for other, to := range members {
				if other != conn {
					to <- m
				}
			}
			mu.Unlock()
		}
		mu.Lock()
		delete(members, conn)
		close(queue)
		mu.Unlock()
		writer.Wait()
	}))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- app.Listener(ln) }()
	b.Cleanup(func() {
		if err := errors.Join(app.Shutdown(), <-done); err != nil {
			b.Error(err)
		}
	})
	return "http://" + ln.Addr().String() + "/room"
}
