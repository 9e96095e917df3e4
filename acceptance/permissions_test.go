package acceptance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/gofiber/fiber/v2"
	"github.com/nats-io/nats.go"

	"holdfast/app"
	"holdfast/embedded"
	"holdfast/examples/demo"
	"holdfast/examples/room"
	"holdfast/examples/ticket"
	"holdfast/gateway"
	"holdfast/internal/bucket"
	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host"
)

// users starts a server with the users that `nats permissions` prints, and returns how to connect as one of them. What
// a user may not do fails the test.
func users(t *testing.T) (as func(user string) *nats.Conn) {
	t.Helper()
	var out, errs bytes.Buffer
	if code := app.Run(t.Context(), app.Config{}, []string{"nats", "permissions", "--foil", "--json"}, &out, &errs); code != 0 {
		t.Fatalf("nats permissions = %d %s%s", code, &out, &errs)
	}
	var said struct {
		Users []struct {
			User               string
			Publish, Subscribe []string
		}
	}
	if err := json.Unmarshal(out.Bytes(), &said); err != nil {
		t.Fatal(err)
	}
	cfg := embedded.Config{Store: t.TempDir(), Port: -1, Log: testLog(t)}
	for _, u := range said.Users {
		cfg.Users = append(cfg.Users, embedded.User{Name: u.User, Password: u.User, Publish: u.Publish, Subscribe: u.Subscribe})
	}
	s, err := embedded.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return func(user string) *nats.Conn {
		t.Helper()
		return dialed(t)(nats.Connect(s.URL(), nats.UserInfo(user, user), nats.ReconnectBufSize(-1), nats.CustomInboxPrefix(wire.InboxPrefix+user+".r"),
			nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
				if errors.Is(err, nats.ErrPermissionViolation) || strings.Contains(strings.ToLower(err.Error()), "permission") {
					t.Errorf("as %s: %v", user, err)
				}
			})))
	}
}

// sleeper has an alarm, and asks another object.
type sleeper struct{}

const sleepers objects.Class = "sleeper"

var (
	rang      = objects.NewKey[int]("rang")
	snooze    = objects.NewCall[objects.None, objects.None](sleepers, "snooze")
	later     = objects.NewCall[objects.None, objects.None](sleepers, "later")
	never     = objects.NewCall[objects.None, objects.None](sleepers, "never")
	rings     = objects.NewCall[objects.None, int](sleepers, "rings")
	sleepersO = objects.Implement(sleepers, objects.New[sleeper],
		objects.On(snooze, func(_ *sleeper, tx *objects.Tx, _ objects.None) (objects.None, error) {
			tx.SetAlarm(tx.Now().Add(100 * time.Millisecond))
			return nil, nil
		}),
		objects.On(later, func(_ *sleeper, tx *objects.Tx, _ objects.None) (objects.None, error) {
			tx.SetAlarm(tx.Now().Add(time.Hour))
			return nil, nil
		}),
		objects.On(never, func(_ *sleeper, tx *objects.Tx, _ objects.None) (objects.None, error) {
			tx.DeleteAlarm()
			return nil, nil
		}),
		objects.On(rings, func(_ *sleeper, tx *objects.Tx, _ objects.None) (int, error) { return rang.Get(tx), nil }))
)

func (*sleeper) Alarm(tx *objects.Tx, _ objects.AlarmInfo) error {
	rang.Set(tx, rang.Get(tx)+1)
	return nil
}

