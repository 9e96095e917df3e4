package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/objects"
)

// world is where objects run. Five classes are the same code: puppets; sleepers, which a live host puts to sleep and lets go
// of within moments; those that are wakeful, which it never does; those whose events may take no time; and keepers, whose past is kept. Mutes can be
// called, and nothing else. Sockets of returners come back.
type world interface {
	objects.Caller
	second(t testing.TB) objects.Caller                   // another way to the same objects
	fetch(to objects.Ref, r *http.Request) *http.Response // as a client sees it
	connect(t testing.TB, to objects.Ref, path string, subprotocols ...string) client
	connectAgain(t testing.TB, to objects.Ref) returner // a client that can come back

	sleep(t testing.TB, o objects.Ref)                 // the sleeper's instance is dropped
	evict(t testing.TB, o objects.Ref)                 // the sleeper is released
	move(t testing.TB, o objects.Ref)                  // another host takes the puppet over
	away(t testing.TB, o objects.Ref, d time.Duration) // nobody runs the puppet for so long
	refuse(t testing.TB, o objects.Ref)                // the object's next commit
	pass(d time.Duration)                              // at least d passes
	exhaust(t testing.TB, o objects.Ref)               // the sleeper's alarm, which has failed, fails until it is parked
}

// client is the far end of a socket.
type client interface {
	send(objects.Message)
	next(t testing.TB) objects.Message
	subprotocol() string
	close(code int, reason string) // 1006: the connection is cut
	ended(t testing.TB) objects.Close
}

// returner is the far end of a socket that can come back.
type returner interface {
	lose() // the connection
	comeBack(t testing.TB) (missed int)
	send(objects.Message)
	next(t testing.TB) objects.Message
}

// script is the behaviour of one case's object. A nil part has the default that its comment gives. One event runs at a time, and a case
// changes a script only between them.
type script struct {
	mu        sync.Mutex // guards what follows
	construct func(*objects.Tx)
	call      func(*objects.Tx) (string, error)
	serve     func(*objects.Tx, http.ResponseWriter, *http.Request)    // nil: accepts, with the tags of ?tag=
	message   func(*objects.Tx, objects.Socket, objects.Message) error // nil: an echo
	closed    func(*objects.Tx, objects.Socket, objects.Close) error   // nil: nothing
	alarm     func(*objects.Tx, objects.AlarmInfo) error               // nil: nothing
	hear      func(*objects.Tx, string) error                          // nil: the note grows by what it hears
	parked    func(*objects.Tx, objects.Told) error                    // nil: nothing

	made int             // instances
	ends []objects.Close // told
}

func (s *script) constructed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.made
}

func (s *script) told() []objects.Close {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]objects.Close(nil), s.ends...)
}

// cast are the scripts of all objects, by name.
type cast struct {
	mu      sync.Mutex // guards what follows
	scripts map[string]*script
}

func (c *cast) of(name string) *script {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.scripts[name]
	if s == nil {
		s = &script{}
		c.scripts[name] = s
	}
	return s
}

type puppet struct{ script *script }

// mute is a puppet without any of its other methods.
type mute struct{ puppet *puppet }

const (
	puppets  objects.Class = "puppet"
	sleepers objects.Class = "sleeper"
	wakefuls objects.Class = "wakeful"
	hasties  objects.Class = "hasty"
	keepers  objects.Class = "keeper"
	mutes    objects.Class = "mute"

	returners objects.Class = "returner"
)

// hasty is how long an event of a hasty object may take.
const hasty = 200 * time.Millisecond

// repertoire is the calls of a class. A call may have the name of a method that the runtime calls.
type repertoire struct {
	act   objects.Call[string, string]
	hear  objects.Call[string, objects.None]
	alarm objects.Call[objects.None, string]
}

func repertoireOf(class objects.Class) repertoire {
	return repertoire{
		objects.NewCall[string, string](class, "act"),
		objects.NewCall[string, objects.None](class, "hear"),
		objects.NewCall[objects.None, string](class, "alarm"),
	}
}

var (
	calls   = make(map[objects.Class]repertoire)
	acts    = make(map[objects.Class]objects.Call[string, string])
	missing = objects.NewCall[objects.None, objects.None](puppets, "missing")

	note = objects.NewKey[string]("note")
)

func init() {
	for _, class := range []objects.Class{puppets, sleepers, wakefuls, hasties, keepers, mutes, returners, "nobody"} {
		calls[class] = repertoireOf(class)
		acts[class] = calls[class].act
	}
}

