//go:build unix

package acceptance

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"holdfast/chaos/seats"
	"holdfast/examples/demo"
	"holdfast/gateway"
	"holdfast/objects"
)

// sitters are clients in halls, under node or in a page.
type sitters struct {
	name   string
	count  int
	report func() (sat, error)
	who    func()
}

// sat is the report of sitters.
type sat struct{ Open, Missed, Doubled, Gaps, Changed, Got, Behind, P99 int }

// hallDoor starts a gateway with halls, and with the files of their clients.
func (on *substrate) hallDoor(t *testing.T, ln net.Listener, all ...string) *lastingDoor {
	t.Helper()
	d := new(lastingDoor)
	nc := on.dial(t)
	g, err := gateway.New(gateway.Config{
		Region: "fra", NATS: nc, Classes: []string{string(seats.Seats)}, Timing: steady, Log: testLog(t), Origins: all,
		Worker: func(r fiber.Router, env *gateway.Env) {
			d.env = env
			env.ServeClient(r, "/clients/js")
			r.Get("/chaos/seats.mjs", func(c *fiber.Ctx) error {
				module, err := os.ReadFile(filepath.Join("..", "chaos", "seats.mjs"))
				if err != nil {
					return err
				}
				return c.Type("js").Send(module)
			})
			r.Get("/blank", func(c *fiber.Ctx) error {
				return c.Type("html").SendString(`<!doctype html><link rel="icon" href="data:,"><title>seats</title>`)
			})
			r.Get("/seat/:name", func(c *fiber.Ctx) error { return env.Forward(c, env.Object(seats.Seats, c.Params("name")), "/") })
			demo.Worker(r, env)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	d.door = &door{running(t, func(ctx context.Context) error { return g.Run(ctx, ln) }), g, "http://" + ln.Addr().String()}
	await(t, "the gateway is ready", func() bool {
		status, _, _, err := try("GET", d.url+"/readyz", "")
		return err == nil && status == http.StatusOK
	})
	return d
}

// Every gateway and every host is restarted under clients of the JavaScript client, in node and in Chromium. The large form, which
// kills them, too, is go run ./chaos comeback.
func TestClientsThatComeBackMissNothing(t *testing.T) {
	beside(t, waiters)
	on := single(t)
	startHost := func(name string) member {
		return on.startHost(t, name, "fra", steady, nil, seats.Objects(5*time.Minute))
	}
	hosts := []member{startHost("one")}
	listeners := []net.Listener{listenToStay(t), listenToStay(t)}
	var urls []string
	for _, ln := range listeners {
		urls = append(urls, "http://"+ln.Addr().String())
	}
	var doors []*lastingDoor
	for _, ln := range listeners {
		doors = append(doors, on.hallDoor(t, ln, urls...))
	}
	objs := on.hallCaller(t)
	config := func(clients int) string {
		data, err := json.Marshal(map[string]any{"urls": []string{strings.Replace(urls[0], "http", "ws", 1), strings.Replace(urls[1], "http", "ws", 1)}, "rooms": 2, "clients": clients})
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	all := []*sitters{nodeSitters(t, 30, config(30))}
	ctx, quiet := context.WithCancel(t.Context())
	var speaking sync.WaitGroup
	defer speaking.Wait()
	defer quiet()
	for room := range 2 {
		speaking.Go(func() { speakInHall(ctx, objs.Object(seats.Seats, fmt.Sprint("room-", room))) })
	}
	settled := func(what string) {
		t.Helper()
		for _, s := range all {
			var last sat
			before := 0
			await(t, what+": all of "+s.name+" are there and hear something", func() bool {
				now, err := s.report()
				if err != nil {
					t.Fatal(err)
				}
				last = now
				if before == 0 && now.Open == s.count {
					before = now.Got + s.count // everybody hears one more
				}
				return now.Open == s.count && now.Got > before && before > 0
			})
			if last.Missed+last.Doubled+last.Gaps+last.Changed > 0 {
				t.Fatalf("%s: %s: %+v", what, s.name, last)
			}
			s.who()
			t.Logf("%s: %s: %+v", what, s.name, last)
		}
	}
	settled("at first")
	all = append(all, pageSitters(t, urls, 10, config(10)))
	settled("with a page")
	for i, d := range doors {
		d.stop()
		doors[i] = on.hallDoor(t, listen(t, strings.TrimPrefix(urls[i], "http://")), urls...)
		settled(fmt.Sprint("gateway ", i+1, " restarted"))
	}
	for i, name := range []string{"two", "three"} {
		hosts = append(hosts, startHost(name))
		hosts[i].stop()
		settled("host " + name + " took over")
	}
}

// speakInHall makes a hall send numbers until ctx ends.
func speakInHall(ctx context.Context, hall objects.Ref) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for ctx.Err() == nil {
			if _, err := seats.Next.Do(objects.WithIdempotencyKey(ctx, hall.Name()+strconv.Itoa(i)), hall, nil); err == nil {
				break
			}
		}
	}
}

// nodeSitters are clients under node.
func nodeSitters(t *testing.T, count int, config string) *sitters {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		missing(t, "node", "apt-get install nodejs")
	}
	cmd := exec.Command(node, "--experimental-websocket", "--no-warnings", filepath.Join("..", "chaos", "seats.mjs"), config)
	keys, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p, read := start(t, "node", cmd), 0
	tell := func(word string) {
		if _, err := io.WriteString(keys, word+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	return &sitters{"node", count, func() (s sat, err error) {
		tell("report")
		await(t, "node reports", func() bool { return strings.Count(p.stdout.String(), "\n") > read })
		err = json.Unmarshal([]byte(strings.Split(p.stdout.String(), "\n")[read]), &s)
		read++
		return s, err
	}, func() { tell("who") }}
}

// pageSitters are clients in a page.
func pageSitters(t *testing.T, urls []string, count int, config string) *sitters {
	t.Helper()
	page := openTab(t, startBrowser(t), urls[0]+"/blank")
	page.home, page.also = urls[0], urls
	page.excuse("WebSocket") // to a gateway that is restarting
	page.until("the clients are there", `(window.asked ??= import("/chaos/seats.mjs").then((m) => (window.room = m.sit(`+config+`))), window.room !== undefined)`)
	return &sitters{"page", count, func() (s sat, err error) {
		return tryEval[sat](page, "room.report()")
	}, func() { eval[bool](page, "(room.who(), true)") }}
}

// hallCaller asks halls without a gateway that stops.
func (on *substrate) hallCaller(t *testing.T) objects.Caller {
	t.Helper()
	return on.hallDoor(t, listen(t, "127.0.0.1:0")).env
}
