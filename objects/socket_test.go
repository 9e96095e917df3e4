package objects_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"holdfast/objects"
	"holdfast/objects/internal/engine"
)

func ids[S interface{ ID() string }](sockets []S) (ids []string) {
	for _, s := range sockets {
		ids = append(ids, s.ID())
	}
	return ids
}

// accept has one socket accepted with these tags and gives the error of it.
func (h *harness) accept(id string, tags ...string) (err error) {
	h.fetch(id, func(tx *objects.Tx) error {
		_, err = tx.Accept(objects.Tags(tags...))
		return nil
	})
	return err
}

func TestSocketsAreListedMostRecentFirstAndByTag(t *testing.T) {
	h := newHarness(t)
	h.open("s1", "red")
	h.open("s2", "blue", "red")
	h.open("s3")
	h.must(func(tx *objects.Tx) {
		for tag, want := range map[string][]string{"red": {"s2", "s1"}, "blue": {"s2"}, "none": nil, "": nil} {
			if got := ids(tx.SocketsTagged(tag)); !slices.Equal(got, want) {
				t.Errorf("with tag %q = %q, want %q", tag, got, want)
			}
		}
		if got := ids(tx.Sockets()); !slices.Equal(got, []string{"s3", "s2", "s1"}) {
			t.Errorf("all = %q, want the most recent first", got)
		}
		first := tx.SocketsTagged("blue")[0]
		if got := first.Tags(); !slices.Equal(got, []string{"blue", "red"}) || first.Region() != "r" {
			t.Errorf("tags = %q in region %q", got, first.Region())
		}
	})
	h.start() // they stay while the instance sleeps
	h.must(func(tx *objects.Tx) {
		if got := ids(tx.SocketsTagged("red")); !slices.Equal(got, []string{"s2", "s1"}) {
			t.Errorf("after the sleep = %q, want s2 and s1", got)
		}
	})
}

func TestTagsHaveLimits(t *testing.T) {
	ten := make([]string, objects.MaxTags)
	for i := range ten {
		ten[i] = fmt.Sprint("tag", i)
	}
	for name, c := range map[string]struct {
		tags []string
		ok   bool
	}{
		"ten":               {ten, true},
		"ten, some twice":   {slices.Concat(ten, ten), true},
		"eleven":            {append(slices.Clone(ten), "more"), false},
		"the longest":       {[]string{strings.Repeat("a", objects.MaxTag)}, true},
		"one byte too long": {[]string{strings.Repeat("a", objects.MaxTag+1)}, false},
	} {
		h := newHarness(t)
		err := h.accept("s", c.tags...)
		if c.ok != (err == nil) || !c.ok && objects.CodeOf(err) != objects.Invalid {
			t.Errorf("%s: %v", name, err)
		}
		if h.sockets.Has("s") != c.ok {
			t.Errorf("%s: the socket is open: %v, want %v", name, h.sockets.Has("s"), c.ok)
		}
	}
}

func TestTheSocketBeyondTheLastIsRefused(t *testing.T) {
	h := newHarness(t)
	for i := range objects.MaxSockets - 1 {
		h.sockets.Add(engine.SocketInfo{ID: fmt.Sprint(i)})
	}
	if err := h.accept("last"); err != nil {
		t.Errorf("socket %d: %v", objects.MaxSockets, err)
	}
	if err := h.accept("more"); objects.CodeOf(err) != objects.TooMany {
		t.Errorf("socket %d: %v, want too_many", objects.MaxSockets+1, err)
	}
}

func TestAnAutomaticResponseIsBounded(t *testing.T) {
	for _, how := range []objects.AcceptOption{
		objects.AutoResponse(strings.Repeat("x", 2<<10+1), ""), objects.AutoResponse("", strings.Repeat("x", 2<<10+1)), objects.AutoResponse("\xff", ""),
	} {
		h := newHarness(t)
		h.fetch("s1", func(tx *objects.Tx) error {
			if _, err := tx.Accept(how); objects.CodeOf(err) != objects.Invalid {
				t.Errorf("err = %v, want invalid", err)
			}
			return nil
		})
	}
}

// What the handler writes into the header of a handshake is not what was agreed on.
func TestASubprotocolIsAgreedOnByTheOptionAlone(t *testing.T) {
	h := newHarness(t)
	out := h.instance.Fetch(func() *http.Request {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Add("Sec-WebSocket-Protocol", "a, b")
		r.Header.Add("Sec-WebSocket-Protocol", "c")
		h.work = func(tx *objects.Tx) error {
			socket, err := tx.Accept(objects.Subprotocols("d", "c", "a"))
			if err == nil && socket.Subprotocol() != "c" {
				t.Errorf("agreed on %q, want c", socket.Subprotocol())
			}
			return err
		}
		return r
	}(), engine.Fetching{Socket: &engine.SocketInfo{ID: "s1", Gateway: "g"}})
	if got := out.Response.Header.Values("Sec-WebSocket-Protocol"); len(got) != 1 || got[0] != "c" {
		t.Errorf("the handshake says %q, want c", got)
	}
}

