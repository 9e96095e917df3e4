package gateway

import (
	"io"
	"os"
	"testing"
	"time"
)

// pausing is the rest of a response that pauses between pieces: "" is a pause.
type pausing []string

func (p *pausing) Read(b []byte) (int, error) {
	if len(*p) == 0 {
		return 0, io.EOF
	}
	piece := (*p)[0]
	if *p = (*p)[1:]; piece == "" {
		return 0, os.ErrDeadlineExceeded
	}
	return copy(b, piece), nil
}

func (*pausing) Close() error                    { return nil }
func (*pausing) SetReadDeadline(time.Time) error { return nil }

// A comment is a line of its own: it stands where a line may begin, and nowhere else.
func TestEventsThatPauseHaveCommentsBetweenLinesAlone(t *testing.T) {
	pauses := pausing{"", "data: a\n\n", "", "data: ", "", "b\n", "", "\n", "", ""}
	s := streams{open: make(map[*response]struct{})}
	got, err := io.ReadAll(&response{streams: &s, rest: &pauses, events: true, last: '\n'})
	if want := ":\ndata: a\n\n:\ndata: b\n:\n\n:\n:\n"; string(got) != want || err != nil {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}
