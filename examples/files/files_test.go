package files_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http/httptest"
	"testing"

	"holdfast/examples/files"
	"holdfast/gateway/gatewaytest"
	"holdfast/objects/objectstest"
)

func TestAFileComesInPiecesAndGoesOutAsAWhole(t *testing.T) {
	w := objectstest.New(t, files.Objects)
	front := gatewaytest.New(t, w, files.Worker)
	do := func(method, path string, body []byte, headers ...string) (int, []byte) {
		t.Helper()
		r := httptest.NewRequest(method, path, bytes.NewReader(body))
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		answer := front.Do(r)
		defer answer.Body.Close()
		got, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, got
	}
	const path = "/files/holiday/film.mp4"
	film := make([]byte, 1_300_000)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range film {
		film[i] = byte(rng.Uint32())
	}
	for _, pieces := range [][2]int{{0, 500_000}, {500_000, 1_000_000}, {500_000, 1_000_000}, {1_000_000, 1_300_000}} { // one is sent twice
		status, body := do("PUT", fmt.Sprintf("%s?at=%d", path, pieces[0]), film[pieces[0]:pieces[1]], "Content-Type", "video/mp4")
		if status != 200 || string(body) != fmt.Sprintln(pieces[1]) {
			t.Fatalf("a piece is answered %d %s", status, body)
		}
	}
	if status, _ := do("PUT", path+"?at=1400000", []byte("x")); status != 409 {
		t.Errorf("a piece beyond the end is answered %d", status)
	}
	if status, _ := do("GET", path, nil); status != 404 {
		t.Errorf("a file that is not finished is answered %d", status)
	}
	if status, body := do("POST", path, nil); status != 200 {
		t.Fatalf("finished: %d %s", status, body)
	}
	w.Move(w.Object(files.Folders, "holiday"))
	if status, got := do("GET", path, nil); status != 200 || !bytes.Equal(got, film) {
		t.Errorf("%d: %d bytes, want the film's %d", status, len(got), len(film))
	}
	if status, got := do("GET", path, nil, "Range", "bytes=600000-"); status != 206 || len(got) == 0 || !bytes.Equal(got, film[600_000:600_000+len(got)]) {
		t.Errorf("a range: %d, %d bytes", status, len(got))
	}
	if status, _ := do("DELETE", path, nil); status != 200 {
		t.Errorf("deleted: %d", status)
	}
	if status, _ := do("GET", path, nil); status != 404 {
		t.Errorf("a deleted file: %d", status)
	}
}