func TestAcceptTakesAnUpgradeOnce(t *testing.T) {
	h := newHarness(t)
	if err := h.accept(""); objects.CodeOf(err) != objects.Invalid {
		t.Errorf("accepting a plain request: %v, want invalid", err)
	}
	out := h.fetch("s1", func(tx *objects.Tx) error {
		h.w.Header().Set("X-Room", "1")
		socket, err := tx.Accept()
		if err != nil {
			return err
		}
		if _, err := tx.Accept(); objects.CodeOf(err) != objects.Invalid {
			t.Errorf("accepting twice: %v, want invalid", err)
		}
		socket.Send(objects.Text("hello"))
		return nil
	})
	if out.Err != nil || out.Response.Status != 101 || out.Response.Header.Get("X-Room") != "1" {
		t.Errorf("answer = %+v, %v, want 101 with the handler's header", out.Response, out.Err)
	}
	if got := ids(out.Opened); !slices.Equal(got, []string{"s1"}) || len(out.Sends) != 1 {
		t.Errorf("opened %q with %d sends, want s1 and one", got, len(out.Sends))
	}
}

func TestWhatAFailedEventDidToSocketsIsUndone(t *testing.T) {
	h := newHarness(t)
	h.open("s1")
	h.must(func(tx *objects.Tx) { tx.Sockets()[0].Attach("before") })
	out := h.fetch("s2", func(tx *objects.Tx) error {
		first := tx.Sockets()[0]
		second, err := tx.Accept()
		if err != nil {
			t.Error(err)
		}
		second.Attach("new")
		first.Attach("during")
		first.Attach("later")
		first.Send(objects.Text("hi"))
		first.Close(1000, "bye")
		if got := ids(tx.Sockets()); !slices.Equal(got, []string{"s2"}) {
			t.Errorf("during = %q, want s2 only as s1 is closed", got)
		}
		return errOnPurpose
	})
	nothingHappened(t, out)
	h.must(func(tx *objects.Tx) {
		if got := ids(tx.Sockets()); !slices.Equal(got, []string{"s1"}) {
			t.Fatalf("after = %q, want s1 as before", got)
		}
		var note string
		if !tx.Sockets()[0].Attachment(&note) || note != "before" {
			t.Errorf("attachment = %q, want the one before", note)
		}
	})
}

func TestAttachmentsHaveALimitAndAShape(t *testing.T) {
	fits := strings.Repeat("a", objects.MaxAttachment-len(`""`))
	for name, c := range map[string]struct {
		v    any
		code objects.Code
	}{
		"the largest":       {fits, ""},
		"one byte too long": {fits + "a", objects.TooLarge},
		"no JSON":           {func() {}, objects.Internal},
	} {
		h := newHarness(t)
		h.open("s1")
		out := h.call(func(tx *objects.Tx) error { tx.Sockets()[0].Attach(c.v); return nil })
		if got := objects.CodeOf(out.Err); got != c.code {
			t.Errorf("%s: %v, want %q", name, out.Err, c.code)
		}
		if held := h.sockets.All()[0].Info().Attachment; (held != nil) != (c.code == "") {
			t.Errorf("%s: holds %d bytes", name, len(held))
		}
	}
	h := newHarness(t)
	h.open("s1")
	h.must(func(tx *objects.Tx) {
		var n int
		if tx.Sockets()[0].Attachment(&n) {
			t.Error("a socket without attachment has one")
		}
		tx.Sockets()[0].Attach("text")
	})
	out := h.call(func(tx *objects.Tx) error {
		var n int
		tx.Sockets()[0].Attachment(&n)
		t.Error("the event went on with an attachment that it cannot read")
		return nil
	})
	nothingHappened(t, out)
	h.must(func(tx *objects.Tx) { tx.Sockets()[0].Attach(nil) })
	h.must(func(tx *objects.Tx) {
		if tx.Sockets()[0].Attachment(new(string)) {
			t.Error("an attachment that was taken away is there")
		}
	})
}

func TestOneMessageToManyIsOneSend(t *testing.T) {
	h := newHarness(t)
	for _, id := range []string{"s1", "s2", "s3"} {
		h.open(id)
	}
	out := h.must(func(tx *objects.Tx) {
		all := tx.Sockets()
		m := objects.JSON(map[string]int{"x": 1})
		for _, socket := range all {
			socket.Send(m)
		}
		for _, socket := range all {
			socket.Send(objects.Text("made anew"))
		}
		all[0].Send(objects.Text("twice"))
		all[0].Send(objects.Text("twice"))
		all[0].Send(objects.Text("as"))
		all[1].Send(objects.Binary([]byte("as")))
		all[0].Send(objects.Text(""))
		all[1].Send(objects.Text(""))
	})
	var got []string
	for _, send := range out.Sends {
		got = append(got, fmt.Sprint(string(send.Message.Data), ids(send.Sockets), send.Message.Binary))
	}
	want := []string{
		`{"x":1}[s3 s2 s1] false`, "made anew[s3 s2 s1] false",
		"twice[s3] false", "twice[s3] false", "as[s3] false", "as[s2] true", "[s3 s2] false",
	}
	if !slices.Equal(got, want) {
		t.Errorf("sends = %q, want %q", got, want)
	}
}