// Everything works with the permissions of the product's NATS users.
func TestEverythingWorksWithTheUsersOfNATS(t *testing.T) {
	beside(t, waiters)
	as := users(t)
	implementations := []*objects.Implementation{ticket.Objects, room.Objects, sleepersO}
	startHost := func(name string) member {
		t.Helper()
		h, err := host.New(t.Context(), host.Config{Name: name, Region: "fra", Serve: as("host"), State: as("state"), Objects: implementations, Timing: steady, Log: testLog(t)})
		if err != nil {
			t.Fatal(err)
		}
		return runningHost(t, h)
	}
	first := startHost("a")
	g, err := gateway.New(gateway.Config{
		Region: "fra", NATS: as("gateway"), Classes: []string{"ticket", "room", "sleeper"}, Timing: steady, Log: testLog(t),
		Worker: func(r fiber.Router, env *gateway.Env) {
			demo.Worker(r, env)
			r.Post("/snooze/:name", gateway.Handle(env, snooze, gateway.Param("name")))
			r.Post("/later/:name", gateway.Handle(env, later, gateway.Param("name")))
			r.Post("/never/:name", gateway.Handle(env, never, gateway.Param("name")))
			r.Get("/rings/:name", gateway.Handle(env, rings, gateway.Param("name")))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	running(t, func(ctx context.Context) error { return g.Run(ctx, ln) })
	url := "http://" + ln.Addr().String()
	await(t, "the gateway is ready", func() bool {
		status, _, _, err := try("GET", url+"/readyz", "")
		return err == nil && status == http.StatusOK
	})
	for _, row := range [][3]string{
		{"POST", "/ticket/x", ""}, {"GET", "/ticket/x", ""}, {"POST", "/naive/x?gap=0s", ""}, {"GET", "/naive/x", ""}, {"DELETE", "/naive/x", ""}, {"POST", "/cas/x", ""}, {"GET", "/cas/x", ""}, {"DELETE", "/cas/x", ""},
		{"POST", "/race/x", `{"n":3,"gap":"0s"}`}, {"POST", "/snooze/x", ""}, {"POST", "/later/y", ""},
	} {
		if status, _, body := request(t, row[0], url+row[1], row[2]); status >= 300 {
			t.Errorf("%s %s = %d %s", row[0], row[1], status, body)
		}
	}
	await(t, "the alarm rings", func() bool {
		_, _, body := request(t, "GET", url+"/rings/x", "")
		return body == "1"
	})
	js, err := as("admin").JetStream()
	if err != nil {
		t.Fatal(err)
	}
	wakeUps := func() int {
		t.Helper()
		info, err := js.StreamInfo("HF_ALARMS", &nats.StreamInfoRequest{SubjectsFilter: "hf.alarm.at.sleeper.>"})
		if err != nil {
			t.Fatal(err)
		}
		return len(info.State.Subjects)
	}
	await(t, "the alarm that is to ring in an hour is kept alone", func() bool { return wakeUps() == 1 })
	if status, _, body := request(t, "POST", url+"/never/y", ""); status >= 300 {
		t.Errorf("POST /never/y = %d %s", status, body)
	}
	await(t, "the alarm that is not to ring is taken back", func() bool { return wakeUps() == 0 })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	socket, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(url, "http")+"/room/lobby", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.CloseNow()
	if _, _, err := socket.Read(ctx); err != nil { // the room's greeting
		t.Fatal(err)
	}
	startHost("b")
	first.stop() // objects and sockets move
	await(t, "the other host counts on", func() bool {
		status, _, body, err := try("POST", url+"/ticket/x", "")
		return err == nil && status == http.StatusOK && body != ""
	})
	if err := socket.Write(ctx, websocket.MessageText, []byte(`{"type":"ping","n":1}`)); err != nil {
		t.Error(err)
	}
	in, err := host.Inspect(t.Context(), as("admin"))
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, err := range in.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		found++
	}
	if hosts, err := in.Hosts(t.Context()); err != nil || len(hosts) == 0 || found < 2 {
		t.Errorf("an admin sees %d objects and %d hosts, %v", found, len(hosts), err)
	}
	if status, _, body := request(t, "POST", fmt.Sprint(url, "/ticket/y"), ""); status != http.StatusOK {
		t.Errorf("a new counter = %d %s", status, body)
	}
}

// The connection that writes purges entries that large objects have replaced, with a history and without one.
func TestTheUserThatWritesPurgesWhatLargeObjectsHaveReplaced(t *testing.T) {
	beside(t, clusters)
	for _, history := range []time.Duration{0, time.Millisecond} {
		t.Run(fmt.Sprint("history ", history), func(t *testing.T) {
			as := users(t)
			h, err := host.New(t.Context(), host.Config{
				Region: "fra", Serve: as("host"), State: as("state"), Timing: steady, Log: testLog(t), PurgeAfter: time.Millisecond,
				Objects: []*objects.Implementation{vaults.With(objects.Settings{History: history})},
			})
			if err != nil {
				t.Fatal(err)
			}
			runningHost(t, h)
			js, err := as("admin").JetStream()
			if err != nil {
				t.Fatal(err)
			}
			objs := caller(t, as("admin"))
			var were map[string]uint64
			for n := 20; n <= 2000; n += 20 { // 40 KB, which are an entry
				if steps, err := stepCall.Do(t.Context(), objs.Object(vaultClass, "v"), 20); steps != n || err != nil {
					t.Fatalf("step %d, %v, want %d", steps, err, n)
				}
				info, err := js.StreamInfo(bucket.Records().Stream(), &nats.StreamInfoRequest{SubjectsFilter: bucket.Records().Subject("*.*.c.>")})
				if err != nil {
					t.Fatal(err)
				}
				for entry := range were {
					if _, there := info.State.Subjects[entry]; !there {
						return
					}
				}
				were = info.State.Subjects
			}
			t.Error("4 MB were written, and no entry was purged")
		})
	}
}