// objects returns the classes with their code, by name.
func (c *cast) objects() map[objects.Class]*objects.Implementation {
	open := func(tx *objects.Tx) *puppet {
		p := &puppet{c.of(tx.Name())}
		p.script.mu.Lock()
		p.script.made++
		construct := p.script.construct
		p.script.mu.Unlock()
		if construct != nil {
			construct(tx)
		}
		return p
	}
	all := make(map[objects.Class]*objects.Implementation)
	for _, class := range []objects.Class{puppets, sleepers, wakefuls, hasties, keepers, returners} {
		of := calls[class]
		all[class] = objects.Implement(class, open,
			objects.On(of.act, (*puppet).act), objects.On(of.hear, (*puppet).hear), objects.On(of.alarm, (*puppet).alarm))
	}
	for class := range all { // events that a slow machine does not get to are late, and not refused
		all[class] = all[class].With(objects.Settings{Queue: time.Minute})
	}
	all[wakefuls] = all[wakefuls].With(objects.Settings{Hibernate: -1, Evict: -1})
	all[keepers] = all[keepers].With(objects.Settings{History: objects.MaxHistory})
	all[returners] = all[returners].With(objects.Settings{Resume: time.Minute})
	all[hasties] = all[hasties].With(objects.Settings{EventTime: hasty})
	all[mutes] = objects.Implement(mutes, func(tx *objects.Tx) *mute { return &mute{open(tx)} },
		objects.On(acts[mutes], func(m *mute, tx *objects.Tx, in string) (string, error) { return m.puppet.act(tx, in) }))
	return all
}

func (p *puppet) act(tx *objects.Tx, _ string) (string, error) {
	p.script.mu.Lock()
	call := p.script.call
	p.script.mu.Unlock()
	return call(tx)
}

// alarm returns a call, and not the handler of an alarm.
func (*puppet) alarm(*objects.Tx, objects.None) (string, error) { return "called", nil }

func (p *puppet) hear(tx *objects.Tx, what string) (objects.None, error) {
	p.script.mu.Lock()
	hear := p.script.hear
	p.script.mu.Unlock()
	if hear != nil {
		return nil, hear(tx, what)
	}
	note.Set(tx, note.Get(tx)+what)
	return nil, nil
}

func (p *puppet) Undelivered(tx *objects.Tx, m objects.Told) error {
	p.script.mu.Lock()
	parked := p.script.parked
	p.script.mu.Unlock()
	if parked == nil {
		return nil
	}
	return parked(tx, m)
}

func (p *puppet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	tx := objects.TxOf(r)
	p.script.mu.Lock()
	serve := p.script.serve
	p.script.mu.Unlock()
	if serve != nil && r.Header.Get("Upgrade") == "" {
		serve(tx, w, r)
		return
	}
	how := []objects.AcceptOption{objects.Tags(r.URL.Query()["tag"]...)}
	if r.URL.Query().Has("conflated") {
		how = append(how, objects.Conflated())
	}
	if r.URL.Query().Has("auto") {
		how = append(how, objects.AutoResponse("ping", "pong"))
	}
	how = append(how, objects.Subprotocols("chat.2", "chat.1"))
	if _, err := tx.Accept(how...); err != nil {
		tx.Refuse(err)
	}
}

func (p *puppet) WebSocketMessage(tx *objects.Tx, from objects.Socket, m objects.Message) error {
	p.script.mu.Lock()
	message := p.script.message
	p.script.mu.Unlock()
	if message != nil {
		return message(tx, from, m)
	}
	from.Send(m)
	return nil
}

func (p *puppet) WebSocketClose(tx *objects.Tx, s objects.Socket, end objects.Close) error {
	p.script.mu.Lock()
	p.script.ends = append(p.script.ends, end)
	closed := p.script.closed
	p.script.mu.Unlock()
	if closed == nil {
		return nil
	}
	return closed(tx, s, end)
}

func (p *puppet) Alarm(tx *objects.Tx, info objects.AlarmInfo) error {
	p.script.mu.Lock()
	alarm := p.script.alarm
	p.script.mu.Unlock()
	if alarm == nil {
		return nil
	}
	return alarm(tx, info)
}

// stage is one case at one world.
type stage struct {
	*testing.T
	world
	*script
	self objects.Ref
	cast *cast
}

// another is one more object of a case.
type another struct {
	*script
	name string
}

