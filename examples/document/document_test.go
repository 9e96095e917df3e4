package document_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/http/httptest"
	"testing"

	"holdfast/examples/document"
	"holdfast/gateway/gatewaytest"
	"holdfast/objects"
	"holdfast/objects/objectstest"
)

// open is somebody at the document, and read all that has come since: "1:update".
func open(t *testing.T, front *gatewaytest.Front) (c *objectstest.Client, read func() []string) {
	t.Helper()
	c, r := front.Connect(httptest.NewRequest("GET", "/document/minutes/live", nil))
	if c == nil {
		t.Fatal(r.Status)
	}
	return c, func() (got []string) {
		for m, ok := c.Next(); ok; m, ok = c.Next() {
			got = append(got, fmt.Sprintf("%d:%s", binary.BigEndian.Uint64(m.Data), m.Data[8:]))
		}
		return got
	}
}

func TestEverybodyGetsEveryUpdateAndASnapshotStandsForMany(t *testing.T) {
	w := objectstest.New(t, document.Objects)
	front := gatewaytest.New(t, w, document.Worker)
	ada, adas := open(t, front)
	bob, bobs := open(t, front)
	ada.Send(objects.Binary([]byte("\x00one")))
	bob.Send(objects.Binary([]byte("\x00two")))
	if a, b := fmt.Sprint(adas()), fmt.Sprint(bobs()); a != "[2:two]" || b != "[1:one]" {
		t.Errorf("ada got %s, bob %s, want each other's", a, b)
	}
	w.Move(w.Object(document.Documents, "minutes"))
	for i := 3; i <= 200; i++ {
		ada.Send(objects.Binary([]byte("\x00more")))
	}
	if got := adas(); fmt.Sprint(got) != "[200:]" {
		t.Errorf("ada was asked %q, want for a snapshot of 200 updates", got)
	}
	bobs()
	ada.Send(objects.Binary(append(binary.BigEndian.AppendUint64([]byte{1}, 198), "all of it"...)))
	if _, eves := open(t, front); fmt.Sprint(eves()) != "[198:all of it 199:more 200:more]" {
		t.Error("eve did not get the snapshot and the two updates after it")
	}
	bob.Send(objects.Binary([]byte("\x00two hundred and one")))
	if got := adas(); fmt.Sprint(got) != "[201:two hundred and one]" {
		t.Errorf("ada got %q", got)
	}
}

func TestWhatIsNoUpdateClosesTheSocket(t *testing.T) {
	front := gatewaytest.New(t, objectstest.New(t, document.Objects), document.Worker)
	for name, m := range map[string]objects.Message{
		"text":                     objects.Text("\x00hello"),
		"nothing":                  objects.Binary([]byte{0}),
		"another kind":             objects.Binary([]byte("\x02hello")),
		"a snapshot of the future": objects.Binary(append(binary.BigEndian.AppendUint64([]byte{1}, 9), 'x')),
	} {
		c, _ := open(t, front)
		c.Send(m)
		if end, closed := c.Closed(); !closed || end.Code != objects.Invalid.CloseCode() {
			t.Errorf("%s: %+v, %v", name, end, closed)
		}
	}
}

// A document that is too much for a socket that opens is read in pieces before.
func TestALargeDocumentIsReadInPiecesAndThenFollowed(t *testing.T) {
	front := gatewaytest.New(t, objectstest.New(t, document.Objects), document.Worker)
	ada, _ := open(t, front)
	const many, size = 30, 50_000
	for range many {
		ada.Send(objects.Binary(make([]byte, 1+size)))
	}
	if c, r := front.Connect(httptest.NewRequest("GET", "/document/minutes/live", nil)); c != nil || r.StatusCode != 413 {
		t.Error("a socket that has read nothing is opened")
	}
	last, pieces := uint64(0), 0
	for ; ; pieces++ {
		r := front.Do(httptest.NewRequest("GET", fmt.Sprint("/document/minutes?after=", last), nil))
		body, err := io.ReadAll(r.Body)
		if err != nil || r.StatusCode != 200 {
			t.Fatal(r.Status, err)
		}
		if len(body) == 0 {
			break
		}
		for len(body) > 0 {
			n, number := binary.BigEndian.Uint32(body), binary.BigEndian.Uint64(body[4:])
			if n != size || number != last+1 {
				t.Fatalf("after update %d comes %d, of %d bytes", last, number, n)
			}
			last, body = number, body[12+n:]
		}
	}
	if last != many || pieces != 5 {
		t.Errorf("%d updates are read in %d pieces", last, pieces)
	}
	ada.Send(objects.Binary([]byte("\x00one")))
	eve, _ := front.Connect(httptest.NewRequest("GET", fmt.Sprint("/document/minutes/live?after=", last), nil))
	if eve == nil {
		t.Fatal("the socket is not opened")
	}
	if m, ok := eve.Next(); !ok || string(m.Data[8:]) != "one" {
		t.Errorf("the first that eve hears is %q", m.Data)
	}
}
