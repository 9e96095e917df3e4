package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/gofiber/fiber/v2"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"holdfast/app"
	"holdfast/gateway"
	"holdfast/internal/bucket"
	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host"
)

// counter counts claims and accepts sockets.
type counter struct{}

const tickets objects.Class = "ticket"

var (
	claim = objects.NewCall[objects.None, int](tickets, "claim")
	taken = objects.NewKey[int]("taken")
)

var counters = objects.Implement(tickets, objects.New[counter], objects.On(claim, (*counter).claim))

func (c *counter) claim(tx *objects.Tx, _ objects.None) (int, error) {
	n := taken.Get(tx) + 1
	taken.Set(tx, n)
	return n, nil
}

func (c *counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	tx := objects.TxOf(r)
	switch r.URL.Path {
	case "/echo":
		body, err := io.ReadAll(r.Body)
		if err != nil {
			tx.Refuse(err)
			return
		}
		fmt.Fprintf(w, "%s %s %s %s", r.Method, r.URL, r.Header.Get("X-A"), body)
		return
	case "/missing":
		http.Error(w, "no such page", http.StatusNotFound)
		return
	case "/broken":
		w.WriteHeader(http.StatusInternalServerError)
		return
	case "/waits":
		tx.Stream(func(t *objects.Task, out io.Writer) error {
			if _, err := fmt.Fprintln(out, "first"); err != nil {
				return err
			}
			<-t.Done()
			return t.Err()
		})
		return
	case "/endless":
		tx.Stream(func(_ *objects.Task, out io.Writer) error {
			for part := make([]byte, 64<<10); ; {
				if _, err := out.Write(part); err != nil {
					return err
				}
			}
		})
		return
	}
	if r.Header.Get("Upgrade") == "" {
		fmt.Fprintf(w, "%d taken", taken.Get(tx))
		return
	}
	socket, err := tx.Accept()
	if err != nil {
		tx.Refuse(err)
		return
	}
	socket.Send(objects.Text("hello"))
}

func (*counter) WebSocketMessage(_ *objects.Tx, from objects.Socket, m objects.Message) error {
	switch string(m.Data) {
	case "no":
		return objects.Errorf(objects.Forbidden, "not \x1b[31mthis")
	case "leave":
		from.Close(4001, "left")
	case "bytes":
		from.Send(objects.Message{Binary: true, Data: []byte{0xff}})
		from.Close(1000, "that is all")
	default:
		from.Send(objects.Text(fmt.Sprintf("%v %q of %q", m.Binary, m.Data, from.Principal().ID)))
		from.Close(1000, "that is all")
	}
	return nil
}

func worker(r fiber.Router, env *gateway.Env) {
	r.Get("/", func(c *fiber.Ctx) error { return c.SendString("page of " + env.Region()) })
	r.Get("/peers", func(c *fiber.Ctx) error { return c.JSON(env.Peers()) })
	r.Post("/ticket/:name", func(c *fiber.Ctx) error {
		n, err := claim.Do(c.UserContext(), env.Object(tickets, c.Params("name")), nil)
		if err != nil {
			return err
		}
		return c.JSON(fiber.Map{"ticket": n})
	})
	env.Mount(r, "/tickets/:name", "ticket")
}

func config() app.Config {
	return app.Config{Objects: []*objects.Implementation{counters}, Worker: worker}
}

// output is a writer whose first line can be waited for.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	line chan struct{} // closed at the first newline after something visible
}

func newOutput() *output { return &output{line: make(chan struct{})} }

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(b)
	if strings.Contains(strings.TrimLeft(o.text.String(), "\n"), "\n") {
		select {
		case <-o.line:
		default:
			close(o.line)
		}
	}
	return len(b), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// process is a command that runs until it is stopped.
type process struct {
	t              *testing.T
	stdout, stderr *output
	cancel         context.CancelFunc
	ended          chan struct{}
	code           int // once ended
}

