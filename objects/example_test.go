package objects_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/objects"
	"holdfast/objects/objectstest"
)

// In a test, tb is the test's own *testing.T. An example has none.
var tb testing.TB = mute{}

type mute struct{ testing.TB }

func (mute) Helper()             {}
func (mute) Cleanup(func())      {}
func (mute) Logf(string, ...any) {}

var ctx = context.Background()

// A class, its calls, the struct that answers, and what joins them.

const Counters objects.Class = "counter"

var (
	Add   = objects.NewCall[int, int](Counters, "add")
	Reset = objects.NewCall[objects.None, objects.None](Counters, "reset")
)

var CounterObjects = objects.Implement(Counters, objects.New[Counter],
	objects.On(Add, (*Counter).add),
	objects.On(Reset, (*Counter).reset),
)

var sum = objects.NewKey[int]("sum")

type Counter struct{}

func (*Counter) add(tx *objects.Tx, n int) (int, error) {
	if n < 0 {
		return 0, objects.Errorf(objects.Invalid, "a counter only grows, not by %d", n)
	}
	total := sum.Get(tx) + n
	sum.Set(tx, total)
	return total, nil
}

func (*Counter) reset(tx *objects.Tx, _ objects.None) (objects.None, error) {
	sum.Delete(tx)
	return nil, nil
}

func Example() {
	w := objectstest.New(tb, CounterObjects)
	visits := w.Object(Counters, "visits")
	for _, n := range []int{2, 3, -1} {
		total, err := Add.Do(ctx, visits, n)
		fmt.Println(total, err)
	}
	// Output:
	// 2 <nil>
	// 5 <nil>
	// 0 invalid: a counter only grows, not by -1
}

// The name of a class, and the names of its objects, make ids.
func ExampleClass() {
	named, err := Counters.ID("visits")
	fmt.Println(named.Class(), len(named.String()), err)
	parsed, err := Counters.ParseID(named.String())
	fmt.Println(parsed == named, err)
	fmt.Println(Counters.NewID() == named)
	_, err = objects.Class("Bad Name").ID("visits")
	fmt.Println(objects.CodeOf(err))
	// Output:
	// counter 64 <nil>
	// true <nil>
	// false
	// invalid
}

// An id in a record of another kind names the object, class included. It is reached without its name.
func ExampleID() {
	w := objectstest.New(tb, CounterObjects)
	id := Counters.NewID()
	text, err := id.MarshalText()
	fmt.Println(string(text) == id.Key(), err)
	total, err := Add.Do(ctx, w.ObjectByID(id), 7)
	fmt.Println(total, err)
	// Output:
	// true <nil>
	// 7 <nil>
}

// A Ref is made without I/O; what is wrong with it is an error of its use.
func ExampleRef() {
	w := objectstest.New(tb, CounterObjects)
	ref := w.Object(Counters, "")
	fmt.Println(ref.Err())
	_, err := Add.Do(ctx, ref, 1)
	fmt.Println(err)
	ref = w.Object(Counters, "visits")
	fmt.Println(ref.Name(), ref.ID().Class())
	// Output:
	// invalid: an object's name must not be empty
	// invalid: an object's name must not be empty
	// visits counter
}

// clock is what a program hands to its objects.
type clock func() string

// stamper answers with a stamp; what it is made of is seen when it is constructed.
type stamper interface {
	stamp(*objects.Tx, objects.None) (string, error)
}

type byClock struct{ now clock }

func (s byClock) stamp(tx *objects.Tx, _ objects.None) (string, error) {
	return s.now() + " for " + tx.Name(), nil
}

// Dependencies are given where main joins code and class. The constructor may return an interface.
func ExampleImplement() {
	const Stamps objects.Class = "stamp"
	Stamp := objects.NewCall[objects.None, string](Stamps, "stamp")

	noon := clock(func() string { return "12:00" })
	open := func(*objects.Tx) stamper { return byClock{noon} }
	implemented := objects.Implement(Stamps, open, objects.On(Stamp, stamper.stamp))

	w := objectstest.New(tb, implemented)
	fmt.Println(Stamp.Do(ctx, w.Object(implemented.Class(), "ada"), nil))
	// Output: 12:00 for ada <nil>
}

// in runs work as an event of the object.
func in(w *objectstest.World, o objects.Ref, work func(tx *objects.Tx) error) error {
	return objectstest.Inside(w, o, func(tx *objects.Tx, _ *Counter) error { return work(tx) })
}

