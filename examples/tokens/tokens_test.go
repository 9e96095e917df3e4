package tokens_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"net/http/httptest"
	"strings"
	"testing"

	"holdfast/examples/tokens"
	"holdfast/gateway/gatewaytest"
	"holdfast/objects/objectstest"
)

// counting says how many turns there were, until its reader has gone.
func counting(ctx context.Context, history []tokens.Turn) iter.Seq[string] {
	return func(yield func(string) bool) {
		for n := 0; ctx.Err() == nil && n < 3; n++ {
			if !yield(fmt.Sprintf("%d.%d ", len(history), n)) {
				return
			}
		}
	}
}

func TestAnAnswerIsStreamedAndKept(t *testing.T) {
	w := objectstest.New(t, tokens.Objects(counting))
	front := gatewaytest.New(t, w, tokens.Worker)
	for _, want := range []string{"1", "3"} {
		res := front.Do(httptest.NewRequest("POST", "/tokens/a", strings.NewReader("how many?")))
		answer, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || string(answer) != fmt.Sprintf("data: \"%s.0 \"\n\ndata: \"%[1]s.1 \"\n\ndata: \"%[1]s.2 \"\n\n", want) {
			t.Errorf("%d %q, %v", res.StatusCode, answer, err)
		}
		w.Wait()
	}
	history, err := tokens.History.Do(t.Context(), w.Object(tokens.Chats, "a"), nil)
	if want := "[{you how many?} {model 1.0 1.1 1.2 } {you how many?} {model 3.0 3.1 3.2 }]"; err != nil || fmt.Sprint(history) != want {
		t.Errorf("%v, %v, want %s", history, err, want)
	}
}

func TestAChatThatHasNotBegunIsAnEmptyList(t *testing.T) {
	front := gatewaytest.New(t, objectstest.New(t, tokens.Objects(counting)), tokens.Worker)
	res := front.Do(httptest.NewRequest("GET", "/tokens/a/history", nil))
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || strings.TrimSpace(string(body)) != "[]" {
		t.Errorf("%d %s, %v", res.StatusCode, body, err)
	}
}

func TestAReaderThatGoesEndsTheModelAndWhatItSaidIsKept(t *testing.T) {
	said := make(chan struct{})
	w := objectstest.New(t, tokens.Objects(func(context.Context, []tokens.Turn) iter.Seq[string] {
		return func(yield func(string) bool) {
			for yield("on and ") {
			}
			close(said)
		}
	}))
	chat := w.Object(tokens.Chats, "a")
	res, err := chat.Fetch(httptest.NewRequest("POST", "/", strings.NewReader("go on")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(res.Body, make([]byte, 10)); err != nil {
		t.Error(err)
	}
	res.Body.Close()
	<-said
	w.Wait()
	history, err := tokens.History.Do(t.Context(), chat, nil)
	if err != nil || len(history) != 2 || !strings.HasPrefix(history[1].Text, "on and ") {
		t.Errorf("%v, %v", history, err)
	}
}