// start runs a command until it has written its first line.
func start(t *testing.T, cfg app.Config, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{t: t, stdout: newOutput(), stderr: newOutput(), cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		p.code = app.Run(ctx, cfg, args, p.stdout, p.stderr)
	}()
	t.Cleanup(func() { cancel(); <-p.ended })
	select {
	case <-p.stdout.line:
	case <-p.ended:
		t.Fatalf("%v ended with %d:\n%s%s", args, p.code, p.stdout, p.stderr)
	case <-time.After(time.Minute):
		t.Fatalf("%v said nothing in 30 s; its log:\n%s", args, p.stderr)
	}
	return p
}

// stop stops the command as Ctrl-C does, and returns the exit code.
func (p *process) stop() int {
	p.t.Helper()
	p.cancel()
	select {
	case <-p.ended:
	case <-time.After(time.Minute):
		p.t.Fatalf("still running 30 s after Ctrl-C; its log:\n%s", p.stderr)
	}
	return p.code
}

// run runs a command to its end.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = app.Run(t.Context(), config(), args, &out, &errs)
	return code, out.String(), errs.String()
}

type devBanner struct {
	OK      bool
	Name    string
	ReadyMs int64
	Open    string
	Regions []struct {
		Region, URL string
		RTTMs       float64
		Hosts       int
	}
	Object struct{ Method, URL string }
	NATS   string
	Data   struct{ Kept bool }
	Ops    string
	Join   string
}

// dev starts a run on free ports.
func dev(t *testing.T, args ...string) (*process, devBanner) {
	t.Helper()
	p := start(t, config(), append([]string{"dev", "--json", "--port", "0", "--nats-port", "0", "--store", "memory", "--rtt", "0"}, args...)...)
	var b devBanner
	if err := json.Unmarshal([]byte(p.stdout.String()), &b); err != nil {
		t.Fatalf("banner is not JSON: %v\n%s", err, p.stdout)
	}
	return p, b
}

func fetch(t *testing.T, method, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestWhatTheBannerSaysIsTrue(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent(),
		// fasthttp's own: the one ends seconds after its server, the other never
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
	p, b := dev(t, "--regions", "fra,syd")
	if !b.OK || b.Name != "holdfast" || len(b.Regions) != 2 || b.Regions[1].Region != "syd" || b.Data.Kept {
		t.Errorf("banner = %+v", b)
	}
	for _, url := range []string{b.Open, b.Ops + "/metrics", b.Ops + "/readyz", b.Regions[0].URL + "/readyz", b.Regions[1].URL + "/readyz"} {
		if status, body := fetch(t, http.MethodGet, url); status != http.StatusOK {
			t.Errorf("GET %s = %d %s", url, status, body)
		}
	}
	if status, body := fetch(t, b.Object.Method, b.Object.URL); status != http.StatusOK || body != `{"ticket":1}` {
		t.Errorf("%s %s = %d %s, want ticket 1", b.Object.Method, b.Object.URL, status, body)
	}
	if _, peers := fetch(t, http.MethodGet, b.Regions[0].URL+"/peers"); !strings.Contains(peers, b.Regions[1].URL) {
		t.Errorf("peers = %s, want %s among them", peers, b.Regions[1].URL)
	}
	if conn, err := net.Dial("tcp", strings.TrimPrefix(b.NATS, "nats://")); err != nil {
		t.Errorf("NATS of the banner: %v", err)
	} else {
		conn.Close()
	}
	if !strings.Contains(b.Join, "--nats "+b.NATS) || !strings.Contains(b.Join, "--rtt 0") {
		t.Errorf("join = %q, want the same NATS and the same --rtt", b.Join)
	}
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d after Ctrl-C, want 0; log:\n%s", code, p.stderr)
	}
}