func ExampleKey() {
	w := objectstest.New(tb, CounterObjects)
	color := objects.NewKey[string]("color")
	_ = in(w, w.Object(Counters, "a"), func(tx *objects.Tx) error {
		v, ok := color.Lookup(tx)
		fmt.Printf("%q %v\n", v, ok)
		color.Set(tx, "red")
		fmt.Printf("%q\n", color.Get(tx)) // an event sees its own writes
		fmt.Println(color.Delete(tx), color.Delete(tx))
		return nil
	})
	// Output:
	// "" false
	// "red"
	// true false
}

// A map is ordered by its keys.
func ExampleMap() {
	w := objectstest.New(tb, CounterObjects)
	seats := objects.NewMap[string, string]("seat")
	_ = in(w, w.Object(Counters, "a"), func(tx *objects.Tx) error {
		seats.Set(tx, "4b", "bob")
		seats.Set(tx, "4a", "ada")
		fmt.Println(seats.Get(tx, "4a"), seats.GetAll(tx, "4b", "4c"))
		for seat, who := range seats.All(tx) {
			fmt.Println(seat, who)
		}
		_, taken := seats.Lookup(tx, "4c")
		fmt.Println(taken, seats.Delete(tx, "4a"), seats.Count(tx))
		return nil
	})
	// Output:
	// ada map[4b:bob]
	// 4a ada
	// 4b bob
	// false true 1
}

// The last posts of a chat, as pages of two.
func ExampleBlob() {
	w := objectstest.New(tb, CounterObjects)
	counter := w.Object(Counters, "global")
	report := objects.NewBlob("report")
	_ = in(w, counter, func(tx *objects.Tx) error {
		fmt.Println(report.Write(tx, strings.NewReader("count: 1\n")))
		report.Append(tx, []byte("count: 2\n"))
		return nil
	})
	_ = in(w, counter, func(tx *objects.Tx) error {
		content, ok := report.Open(tx)
		if !ok {
			return errors.New("there is no report")
		}
		defer content.Close()
		if _, err := content.Seek(-9, io.SeekEnd); err != nil {
			return err
		}
		last, err := io.ReadAll(content)
		fmt.Printf("%d %q\n", report.Size(tx), last)
		report.Delete(tx)
		return err
	})
	// Output:
	// 9
	// 18 "count: 2\n"
}

func ExampleRange() {
	w := objectstest.New(tb, CounterObjects)
	posts := objects.NewMap[uint64, string]("post")
	_ = in(w, w.Object(Counters, "a"), func(tx *objects.Tx) error {
		for n := range uint64(12) {
			posts.Set(tx, n, fmt.Sprint("post ", n))
		}
		last, _, _ := posts.Last(tx)
		for before := last + 1; before > 8; {
			for n, post := range posts.Before(before).Limit(2).Backward(tx) {
				fmt.Println(n, post)
				before = n
			}
		}
		fmt.Println(posts.To(8).Clear(tx), posts.From(9).Count(tx), posts.After(9).Count(tx))
		_, first, _ := posts.First(tx)
		fmt.Println(first)
		return nil
	})
	// Output:
	// 11 post 11
	// 10 post 10
	// 9 post 9
	// 8 post 8
	// 9 3 2
	// post 9
}

// A key of several fields is ordered by the first, then by the second: a leaderboard without sorting.
func ExampleNewMap() {
	type Place struct {
		Game   string
		Down   int // the points, negated: the most come first
		Player string
	}
	w := objectstest.New(tb, CounterObjects)
	places := objects.NewMap[Place, time.Time]("place")
	_ = in(w, w.Object(Counters, "a"), func(tx *objects.Tx) error {
		places.Set(tx, Place{"chess", -1800, "ada"}, tx.Now())
		places.Set(tx, Place{"chess", -2100, "bob"}, tx.Now())
		places.Set(tx, Place{"go", -900, "eve"}, tx.Now())
		for place := range places.Prefix("chess").All(tx) {
			fmt.Println(place.Player, -place.Down)
		}
		return nil
	})
	// Output:
	// bob 2100
	// ada 1800
}

// Points are kept as three bytes each.
type points struct{}

func (points) Encode(v [][3]byte) ([]byte, error) {
	var data []byte
	for _, p := range v {
		data = append(data, p[:]...)
	}
	return data, nil
}

func (points) Decode(data []byte) (v [][3]byte, err error) {
	for p := range slices.Chunk(data, 3) {
		v = append(v, [3]byte(p))
	}
	return v, nil
}

