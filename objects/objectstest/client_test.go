package objectstest_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"holdfast/objects"
	"holdfast/objects/objectstest"
)

func TestARefusedCommitOfASocketsEvents(t *testing.T) {
	write := func(tx *objects.Tx) { note.Set(tx, fmt.Sprint(note.Get(tx), "x")) }
	var ends []objects.Close
	s := &script{
		serve: func(tx *objects.Tx, _ http.ResponseWriter, r *http.Request) {
			if _, err := tx.Accept(); err != nil {
				t.Error(err)
			}
			write(tx)
		},
		message: func(tx *objects.Tx, _ objects.Socket, _ objects.Message) error { write(tx); return nil },
		closed: func(tx *objects.Tx, _ objects.Socket, end objects.Close) error {
			ends = append(ends, end)
			write(tx)
			return nil
		},
		call: func(tx *objects.Tx) error {
			if n := len(tx.Sockets()); n != 0 {
				t.Errorf("%d sockets are left", n)
			}
			return nil
		},
	}
	w := world(t, s)
	w.Refuse(at(w, "a"))
	c := connect(t, w)
	w.Refuse(at(w, "a"))
	c.Send(objects.Text("hi"))
	if end, closed := c.Closed(); closed || len(ends) > 0 {
		t.Errorf("the client ended with %+v, the object was told %+v, want it open", end, ends)
	}
	w.Refuse(at(w, "a"))
	c.Close(1000, "bye")
	want := objects.Close{Code: 1000, Reason: "bye", Clean: true}
	if !slices.Equal(ends, []objects.Close{want, want}) { // refused, and again on the next instance
		t.Errorf("told %+v, want %+v twice", ends, want)
	}
	if err := do(w, "a"); err != nil {
		t.Error(err)
	}
	if v, _ := stored(t, w, note, "a"); v != "xxx" {
		t.Errorf("stored %s, want one write of each event", v)
	}
}