func TestABannerForPeopleHasNoColourWithoutATerminal(t *testing.T) {
	t.Parallel()
	p := start(t, app.Config{Name: "mine", Objects: config().Objects}, "dev", "--port", "0", "--nats-port", "0", "--store", "memory", "--rtt", "40ms", "--regions", "fra,iad")
	p.stop()
	banner := p.stdout.String()
	for _, want := range []string{"mine 0.1.0", "fra  http://localhost:", "+40 ms simulated", "in memory (gone on exit)", "mine gateway --region lhr", "--rtt 40ms", "not reached over HTTP", `env.Mount(r, "/rooms/:name", "room")`} {
		if !strings.Contains(banner, want) {
			t.Errorf("banner lacks %q:\n%s", want, banner)
		}
	}
	for _, no := range []string{"\x1b", "  Open", "wscat"} { // there is no worker, so no page and no room
		if strings.Contains(banner+p.stderr.String(), no) {
			t.Errorf("output has %q:\n%s%s", no, banner, p.stderr)
		}
	}
}

func TestCtrlCTellsSocketsToReconnect(t *testing.T) {
	t.Parallel()
	p := start(t, config(), "dev", "--port", "0", "--nats-port", "0", "--store", "memory", "--rtt", "0", "--regions", "fra")
	_, url, found := strings.Cut(p.stdout.String(), "fra  ")
	if !found {
		t.Fatalf("no region in the banner:\n%s", p.stdout)
	}
	url = strings.Fields(url)[0]
	conn, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(url, "http")+"/tickets/lobby", nil)
	if err != nil {
		t.Fatalf("open a socket: %v", err)
	}
	defer func() { _ = conn.CloseNow() }()
	if _, hello, err := conn.Read(t.Context()); err != nil || string(hello) != "hello" {
		t.Fatalf("first message = %q, %v", hello, err)
	}
	closed := make(chan error, 1)
	go func() { _, _, err := conn.Read(context.Background()); closed <- err }()
	if code := p.stop(); code != 0 {
		t.Errorf("exit code = %d, want 0", code)
	}
	if err := <-closed; websocket.CloseStatus(err) != 1012 {
		t.Errorf("socket ended with %v, want close code 1012", err)
	}
	for _, want := range []string{"draining: 1 socket told to reconnect (1012), then 1 host", "done in "} {
		if !strings.Contains(p.stderr.String(), want) {
			t.Errorf("stderr lacks %q:\n%s", want, p.stderr)
		}
	}
}

func TestGetAndListReadWhatIsKept(t *testing.T) {
	t.Parallel()
	_, b := dev(t, "--regions", "fra")
	for _, name := range []string{"global", "b%2Fc"} {
		fetch(t, http.MethodPost, b.Regions[0].URL+"/ticket/"+name)
	}
	code, out, errs := run(t, "get", "ticket/global", "--nats", b.NATS, "--json")
	var info struct {
		OK, Live        bool
		Name, Host, ID  string
		Epoch, Revision int
		Keys            map[string]any
	}
	if err := json.Unmarshal([]byte(out), &info); err != nil || code != 0 {
		t.Fatalf("get = %d %v: %s%s", code, err, out, errs)
	}
	if !info.OK || !info.Live || info.Name != "global" || info.Host != "fra-1" || info.Epoch != 1 || info.Keys["taken"] != 1.0 {
		t.Errorf("get = %+v", info)
	}
	if code, out, _ := run(t, "get", "ticket", "--id", info.ID, "--nats", b.NATS); code != 0 || !strings.Contains(out, "ticket/global") || !strings.Contains(out, "fra-1 (fra)") {
		t.Errorf("get by id = %d:\n%s", code, out)
	}
	if code, out, _ := run(t, "ls", "--nats", b.NATS); code != 0 || !strings.Contains(out, "ticket/global") || strings.Count(out, "\n") != 3 {
		t.Errorf("ls = %d, want a heading and two objects:\n%s", code, out)
	}
	var list []struct{ Name string }
	if _, out, _ := run(t, "ls", "ticket", "--limit", "1", "--nats", b.NATS, "--json"); json.Unmarshal([]byte(out), &list) != nil || len(list) != 1 {
		t.Errorf("ls --limit 1 --json = %s", out)
	}
	if code, out, _ := run(t, "ls", "nothing", "--nats", b.NATS, "--json"); code != 4 || !strings.Contains(out, `"not_found"`) {
		t.Errorf("ls of a class that is not there = %d %s, want 4 and not_found", code, out)
	}
	if code, out, _ := run(t, "get", "ticket/missing", "--nats", b.NATS, "--json"); code != 4 || !strings.Contains(out, `"ok":false`) || !strings.Contains(out, `"not_found"`) {
		t.Errorf("get of what is not there = %d %s, want 4 and not_found", code, out)
	}
}

