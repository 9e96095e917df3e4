package history_test

import (
	"bytes"
	"strings"
	"testing"

	"holdfast/chaos/history"
)

func TestWhatIsWrittenIsReadAgain(t *testing.T) {
	var file bytes.Buffer
	w := history.NewWriter(&file)
	w.Add(opened(1, history.Idle, 10))
	for _, n := range []int{1, 2, 3, 5, 6} {
		w.Hear(1, 3, n, ms(n))
	}
	w.Add(closed(1, 1012, 500))
	if got := len(w.Records()); got != 4 {
		t.Errorf("%d records while it is written, want 4: opened, heard 1 to 3, heard 5 to 6, closed", got)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	records, err := history.ReadAll(&file)
	if err != nil || len(records) != 4 {
		t.Fatalf("read %d records, %v, want 4", len(records), err)
	}
	var spans []history.Heard
	for _, r := range records {
		if r.Heard != nil {
			spans = append(spans, *r.Heard)
		}
	}
	if len(spans) != 2 || spans[0].First != 1 || spans[0].Last != 3 || spans[1].First != 5 || spans[1].Last != 6 || spans[1].Until != ms(6) {
		t.Errorf("heard = %+v, want 1 to 3 and 5 to 6", spans)
	}
}

func TestAHistoryThatIsCutOffIsRefused(t *testing.T) {
	if _, err := history.ReadAll(strings.NewReader(`{"roll":{"at":1}}` + "\n" + `{"op":{"obj`)); err == nil {
		t.Error("half a record was read without an error")
	}
}