func ExampleCodec() {
	w := objectstest.New(tb, CounterObjects)
	drawn := objects.NewKey("drawn", objects.Codec[[][3]byte](points{}))
	_ = in(w, w.Object(Counters, "a"), func(tx *objects.Tx) error {
		drawn.Set(tx, [][3]byte{{1, 2, 3}, {4, 5, 6}})
		fmt.Println(drawn.Get(tx))
		return nil
	})
	// Output: [[1 2 3] [4 5 6]]
}

// Cached counts in memory, and saves the count when it sleeps: a crash loses what came since.
const Caches objects.Class = "cache"

var Hit = objects.NewCall[objects.None, int](Caches, "hit")

type Cached struct{ hits int }

var hits = objects.NewKey[int]("hits")

var CachedObjects = objects.Implement(Caches, func(tx *objects.Tx) *Cached { return &Cached{hits.Get(tx)} }, objects.On(Hit, (*Cached).hit))

func (c *Cached) hit(*objects.Tx, objects.None) (int, error) {
	c.hits++
	return c.hits, nil
}

func (c *Cached) Sleep(tx *objects.Tx) error {
	hits.Set(tx, c.hits)
	return nil
}

// A program runs a class with settings of its own.
func ExampleSettings() {
	w := objectstest.New(tb, CachedObjects.With(objects.Settings{Hibernate: time.Minute, EventTime: time.Second}))
	a := w.Object(Caches, "a")
	fmt.Println(Hit.Do(context.Background(), a, nil))
	w.Evict(a)
	fmt.Println(Hit.Do(context.Background(), a, nil))
	fmt.Println(w.Constructed(a))
	// Output:
	// 1 <nil>
	// 2 <nil>
	// 2
}

// A handler that talks to the world by itself says nothing that a crash could still take back.
func ExampleTx_Sync() {
	w := objectstest.New(tb, CounterObjects)
	_ = in(w, w.Object(Counters, "a"), func(tx *objects.Tx) error {
		tx.Sync()
		fmt.Println("told somebody that the sum is", sum.Get(tx))
		return nil
	})
	// Output: told somebody that the sum is 0
}

// All that an object has stored goes, or all but its alarm.
func ExampleTx_DeleteAll() {
	w := objectstest.New(tb, CounterObjects)
	everything := objects.NewMap[string, any]("")
	_ = in(w, w.Object(Counters, "a"), func(tx *objects.Tx) error {
		sum.Set(tx, 1)
		fmt.Println(everything.Clear(tx), everything.Count(tx))
		sum.Set(tx, 2)
		tx.DeleteAll()
		fmt.Println(everything.Count(tx))
		return nil
	})
	// Output:
	// 1 0
	// 0
}

// A savepoint: what fails within it is undone, and the event goes on.
func ExampleTx_Transact() {
	w := objectstest.New(tb, CounterObjects)
	errFull := errors.New("full")
	_ = in(w, w.Object(Counters, "a"), func(tx *objects.Tx) error {
		sum.Set(tx, 1)
		err := tx.Transact(func() error {
			sum.Set(tx, 2)
			return errFull
		})
		fmt.Println(err, sum.Get(tx))
		return nil
	})
	// Output: full 1
}

// An event that runs again, here because its commit was refused, has the same name and time: they may go to a payment provider,
// or into what is asked of others.
func ExampleEventID() {
	w := objectstest.New(tb, CounterObjects)
	a := w.Object(Counters, "a")
	w.Refuse(a)
	var names []string
	_ = in(w, a, func(tx *objects.Tx) error {
		sum.Set(tx, 1)
		names = append(names, objects.EventID(tx))
		fmt.Println(tx.Owner().Epoch, objects.EventTime(tx).Year(), tx.Self().ID() == a.ID())
		return nil
	})
	fmt.Println(len(names), names[0] == names[1])
	// Output:
	// 1 2030 true
	// 2 2030 true
	// 2 true
}