func TestAMessageHasALimit(t *testing.T) {
	for size, code := range map[int]objects.Code{objects.MaxMessage: "", objects.MaxMessage + 1: objects.TooLarge} {
		h := newHarness(t)
		h.open("s1")
		out := h.call(func(tx *objects.Tx) error {
			tx.Sockets()[0].Send(objects.Binary(make([]byte, size)))
			return nil
		})
		if got := objects.CodeOf(out.Err); got != code {
			t.Errorf("%d bytes: %v, want %q", size, out.Err, code)
		}
	}
}

func TestAClosedSocketIsSilentUntilItHasEnded(t *testing.T) {
	h := newHarness(t)
	h.open("s1")
	out := h.must(func(tx *objects.Tx) {
		socket := tx.Sockets()[0]
		socket.Send(objects.Text("bye"))
		socket.Close(4000, "reason")
		socket.Send(objects.Text("too late"))
		socket.Close(4001, "too late")
		if len(tx.Sockets()) != 0 {
			t.Error("a closed socket is still listed")
		}
	})
	if len(out.Sends) != 2 || out.Sends[1].Close != (engine.Close{Code: 4000, Reason: "reason"}) {
		t.Errorf("sends = %+v, want the message and one close", out.Sends)
	}
	h.work = func(*objects.Tx) error { t.Error("a closed socket was heard"); return nil }
	if out := h.instance.Message(t.Context(), "s1", engine.Message{Data: []byte("hi")}); out.Err != nil {
		t.Errorf("a message that crossed the close: %v", out.Err)
	}
	heard := 0
	h.work = func(*objects.Tx) error { heard++; return errOnPurpose }
	end := engine.Close{Code: 4000, Clean: true}
	if out := h.instance.Closed(t.Context(), "s1", end); !errors.Is(out.Err, errOnPurpose) {
		t.Errorf("close = %v, want what the handler said", out.Err)
	}
	if out := h.instance.Closed(t.Context(), "s1", end); objects.CodeOf(out.Err) != objects.NotFound || heard != 1 {
		t.Errorf("told %d times, then %v, want once and not_found", heard, out.Err)
	}
	if out := h.instance.Message(t.Context(), "s1", engine.Message{Data: []byte("hi")}); objects.CodeOf(out.Err) != objects.NotFound {
		t.Errorf("a message after the end: %v, want not_found", out.Err)
	}
}

func TestASocketIsStillThereWhileItsEndIsTold(t *testing.T) {
	h := newHarness(t)
	h.open("s1")
	h.open("s2")
	h.work = func(tx *objects.Tx) error {
		if got := ids(tx.Sockets()); !slices.Equal(got, []string{"s2", "s1"}) {
			t.Errorf("during = %q, want both", got)
		}
		return nil
	}
	if out := h.instance.Closed(t.Context(), "s1", engine.Close{Code: 1006}); out.Err != nil {
		t.Fatal(out.Err)
	}
	h.must(func(tx *objects.Tx) {
		if got := ids(tx.Sockets()); !slices.Equal(got, []string{"s2"}) {
			t.Errorf("after = %q, want s2", got)
		}
	})
}

func TestCloseTakesTheCodesThatApplicationsMayUse(t *testing.T) {
	may := []int{1000, 1001, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 4400, 4999}
	mayNot := []int{0, -1, 999, 1002, 1004, 1005, 1006, 1014, 1015, 1016, 2999, 5000, 65536 + 1000}
	for _, code := range slices.Concat(may, mayNot) {
		h := newHarness(t)
		h.open("s1")
		out := h.call(func(tx *objects.Tx) error { tx.Sockets()[0].Close(code, ""); return nil })
		if want := slices.Contains(may, code); want != (out.Err == nil) {
			t.Errorf("close with %d: %v", code, out.Err)
		}
	}
}

func TestAReasonIsCutAtAWholeCharacter(t *testing.T) {
	for name, c := range map[string]struct{ reason, want string }{
		"fits":          {strings.Repeat("a", 123), strings.Repeat("a", 123)},
		"too long":      {strings.Repeat("a", 124), strings.Repeat("a", 123)},
		"two bytes":     {strings.Repeat("é", 62), strings.Repeat("é", 61)},
		"four bytes":    {strings.Repeat("😀", 31), strings.Repeat("😀", 30)},
		"broken text":   {"a\xff", "a\uFFFD"},
		"only the rest": {strings.Repeat("\x80", 200), "\uFFFD"},
	} {
		h := newHarness(t)
		h.open("s1")
		out := h.must(func(tx *objects.Tx) { tx.Sockets()[0].Close(1000, c.reason) })
		if got := out.Sends[0].Close.Reason; got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
