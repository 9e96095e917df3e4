// Package chat is a chat room: it keeps the posts, and knows who is present.
//
// A WebSocket at /chat/{room}/live?name=ada first gets the latest posts and who is present, and then what happens. Each
// text message that it sends, {"text":"hello"}, is a post; {"typing":true} goes to the others and is not kept.
package chat

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/gofiber/fiber/v2"

	"holdfast/gateway"
	"holdfast/objects"
)

// Rooms are chat rooms.
const Rooms objects.Class = "chat"

// History asks for the posts before a post, newest first.
var History = objects.NewCall[Page, []Post](Rooms, "history")

// Objects is the class with its code.
var Objects = objects.Implement(Rooms, objects.New[Room], objects.On(History, (*Room).history))

// Worker adds the chat's routes.
func Worker(r fiber.Router, env *gateway.Env) {
	r.Get("/chat/:room/history", gateway.Handle(env, History, gateway.Param("room")))
	env.Mount(r, "/chat/:room", Rooms)
}

// Post is one message of a user.
type Post struct {
	N    uint64    `json:"n"` // 1, 2, 3
	From string    `json:"from"`
	Text string    `json:"text"`
	At   time.Time `json:"at"`
}

// Page is a part of the history.
type Page struct {
	Before uint64 `json:"before"` // 0: from the last post on
}

// Event is a message to a socket. One of its fields is set.
type Event struct {
	Here   []string `json:"here,omitempty"`   // who is present now
	Latest []Post   `json:"latest,omitempty"` // to a socket that was just opened, oldest first
	Post   *Post    `json:"post,omitempty"`
	Typing string   `json:"typing,omitempty"` // who is typing
}

const (
	kept    = 1000 // posts
	page    = 50
	maxText = 2000
	maxName = 40
)

var posts = objects.NewMap[uint64, Post]("post")

// Room is one room. It keeps nothing in memory: the names of those present are attached to the sockets.
type Room struct{}

func (*Room) history(tx *objects.Tx, p Page) ([]Post, error) { return before(tx, p.Before), nil }

// before returns the posts before one, newest first.
func before(tx *objects.Tx, n uint64) []Post {
	some := posts.Limit(page)
	if n > 0 {
		some = some.Before(n)
	}
	all := []Post{}
	for _, p := range some.Backward(tx) {
		all = append(all, p)
	}
	return all
}

// ServeHTTP opens a socket.
func (*Room) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	tx := objects.TxOf(r)
	name := r.URL.Query().Get("name")
	if name == "" || len(name) > maxName {
		tx.Refuse(objects.Errorf(objects.Invalid, "say your name, of at most %d bytes: ?name=ada", maxName))
		return
	}
	s, err := tx.Accept()
	if err != nil {
		tx.Refuse(err)
		return
	}
	s.Attach(name)
	latest := before(tx, 0)
	slices.Reverse(latest)
	s.Send(objects.JSON(Event{Latest: latest}))
	tellWhoIsHere(tx, nil)
}

// WebSocketMessage handles a post, or the news that somebody types.
func (*Room) WebSocketMessage(tx *objects.Tx, s objects.Socket, m objects.Message) error {
	var said struct {
		Text   string
		Typing bool
	}
	if err := json.Unmarshal(m.Data, &said); err != nil || len(said.Text) > maxText {
		return objects.Errorf(objects.Invalid, `want {"text":"..."} of at most %d bytes`, maxText)
	}
	if said.Typing {
		tx.Broadcast(objects.JSON(Event{Typing: nameOf(s)}), s)
		return nil
	}
	last, _, _ := posts.Last(tx)
	p := Post{N: last + 1, From: nameOf(s), Text: said.Text, At: tx.Now()}
	posts.Set(tx, p.N, p)
	if p.N > kept {
		posts.To(p.N - kept).Clear(tx)
	}
	tx.Broadcast(objects.JSON(Event{Post: &p}))
	return nil
}

// WebSocketClose tells the others who is still present.
func (*Room) WebSocketClose(tx *objects.Tx, s objects.Socket, _ objects.Close) error {
	tellWhoIsHere(tx, &s)
	return nil
}

// tellWhoIsHere tells all except gone who is present.
func tellWhoIsHere(tx *objects.Tx, gone *objects.Socket) {
	here := []string{}
	for _, s := range tx.Sockets() {
		if gone == nil || s != *gone {
			here = append(here, nameOf(s))
		}
	}
	slices.Sort(here)
	tx.Broadcast(objects.JSON(Event{Here: slices.Compact(here)}))
}

func nameOf(s objects.Socket) (name string) {
	s.Attachment(&name)
	return name
}