// An order asks the shelf, now: the shelf has changed when Do returns, whatever becomes of the order. With Twice the order runs
// a second time, as after a crash, and the shelf is asked once all the same.
func ExampleTx_Object() {
	const (
		Orders  objects.Class = "order"
		Shelves objects.Class = "shelf"
	)
	place := objects.NewCall[int, string](Orders, "place")
	take := objects.NewCall[int, int](Shelves, "take")
	left := objects.NewKey[int]("left")

	type order struct{}
	orders := objects.Implement(Orders, objects.New[order], objects.On(place, func(_ *order, tx *objects.Tx, n int) (string, error) {
		rest, err := take.Do(tx, tx.Object(Shelves, "books"), n)
		if objects.CodeOf(err) == "sold_out" {
			return "declined", nil
		}
		return fmt.Sprint("placed, leaves ", rest), err
	}))
	type shelf struct{}
	shelves := objects.Implement(Shelves, objects.New[shelf], objects.On(take, func(_ *shelf, tx *objects.Tx, n int) (int, error) {
		if from, asked := tx.Sender(); !asked || from.ID().Class() != Orders {
			return 0, objects.Errorf(objects.Forbidden, "only orders take from a shelf")
		}
		rest, known := left.Lookup(tx)
		if !known {
			rest = 5
		}
		if n > rest {
			return 0, objects.Errorf("sold_out", "%d are left", rest)
		}
		left.Set(tx, rest-n)
		return rest - n, nil
	}))

	w := objectstest.New(tb, orders, shelves)
	w.Twice()
	fmt.Println(place.Do(ctx, w.Object(Orders, "1"), 3))
	fmt.Println(place.Do(ctx, w.Object(Orders, "2"), 3))
	_, err := take.Do(ctx, w.Object(Shelves, "books"), 1)
	fmt.Println(err)
	// Output:
	// placed, leaves 2 <nil>
	// declined <nil>
	// forbidden: only orders take from a shelf
}

// Abort ends an event from wherever the code is.
func ExampleTx_Abort() {
	w := objectstest.New(tb, CounterObjects)
	a := w.Object(Counters, "a")
	err := in(w, a, func(tx *objects.Tx) error {
		sum.Set(tx, 1)
		tx.Abort(objects.Errorf(objects.Conflict, "not today"), objects.CloseSockets(), objects.ForgetAlarm())
		fmt.Println("never")
		return nil
	})
	fmt.Println(err, w.Constructed(a))
	_ = in(w, a, func(tx *objects.Tx) error { fmt.Println(sum.Get(tx)); return nil })
	fmt.Println(w.Constructed(a))
	// Output:
	// conflict: not today 1
	// 0
	// 2
}

// Who an object is, and who runs it.
func ExampleTx() {
	w := objectstest.New(tb, CounterObjects)
	a := w.Object(Counters, "a")
	w.Move(a)
	_ = in(w, a, func(tx *objects.Tx) error {
		fmt.Println(tx.Name(), tx.ID() == a.ID(), tx.Owner().Epoch, tx.Now().Year())
		return nil
	})
	// Output: a true 2 2030
}

// A reminder is set by a call, and goes off at its time.
const Reminders objects.Class = "reminder"

var Remind = objects.NewCall[time.Duration, objects.None](Reminders, "remind")

type Reminder struct{}

func (*Reminder) remind(tx *objects.Tx, in time.Duration) (objects.None, error) {
	if at, set := tx.Alarm(); set {
		return nil, objects.Errorf(objects.Conflict, "one is set").With("at", at)
	}
	tx.SetAlarm(tx.Now().Add(in))
	return nil, nil
}

// Alarm runs at the time, or later, until it has succeeded.
func (*Reminder) Alarm(tx *objects.Tx, info objects.AlarmInfo) error {
	fmt.Println("ding,", tx.Now().Sub(info.Scheduled), "late, retry", info.Retry)
	return nil
}

func ExampleTx_SetAlarm() {
	w := objectstest.New(tb, objects.Implement(Reminders, objects.New[Reminder], objects.On(Remind, (*Reminder).remind)))
	tea := w.Object(Reminders, "tea")
	_, _ = Remind.Do(ctx, tea, 4*time.Minute)
	_, err := Remind.Do(ctx, tea, time.Minute)
	fmt.Println(err)
	w.Advance(4 * time.Minute)
	// Output:
	// conflict: one is set
	// ding, 0s late, retry 0
}

// A chat lets people in by WebSocket, and tells each what the others say.
const Chats objects.Class = "chat"

type Chat struct{}

func (*Chat) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	tx := objects.TxOf(r)
	who := r.URL.Query().Get("who")
	if who == "" {
		tx.Refuse(objects.Errorf(objects.Invalid, "say who you are"))
		return
	}
	socket, err := tx.Accept(objects.Tags("person", who))
	if err != nil {
		tx.Refuse(err)
		return
	}
	socket.Attach(who)
	socket.Send(objects.Text(fmt.Sprintf("hello %s, you are one of %d", who, len(tx.SocketsTagged("person")))))
}