func TestTheObjectIsToldOnceOfEachEnd(t *testing.T) {
	var ends []string
	s := &script{
		message: func(_ *objects.Tx, from objects.Socket, m objects.Message) error {
			switch string(m.Data) {
			case "close":
				from.Send(objects.Text("bye"))
				from.Close(4000, "enough")
				from.Send(objects.Text("too late"))
			case "refuse":
				return objects.Errorf(objects.Invalid, "what?")
			case "fail":
				return errors.New("secret")
			}
			return nil
		},
		closed: func(tx *objects.Tx, socket objects.Socket, end objects.Close) error {
			if !slices.Contains(tx.Sockets(), socket) && end.Code != 4000 {
				t.Errorf("%v: the socket is not listed while its end is told", end)
			}
			socket.Send(objects.Text("nobody hears"))
			ends = append(ends, fmt.Sprint(end.Code, end.Clean))
			if end.Code == 1001 {
				panic("in close")
			}
			return nil
		},
	}
	for name, c := range map[string]struct {
		end    func(*objectstest.Client)
		code   int
		reason string
		told   string
		heard  []string
		faults int
	}{
		"by the object":  {func(c *objectstest.Client) { c.Send(objects.Text("close")) }, 4000, "enough", "4000 true", []string{"bye"}, 0},
		"by a refusal":   {func(c *objectstest.Client) { c.Send(objects.Text("refuse")) }, 4400, "what?", "4400 true", nil, 0},
		"by its length":  {func(c *objectstest.Client) { c.Send(objects.Binary(make([]byte, objects.MaxFrame+1))) }, 1009, "too large", "1009 true", nil, 0},
		"by its text":    {func(c *objectstest.Client) { c.Send(objects.Text("\xff")) }, 1007, "UTF-8", "1007 true", nil, 0},
		"by a fault":     {func(c *objectstest.Client) { c.Send(objects.Text("fail")) }, 1011, "(reference ", "1011 true", nil, 1},
		"by the peer":    {func(c *objectstest.Client) { c.Close(3000, "mine") }, 3000, "mine", "3000 true", nil, 0},
		"by the network": {func(c *objectstest.Client) { c.Close(1006, "") }, 1006, "", "1006 false", nil, 0},
		"with a panic":   {func(c *objectstest.Client) { c.Close(1001, "") }, 1001, "", "1001 true", nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			ends = nil
			w := world(t, s)
			w.Faults(c.faults)
			client := connect(t, w)
			c.end(client)
			client.Send(objects.Text("close")) // nothing happens any more
			client.Close(1000, "")
			end, closed := client.Closed()
			if !closed || end.Code != c.code || !strings.Contains(end.Reason, c.reason) || strings.Contains(end.Reason, "secret") {
				t.Errorf("ended %v: %+v, want %d %q", closed, end, c.code, c.reason)
			}
			if !slices.Equal(ends, []string{c.told}) {
				t.Errorf("told %q, want %q", ends, c.told)
			}
			if got := heard(client); !slices.Equal(got, c.heard) {
				t.Errorf("heard %q, want %q", got, c.heard)
			}
			s.call = func(tx *objects.Tx) error {
				if n := len(tx.Sockets()); n != 0 {
					t.Errorf("%d sockets are left", n)
				}
				return nil
			}
			if err := do(w, "a"); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSocketsOutliveTheInstance(t *testing.T) {
	s := &script{
		serve: func(tx *objects.Tx, _ http.ResponseWriter, r *http.Request) {
			socket, err := tx.Accept(objects.Tags("tag", r.URL.Path))
			if err != nil {
				t.Error(err)
				return
			}
			socket.Attach(len(tx.Sockets()))
		},
		message: func(tx *objects.Tx, from objects.Socket, _ objects.Message) error {
			for _, socket := range tx.SocketsTagged("tag") {
				var n int
				socket.Attachment(&n)
				from.Send(objects.Text(fmt.Sprint(socket.ID(), " ", n, " ", socket.Tags(), " ", tx.Owner().Epoch)))
			}
			return nil
		},
	}
	w := world(t, s)
	first := connect(t, w)
	second, _ := w.Connect(at(w, "a"), httptest.NewRequest(http.MethodGet, "/b?c", nil))
	for epoch, drop := range []func(objects.Ref){nil, w.Evict, w.Move, w.Move} {
		if drop != nil {
			drop(at(w, "a"))
		}
		want := []string{
			fmt.Sprint(second.ID(), " 2 [tag /b] ", max(1, epoch)),
			fmt.Sprint(first.ID(), " 1 [tag /] ", max(1, epoch)),
		}
		first.Send(objects.Text("who is there?"))
		if got := heard(first); !slices.Equal(got, want) {
			t.Errorf("heard %q, want %q", got, want)
		}
	}
	if n := w.Constructed(at(w, "a")); n != 4 {
		t.Errorf("constructed %d times, want 4", n)
	}
}

func TestConnectSaysWhyItWasRefused(t *testing.T) {
	w := world(t, &script{serve: func(_ *objects.Tx, w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" {
			t.Errorf("header = %v, want an upgrade", r.Header)
		}
		w.Header().Set("X-Why", "full")
		http.Error(w, "no room", http.StatusTooManyRequests)
	}})
	c, response := w.Connect(at(w, "a"), nil)
	body, err := io.ReadAll(response.Body)
	if c != nil || response.StatusCode != 429 || string(body) != "no room\n" || err != nil || response.Header.Get("X-Why") != "full" {
		t.Errorf("connect = %v, %s %s, %v, want 429 no room", c, response.Status, body, err)
	}
}

func TestNextJSONDecodes(t *testing.T) {
	s := &script{message: func(_ *objects.Tx, from objects.Socket, m objects.Message) error { from.Send(m); return nil }}
	c := connect(t, world(t, s))
	var n int
	if c.NextJSON(&n) {
		t.Errorf("read %d from an empty inbox", n)
	}
	c.SendJSON(7)
	if !c.NextJSON(&n) || n != 7 {
		t.Errorf("read %d, want the echo 7", n)
	}
}
