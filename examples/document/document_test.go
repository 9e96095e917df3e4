package document_test

import (
	"encoding/binary"
	"fmt"
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