func (*Chat) WebSocketMessage(tx *objects.Tx, from objects.Socket, m objects.Message) error {
	if string(m.Data) == "bye" {
		from.Close(1000, "see you")
		return nil
	}
	var who string
	from.Attachment(&who)
	tx.Broadcast(objects.JSON(map[string]string{"from": who, "text": string(m.Data)}), from)
	return nil
}

func (*Chat) WebSocketClose(tx *objects.Tx, s objects.Socket, end objects.Close) error {
	tx.Broadcast(objects.Text(fmt.Sprintf("%s left (%d)", s.Tags()[1], end.Code)), s)
	return nil
}

func chatWorld() (*objectstest.World, func(who string) *objectstest.Client) {
	w := objectstest.New(tb, objects.Implement(Chats, objects.New[Chat]))
	return w, func(who string) *objectstest.Client {
		c, _ := w.Connect(w.Object(Chats, "lobby"), httptest.NewRequest(http.MethodGet, "/?who="+who, nil))
		return c
	}
}

func ExampleTx_Accept() {
	w, enter := chatWorld()
	lobby := w.Object(Chats, "lobby")
	ada, bob := enter("ada"), enter("bob")
	w.Evict(lobby) // sockets, tags and attachments outlive the instance
	bob.Send(objects.Text("hi"))
	bob.Send(objects.Text("bye"))
	for m, ok := ada.Next(); ok; m, ok = ada.Next() {
		fmt.Printf("%s\n", m.Data)
	}
	// Output:
	// hello ada, you are one of 1
	// {"from":"bob","text":"hi"}
	// bob left (1000)
}

// Board shows what people point at. Of each person only the newest place counts.
type Board struct{}

const Boards objects.Class = "board"

var BoardObjects = objects.Implement(Boards, objects.New[Board])

func (*Board) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	tx := objects.TxOf(r)
	how := []objects.AcceptOption{objects.Conflated(), objects.Subprotocols("board.2", "board.1"), objects.AutoResponse("ping", "pong")}
	if _, err := tx.Accept(how...); err != nil {
		tx.Refuse(err)
	}
}

func (*Board) WebSocketMessage(tx *objects.Tx, from objects.Socket, m objects.Message) error {
	m.Conflate = from.ID()
	tx.Broadcast(m)
	return nil
}

func ExampleAutoResponse() {
	w := objectstest.New(tb, BoardObjects)
	plan := w.Object(Boards, "plan")
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Sec-WebSocket-Protocol", "board.1")
	ada, _ := w.Connect(plan, r.WithContext(objects.WithPrincipal(ctx, objects.Principal{ID: "ada"})))
	w.Evict(plan) // it sleeps, and goes on sleeping
	ada.Send(objects.Text("ping"))
	m, _ := ada.Next()
	fmt.Printf("%s %d\n", m.Data, w.Constructed(plan))
	_ = objectstest.Inside(w, plan, func(tx *objects.Tx, _ *Board) error {
		socket := tx.Sockets()[0]
		fmt.Println(socket.Principal().ID, socket.Subprotocol(), socket.Answered().Equal(w.Now()))
		return nil
	})
	// Output:
	// pong 1
	// ada board.1 true
}

func ExampleConflated() {
	w := objectstest.New(tb, BoardObjects)
	ada, _ := w.Connect(w.Object(Boards, "plan"), nil)
	bob, _ := w.Connect(w.Object(Boards, "plan"), nil)
	for x := range 3 {
		ada.SendJSON(x)
		bob.SendJSON(10 + x)
	}
	w.Advance(time.Second)
	for m, ok := ada.Next(); ok; m, ok = ada.Next() {
		fmt.Printf("%s\n", m.Data)
	}
	// Output:
	// [0]
	// [12,2]
}

func ExampleTx_Refuse() {
	w, enter := chatWorld()
	fmt.Println(enter("") == nil)
	_, err := w.Object(Chats, "lobby").Fetch(httptest.NewRequest(http.MethodGet, "/?who=ada", nil))
	fmt.Println(err)
	// Output:
	// true
	// invalid: not a WebSocket upgrade
}

func ExampleSocket() {
	w, enter := chatWorld()
	ada := enter("ada")
	_ = objectstest.Inside(w, w.Object(Chats, "lobby"), func(tx *objects.Tx, _ *Chat) error {
		socket, ok := tx.Socket(ada.ID())
		fmt.Println(ok, socket.Tags(), socket.ID() == ada.ID(), socket == tx.Sockets()[0], socket.Region())
		socket.Send(objects.Binary([]byte{1, 2}))
		return nil
	})
	_, _ = ada.Next()
	m, _ := ada.Next()
	fmt.Printf("%v %x\n", m.Binary, m.Data)
	// Output:
	// true [person ada] true true test
	// true 0102
}