func TestADamagedRecordIsListedBesideTheOthers(t *testing.T) {
	t.Parallel()
	_, b := dev(t, "--regions", "fra")
	fetch(t, http.MethodPost, b.Regions[0].URL+"/ticket/global")
	nc, err := nats.Connect(b.NATS)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	copied, err := tickets.ID("another's")
	if err != nil {
		t.Fatal(err)
	}
	record := []byte(`{"v":1,"name":"global","epoch":1,"commit":1,"keys":{"taken":1}}`)
	if _, err := nc.Request(bucket.Records().Subject(copied.Key()), record, time.Minute); err != nil {
		t.Fatal(err)
	}
	code, out, errs := run(t, "ls", "--nats", b.NATS)
	if code != 0 || !strings.Contains(out, "ticket/global") || !strings.Contains(out, "ticket/"+copied.String()+"  damaged") {
		t.Errorf("ls = %d, want both objects, one of them damaged:\n%s%s", code, out, errs)
	}
	var list []struct{ Name, ID, Damaged string }
	if code, out, _ := run(t, "ls", "--nats", b.NATS, "--json"); code != 0 || json.Unmarshal([]byte(out), &list) != nil || len(list) != 2 {
		t.Errorf("ls --json = %d %s, want two objects", code, out)
	}
	for _, o := range list {
		if damaged := o.ID == copied.String(); damaged != strings.Contains(o.Damaged, "another object") || damaged == (o.Name == "global") {
			t.Errorf("ls --json has %+v", o)
		}
	}
	code, out, _ = run(t, "get", "ticket", "--id", copied.String(), "--nats", b.NATS, "--json")
	if code != 1 || !strings.Contains(out, `"internal"`) || !strings.Contains(out, "is damaged") || !strings.Contains(out, "another object") {
		t.Errorf("get of the damaged one = %d %s, want 1, internal and why", code, out)
	}
}

