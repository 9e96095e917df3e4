package echo_test

import (
	"testing"

	"holdfast/examples/echo"
	"holdfast/objects"
	"holdfast/objects/objectstest"
)

func TestAnEchoSaysWhatItIsTold(t *testing.T) {
	w := objectstest.New(t, echo.Objects)
	got, err := echo.Say.Do(t.Context(), w.Object(echo.Echoes, "canyon"), []byte("hello\x00"))
	if err != nil || string(got) != "hello\x00" {
		t.Errorf("echo = %q, %v, want what was said", got, err)
	}
}

func TestOthersHearWhatASocketSays(t *testing.T) {
	w := objectstest.New(t, echo.Objects)
	var clients []*objectstest.Client
	for range 3 {
		c, response := w.Connect(w.Object(echo.Echoes, "canyon"), nil)
		if c == nil {
			t.Fatal(response.Status)
		}
		clients = append(clients, c)
	}
	clients[0].Send(objects.Text("halloo"))
	for i, c := range clients {
		if m, heard := c.Next(); heard != (i > 0) || heard && string(m.Data) != "halloo" {
			t.Errorf("socket %d heard %q, %t", i, m.Data, heard)
		}
	}
}