// Fetch asks an object over HTTP, from a worker or a test.
// A room is placed near those who have opened it, if it is new or asleep.
func ExampleRef_Near() {
	w := objectstest.New(tb, CounterObjects)
	room := w.Object(Counters, "a").Near("syd")
	fmt.Println(room.Hint(), room.Err(), w.Object(Counters, "a").Near("no region").Err())
	// Output: syd <nil> invalid: region "no region": want 1 to 32 of a-z, 0-9 and -
}

func ExampleRef_Fetch() {
	const Pages objects.Class = "page"
	hello := objects.Implement(Pages, func(*objects.Tx) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s %s of %s", r.Method, r.URL.Path, objects.TxOf(r).Name())
		}
	})
	w := objectstest.New(tb, hello)
	response, err := w.Object(Pages, "home").Fetch(httptest.NewRequest(http.MethodGet, "/about", nil))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	fmt.Println(response.StatusCode, string(body), err)
	// Output: 200 GET /about of home <nil>
}

// An author's own code is a refusal like Conflict. The cause stays on this side; details travel.
func ExampleErrorf() {
	errSeats := errors.New("no seats")
	err := objects.Errorf("sold_out", "row %d: %w", 7, errSeats).With("row", 7)
	fmt.Println(err, errors.Is(err, errSeats))
	fmt.Println(err.Code.HTTPStatus(), err.Code.CloseCode(), err.Code.Retryable(), err.Code.Known())
	data, _ := err.MarshalJSON()
	fmt.Println(string(data))
	// Output:
	// sold_out: row 7: no seats true
	// 409 4409 false false
	// {"code":"sold_out","message":"row 7: no seats","details":{"row":7}}
}

func ExampleCodeOf() {
	refused := fmt.Errorf("claim: %w", objects.Errorf(objects.TooMany, "later"))
	e, _ := errors.AsType[*objects.Error](refused)
	fmt.Println(e.Message)
	for _, err := range []error{nil, refused, context.DeadlineExceeded, errors.New("odd")} {
		fmt.Printf("%q\n", objects.CodeOf(err))
	}
	// Output:
	// later
	// ""
	// "too_many"
	// "unknown"
	// "internal"
}

// A request that may be repeated has one effect.
func ExampleWithIdempotencyKey() {
	w := objectstest.New(tb, CounterObjects)
	visits := w.Object(Counters, "visits")
	for range 3 {
		ctx := objects.WithIdempotencyKey(context.Background(), "order-17")
		fmt.Println(Add.Do(ctx, visits, 1))
	}
	// Output:
	// 1 <nil>
	// 1 <nil>
	// 1 <nil>
}

// A worker says who asks; the object believes the worker, not the client.
func ExampleWithPrincipal() {
	const Diaries objects.Class = "diary"
	Read := objects.NewCall[objects.None, string](Diaries, "read")
	read := func(_ *struct{}, tx *objects.Tx, _ objects.None) (string, error) {
		if who := objects.PrincipalOf(tx); who.ID != tx.Name() {
			return "", objects.Errorf(objects.Forbidden, "this is the diary of %s", tx.Name())
		}
		return "dear diary", nil
	}
	w := objectstest.New(tb, objects.Implement(Diaries, objects.New[struct{}], objects.On(Read, read)))
	ada := objects.WithPrincipal(ctx, objects.Principal{ID: "ada"})
	for _, name := range []string{"ada", "bob"} {
		fmt.Println(Read.Do(ada, w.Object(Diaries, name), nil))
	}
	// Output:
	// dear diary <nil>
	//  forbidden: this is the diary of bob
}

// A queue of jobs: each is worked on outside of events, with a timer in case that is lost, and its end is told to a ledger.

const (
	JobQueues objects.Class = "jobs"
	Ledgers   objects.Class = "ledger"
)

var (
	Enqueue = objects.NewCall[string, objects.None](JobQueues, "enqueue")
	Run     = objects.NewCall[string, objects.None](JobQueues, "run")
	Ended   = objects.NewCall[string, objects.None](JobQueues, "ended")
	Enter   = objects.NewCall[string, objects.None](Ledgers, "enter")
	Lines   = objects.NewCall[objects.None, []string](Ledgers, "lines")
)