func TestResumeLiftsAQuarantineAndRunsAParkedAlarm(t *testing.T) {
	t.Parallel()
	_, b := dev(t, "--regions", "fra")
	fetch(t, http.MethodPost, b.Regions[0].URL+"/ticket/other")
	nc, err := nats.Connect(b.NATS)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	bomb, err := objects.Class("ticket").ID("bomb")
	if err != nil {
		t.Fatal(err)
	}
	record := fmt.Sprintf(`{"v":1,"name":"bomb","epoch":12,"owner":"dead","host":"box","region":"fra","commit":12,"claims":12,"claimed":%d,`+
		`"alarm":{"at":"2030-01-01T00:00:00Z","lost":6,"parked":true},"keys":{"taken":1}}`, time.Now().Unix())
	if _, err := nc.Request(bucket.Records().Subject(bomb.Key()), []byte(record), time.Minute); err != nil {
		t.Fatal(err)
	}
	code, out, errs := run(t, "get", "ticket/bomb", "--nats", b.NATS)
	if code != 0 || !strings.Contains(out, "its last 12 owners were lost") || !strings.Contains(out, "parked: 6 owners were lost") {
		t.Fatalf("get = %d, want the quarantine and the parked alarm:\n%s%s", code, out, errs)
	}
	type kept struct {
		Host       string
		Alarm      host.Alarm
		Quarantine *struct {
			Until      time.Time
			OwnersLost int
		}
	}
	var info kept
	if code, out, _ := run(t, "get", "ticket/bomb", "--nats", b.NATS, "--json"); code != 0 || json.Unmarshal([]byte(out), &info) != nil ||
		info.Quarantine == nil || info.Quarantine.OwnersLost != 12 || time.Until(info.Quarantine.Until) < time.Minute {
		t.Errorf("get --json = %d %s, want a quarantine of minutes", code, out)
	}
	code, out, errs = run(t, "resume", "ticket/bomb", "--nats", b.NATS)
	if code != 0 || !strings.Contains(out, "quarantine is lifted") || !strings.Contains(out, "runs now") || !strings.Contains(out, "get ticket/bomb") {
		t.Fatalf("resume = %d:\n%s%s", code, out, errs)
	}
	info = kept{}
	if code, out, _ := run(t, "get", "ticket/bomb", "--nats", b.NATS, "--json"); code != 0 || json.Unmarshal([]byte(out), &info) != nil ||
		info.Quarantine != nil || info.Host != "fra-1" || info.Alarm.Parked || info.Alarm.Lost != 0 {
		t.Errorf("get after resume = %d %s, want an owner, no quarantine and no parked alarm", code, out)
	}
	if code, out, _ := run(t, "resume", "ticket/bomb", "--nats", b.NATS, "--json"); code != 0 || !strings.Contains(out, `"ok":true`) || strings.Contains(out, "quarantine") {
		t.Errorf("resume of what goes on = %d %s", code, out)
	}
	if code, out, _ := run(t, "resume", "ticket/missing", "--nats", b.NATS, "--json"); code != 4 || !strings.Contains(out, `"not_found"`) {
		t.Errorf("resume of what is not there = %d %s, want 4 and not_found", code, out)
	}
}

