package echo_test

import (
	"testing"

	"holdfast/examples/echo"
	"holdfast/objects"
	"holdfast/objects/objectstest"
)

func TestAnEchoSaysWhatItIsTold(t *testing.T) {
	w := objectstest.New(t, echo.Class)
	got, err := echo.Say.Do(t.Context(), w.Ref("echo", "canyon"), []byte("hello\x00"))
	if err != nil || string(got) != "hello\x00" {
		t.Errorf("echo = %q, %v, want what was said", got, err)
	}
}

func TestOthersHearWhatASocketSays(t *testing.T) {
	w := objectstest.New(t, echo.Class)
	var clients []*objectstest.Client
	for range 3 {
		c, err := w.Connect("echo", "canyon", "/echo/canyon")
		if err != nil {
			t.Fatal(err)
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