var JobObjects = objects.Implement(JobQueues, objects.New[Jobs],
	objects.On(Enqueue, (*Jobs).enqueue), objects.On(Run, (*Jobs).run), objects.On(Ended, (*Jobs).ended))

var LedgerObjects = objects.Implement(Ledgers, objects.New[Ledger], objects.On(Enter, (*Ledger).enter), objects.On(Lines, (*Ledger).lines))

type Jobs struct{}

func (*Jobs) enqueue(tx *objects.Tx, job string) (objects.None, error) {
	Run.Tell(tx, tx.Self(), job)
	return nil, nil
}

// run runs as soon as the job is committed, and again every minute until the job has ended.
func (*Jobs) run(tx *objects.Tx, job string) (objects.None, error) {
	Run.Tell(tx, tx.Self(), job, objects.After(time.Minute), objects.Keyed(job))
	tx.Go(func(t *objects.Task) error { // outside of events: it may take its time
		_, err := Ended.Do(t, t.Self(), job)
		return err
	})
	return nil, nil
}

func (*Jobs) ended(tx *objects.Tx, job string) (objects.None, error) {
	if !tx.Cancel(job) {
		return nil, nil // it had ended before
	}
	Enter.Tell(tx, tx.Object(Ledgers, "all"), job+" is done")
	return nil, nil
}

// Undelivered hears of a message that the ledger has refused.
func (*Jobs) Undelivered(tx *objects.Tx, m objects.Told) error {
	unsaid.Set(tx, append(unsaid.Get(tx), m.Call+": "+m.Err.Message))
	return nil
}

var unsaid = objects.NewKey[[]string]("unsaid")

type Ledger struct{}

var lines = objects.NewKey[[]string]("lines")

func (*Ledger) enter(tx *objects.Tx, line string) (objects.None, error) {
	lines.Set(tx, append(lines.Get(tx), line))
	return nil, nil
}

func (*Ledger) lines(tx *objects.Tx, _ objects.None) ([]string, error) { return lines.Get(tx), nil }

func ExampleTx_Go() {
	w := objectstest.New(tb, JobObjects, LedgerObjects)
	if _, err := Enqueue.Do(ctx, w.Object(JobQueues, "nightly"), nightly); err != nil {
		fmt.Println(err)
	}
	w.Wait()             // for the task
	w.Advance(time.Hour) // the timer was cancelled
	all, err := Lines.Do(ctx, w.Object(Ledgers, "all"), nil)
	fmt.Println(all, err)
	// Output: [backup is done] <nil>
}

const nightly = "backup"

// Reminders are timers: an object may have any number.

const Calendars objects.Class = "calendar"

var (
	Plan    = objects.NewCall[Date, objects.None](Calendars, "plan")
	Forget  = objects.NewCall[string, bool](Calendars, "forget")
	Planned = objects.NewCall[string, time.Time](Calendars, "planned")
	Ring    = objects.NewCall[string, objects.None](Calendars, "ring")
)

type Date struct {
	What string
	At   time.Time
}

type Calendar struct{}

// plan has the calendar ring at the time. The date of the same name is replaced.
func (*Calendar) plan(tx *objects.Tx, d Date) (objects.None, error) {
	Ring.Tell(tx, tx.Self(), d.What, objects.At(d.At), objects.Keyed(d.What))
	return nil, nil
}

func (*Calendar) forget(tx *objects.Tx, what string) (bool, error) { return tx.Cancel(what), nil }

func (*Calendar) planned(tx *objects.Tx, what string) (time.Time, error) {
	var date objects.Told
	date, ok := tx.Pending(what)
	if !ok {
		return time.Time{}, objects.Errorf(objects.NotFound, "nothing is planned under %q", what)
	}
	return date.At, nil
}

func (*Calendar) ring(tx *objects.Tx, what string) (objects.None, error) {
	fmt.Println(tx.Now().Format(time.Kitchen), what)
	return nil, nil
}

func ExampleCall_Tell() {
	w := objectstest.New(tb, objects.Implement(Calendars, objects.New[Calendar], objects.On(Plan, (*Calendar).plan),
		objects.On(Forget, (*Calendar).forget), objects.On(Planned, (*Calendar).planned), objects.On(Ring, (*Calendar).ring)))
	mine := w.Object(Calendars, "mine")
	for what, in := range map[string]time.Duration{"lunch": 12 * time.Hour, "tea": 17 * time.Hour, "dentist": 9 * time.Hour} {
		_, _ = Plan.Do(ctx, mine, Date{what, w.Now().Add(in)})
	}
	_, _ = Plan.Do(ctx, mine, Date{"tea", w.Now().Add(16 * time.Hour)}) // an hour earlier
	fmt.Println(Forget.Do(ctx, mine, "dentist"))
	at, _ := Planned.Do(ctx, mine, "lunch")
	fmt.Println("lunch at", at.Format(time.Kitchen))
	w.Advance(24 * time.Hour)
	// Output:
	// true <nil>
	// lunch at 12:00PM
	// 12:00PM lunch
	// 4:00PM tea
}