func TestGetShowsAnEventThatDoesNotEnd(t *testing.T) {
	_, b := dev(t, "--regions", "fra")
	fetch(t, http.MethodPost, b.Regions[0].URL+"/ticket/other")
	nc, err := nats.Connect(b.NATS)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	stuck, err := objects.Class("ticket").ID("stuck")
	if err != nil {
		t.Fatal(err)
	}
	for subject, value := range map[string]string{
		bucket.Records().Subject(stuck.Key()): `{"v":1,"name":"stuck","epoch":1,"owner":"ghost","host":"box","region":"fra","commit":1,"keys":{}}`,
		bucket.Leases().Subject("ghost"):      fmt.Sprintf(`{"host":"box","region":"fra","renewed":%q,"beat":1}`, time.Now().Add(time.Minute).Format(time.RFC3339)),
	} {
		if _, err := nc.Request(subject, []byte(value), time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	// The owner is silent, then says what it does, then says something that cannot be.
	if code, out, errs := run(t, "get", "ticket/stuck", "--nats", b.NATS); code != 0 || strings.Contains(out, "does not end") {
		t.Errorf("get with a silent owner = %d:\n%s%s", code, out, errs)
	}
	var running atomic.Uint64
	running.Store(45_000)
	if _, err := nc.Subscribe(wire.ObjectSubject(stuck), func(msg *nats.Msg) {
		if err := wire.Publish(nc, msg.Reply, &wire.Reply{Token: 1, Life: &wire.Life{Running: running.Load()}}); err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := run(t, "get", "ticket/stuck", "--nats", b.NATS); code != 0 || !strings.Contains(out, "one has run for 45s and does not end") {
		t.Errorf("get = %d:\n%s%s", code, out, errs)
	}
	if code, out, _ := run(t, "get", "ticket/stuck", "--nats", b.NATS, "--json"); code != 0 || !strings.Contains(out, `"eventBegan"`) {
		t.Errorf("get --json = %d %s", code, out)
	}
	running.Store(1 << 63)
	if code, out, _ := run(t, "get", "ticket/stuck", "--nats", b.NATS); code != 0 || strings.Contains(out, "does not end") {
		t.Errorf("get with a forged answer = %d:\n%s", code, out)
	}
}

func TestAnotherRegionJoinsADevRun(t *testing.T) {
	t.Parallel()
	_, b := dev(t, "--regions", "fra")
	h := start(t, config(), "host", "--region", "lhr", "--name", "guest", "--nats", b.NATS, "--rtt", "10ms")
	if !strings.Contains(h.stdout.String(), "guest owns ticket") || !strings.Contains(h.stdout.String(), "+10ms simulated") {
		t.Errorf("host says %q", h.stdout)
	}
	g := start(t, config(), "gateway", "--region", "lhr", "--listen", "127.0.0.1:0", "--nats", b.NATS, "--rtt", "10ms", "--json")
	var said struct {
		URL   string
		RTTMs float64
	}
	if err := json.Unmarshal([]byte(g.stdout.String()), &said); err != nil || said.RTTMs != 10 {
		t.Fatalf("gateway says %s (%v)", g.stdout, err)
	}
	// The region of the first request is preferred: the guest's own host owns it.
	if _, body := fetch(t, http.MethodPost, said.URL+"/ticket/here"); body != `{"ticket":1}` {
		t.Errorf("first ticket through the guest = %s", body)
	}
	if _, out, _ := run(t, "get", "ticket/here", "--nats", b.NATS); !strings.Contains(out, "guest (lhr)") {
		t.Errorf("owner of what was first asked for in lhr:\n%s", out)
	}
	if code := h.stop(); code != 0 {
		t.Errorf("host ended with %d:\n%s", code, h.stderr)
	}
	if _, body := fetch(t, http.MethodPost, said.URL+"/ticket/here"); body != `{"ticket":2}` {
		t.Errorf("ticket after the guest host left = %s, want 2", body)
	}
	if code := g.stop(); code != 0 {
		t.Errorf("gateway ended with %d:\n%s", code, g.stderr)
	}
}

func TestARestartGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	store := filepath.Join(t.TempDir(), "store")
	args := []string{"dev", "--json", "--port", "0", "--nats-port", "0", "--store", store, "--rtt", "0", "--regions", "fra"}
	for want := 1; want <= 2; want++ {
		p := start(t, config(), args...)
		var b devBanner
		if err := json.Unmarshal([]byte(p.stdout.String()), &b); err != nil {
			t.Fatal(err)
		}
		if _, body := fetch(t, b.Object.Method, b.Object.URL); body != fmt.Sprintf(`{"ticket":%d}`, want) {
			t.Errorf("ticket of run %d = %s", want, body)
		}
		if want == 1 {
			code, _, errs := run(t, "dev", "--port", "0", "--nats-port", "0", "--store", store)
			if code != 3 || !strings.Contains(errs, "in use by process "+fmt.Sprint(os.Getpid())) {
				t.Errorf("a second dev on the same store = %d, want 3 and who has it:\n%s", code, errs)
			}
		}
		if code := p.stop(); code != 0 {
			t.Errorf("run %d ended with %d", want, code)
		}
	}
}

func TestNATSAloneCanBeJoined(t *testing.T) {
	t.Parallel()
	n := start(t, config(), "nats", "--port", "0", "--store", "memory", "--json")
	var said struct{ NATS, Server string }
	if err := json.Unmarshal([]byte(n.stdout.String()), &said); err != nil || said.Server != "holdfast-dev-fra" {
		t.Fatalf("nats says %s (%v)", n.stdout, err)
	}
	// Nobody has made a bucket: nothing is found, and none is made by looking.
	if code, out, errs := run(t, "ls", "--nats", said.NATS); code != 0 || out != "nothing is kept\n" {
		t.Errorf("ls on a fresh NATS = %d %s%s", code, out, errs)
	}
	if code, _, _ := run(t, "get", "ticket/global", "--nats", said.NATS); code != 4 {
		t.Errorf("get on a fresh NATS = %d, want 4", code)
	}
	h := start(t, config(), "host", "--region", "fra", "--nats", said.NATS, "--memory")
	h.stop()
	if code := n.stop(); code != 0 {
		t.Errorf("nats ended with %d:\n%s", code, n.stderr)
	}
}