func (s *stage) another(name string) *another {
	name = s.self.Name() + "-" + name
	return &another{s.cast.of(name), name}
}

// stored returns what the object has stored.
func (a *another) stored(s *stage) (stored string) {
	s.Helper()
	a.mu.Lock()
	call := a.call
	a.call = func(tx *objects.Tx) (string, error) { return note.Get(tx), nil }
	a.mu.Unlock()
	stored, err := acts[puppets].Do(s.Context(), s.Object(puppets, a.name), "")
	if err != nil {
		s.Fatal(err)
	}
	a.mu.Lock()
	a.call = call
	a.mu.Unlock()
	return stored
}

type work = func(*objects.Tx) (string, error)

// do makes the object run fn as an event, and returns the answer to the caller.
func (s *stage) do(fn work) (string, error) { return s.doIn(s.Context(), fn) }

func (s *stage) doIn(ctx context.Context, fn work) (string, error) {
	s.mu.Lock()
	s.call = fn
	s.mu.Unlock()
	return acts[s.self.ID().Class()].Do(ctx, s.self, "")
}

// must is do for events that have to succeed.
func (s *stage) must(fn func(*objects.Tx)) {
	s.Helper()
	if _, err := s.do(func(tx *objects.Tx) (string, error) { fn(tx); return "", nil }); err != nil {
		s.Fatal(err)
	}
}

// fails is do for events that have to fail with a code.
func (s *stage) fails(code objects.Code, fn func(*objects.Tx) error) {
	s.Helper()
	_ = s.failure(code, fn)
}

// failure is fails, and returns the caller's error.
func (s *stage) failure(code objects.Code, fn func(*objects.Tx) error) *objects.Error {
	s.Helper()
	_, err := s.do(func(tx *objects.Tx) (string, error) { return "", fn(tx) })
	e, ok := errors.AsType[*objects.Error](err)
	if !ok || e.Code != code {
		s.Fatalf("failed with %v, want %s", err, code)
	}
	return e
}

// get sends a request with this body, and returns the answer.
func (s *stage) get(serve func(*objects.Tx, http.ResponseWriter, *http.Request), body string, header ...string) (int, string) {
	s.Helper()
	s.mu.Lock()
	s.serve = serve
	s.mu.Unlock()
	r := httptest.NewRequest(http.MethodPost, "/path", strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response := s.fetch(s.self, r)
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		s.Fatal(err)
	}
	return response.StatusCode, string(got)
}

// open connects a socket with these tags.
func (s *stage) open(tags ...string) client {
	s.Helper()
	return s.connect(s, s.self, "?tag="+strings.Join(tags, "&tag="))
}

// hears fails the case unless the client's next message is this one.
func (s *stage) hears(c client, want string) {
	s.Helper()
	if got := c.next(s); string(got.Data) != want {
		s.Errorf("heard %.80q, want %.80q", got.Data, want)
	}
}

// stored returns the object's note.
func (s *stage) stored() (v string) {
	s.Helper()
	s.must(func(tx *objects.Tx) { v = note.Get(tx) })
	return v
}

// sockets describes the object's sockets, in order: tags and attachment.
func (s *stage) sockets() (all []string) {
	s.Helper()
	s.must(func(tx *objects.Tx) {
		all = nil
		for _, socket := range tx.Sockets() {
			var attached any
			socket.Attachment(&attached)
			all = append(all, fmt.Sprint(strings.Join(socket.Tags(), " "), " ", attached))
		}
	})
	return all
}

// patience bounds everything that a case waits for.
const patience = time.Minute

// eventually waits until a condition holds.
func (s *stage) eventually(what string, so func() bool) {
	s.Helper()
	deadline := time.Now().Add(patience)
	for !so() {
		if time.Now().After(deadline) {
			s.Fatalf("not so after %v: %s", patience, what)
		}
		s.pass(10 * time.Millisecond)
	}
}

// isTold waits until the object has been told of these ends, and of no other.
func (s *stage) isTold(want ...objects.Close) {
	s.Helper()
	s.eventually(fmt.Sprintf("the object is told of %d ends", len(want)), func() bool { return len(s.told()) >= len(want) })
	got := s.told()
	for i := range got {
		if i >= len(want) || got[i].Code != want[i].Code || got[i].Clean != want[i].Clean || want[i].Reason != "" && got[i].Reason != want[i].Reason {
			s.Errorf("told of %+v, want %+v", got, want)
			return
		}
	}
}

var errOnPurpose = errors.New("secret")