// A stream writes the response after the event, as its text comes into being. What the reader has got is kept by a call.

const Scribes objects.Class = "scribe"

var Written = objects.NewCall[int, objects.None](Scribes, "written")

var scribed = objects.NewKey[int]("lines")

type Scribe struct{}

func (*Scribe) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain")
	objects.TxOf(r).Stream(func(t *objects.Task, out io.Writer) error {
		for n := range 3 {
			if _, err := fmt.Fprintf(out, "line %d\n", n); err != nil {
				return err // the reader has gone
			}
		}
		_, err := Written.Do(t, t.Self(), 3)
		return err
	})
}

func (*Scribe) written(tx *objects.Tx, n int) (objects.None, error) {
	scribed.Set(tx, n)
	return nil, nil
}

func ExampleTx_Stream() {
	w := objectstest.New(tb, objects.Implement(Scribes, objects.New[Scribe], objects.On(Written, (*Scribe).written)))
	scribe := w.Object(Scribes, "s")
	response, err := scribe.Fetch(httptest.NewRequest(http.MethodGet, "/", nil))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer response.Body.Close()
	_, _ = io.Copy(os.Stdout, response.Body)
	_ = objectstest.Inside(w, scribe, func(tx *objects.Tx, _ *Scribe) error {
		fmt.Println(scribed.Get(tx), "written")
		return nil
	})
	// Output:
	// line 0
	// line 1
	// line 2
	// 3 written
}

// A document whose past is kept: what was pasted over it can be taken back.

const Documents objects.Class = "document"

var (
	Write    = objects.NewCall[string, objects.Bookmark](Documents, "write")
	Revert   = objects.NewCall[objects.Bookmark, objects.Bookmark](Documents, "revert")
	AsItWas  = objects.NewCall[time.Time, objects.Bookmark](Documents, "as-it-was")
	Contents = objects.NewCall[objects.None, string](Documents, "contents")

	draft = objects.NewKey[string]("text")

	documents = objects.Implement(Documents, objects.New[Document],
		objects.On(Write, (*Document).write), objects.On(Revert, (*Document).revert),
		objects.On(AsItWas, (*Document).asItWas), objects.On(Contents, (*Document).contents),
	).With(objects.Settings{History: 7 * 24 * time.Hour})
)

type Document struct{}

// write returns the state before, for Revert.
func (*Document) write(tx *objects.Tx, s string) (objects.Bookmark, error) {
	draft.Set(tx, s)
	return tx.Bookmark(), nil
}

func (*Document) revert(tx *objects.Tx, to objects.Bookmark) (undo objects.Bookmark, _ error) {
	return tx.Restore(to), nil
}

func (*Document) asItWas(tx *objects.Tx, at time.Time) (objects.Bookmark, error) {
	return tx.BookmarkAt(at)
}

func (*Document) contents(tx *objects.Tx, _ objects.None) (string, error) { return draft.Get(tx), nil }

func ExampleTx_Restore() {
	w := objectstest.New(tb, documents)
	letter := w.Object(Documents, "letter")
	_, _ = Write.Do(ctx, letter, "Dear Ann,")
	w.Advance(time.Hour)
	before, _ := Write.Do(ctx, letter, "oops")
	undo, _ := Revert.Do(ctx, letter, before)
	fmt.Println(Contents.Do(ctx, letter, nil))
	_, _ = Revert.Do(ctx, letter, undo) // the restore is taken back
	fmt.Println(Contents.Do(ctx, letter, nil))

	hourAgo, _ := AsItWas.Do(ctx, letter, w.Now().Add(-time.Hour))
	_, _ = Revert.Do(ctx, letter, hourAgo)
	fmt.Println(Contents.Do(ctx, letter, nil))
	w.Advance(objects.MaxHistory)
	_, err := Revert.Do(ctx, letter, before)
	fmt.Println(objects.CodeOf(err))
	// Output:
	// Dear Ann, <nil>
	// oops <nil>
	// Dear Ann, <nil>
	// not_found
}
