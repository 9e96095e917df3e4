package gateway

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"

	"github.com/fasthttp/websocket"
)

func TestAnEndingIsNamedForWhatHappened(t *testing.T) {
	for _, row := range []struct {
		err  error
		want int
	}{
		{&websocket.CloseError{Code: 4001, Text: "bye"}, 4001},
		{&websocket.CloseError{Code: websocket.CloseNoStatusReceived}, 1005},
		{fmt.Errorf("read: %w", websocket.ErrReadLimit), 1009},
		{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, 1006},
		{&net.OpError{Op: "read", Err: net.ErrClosed}, 1006},
		{io.EOF, 1006},
		{errors.New("websocket: bad MASK"), 1002},
	} {
		if got := endOf(row.err, 10); got.Code != row.want || got.Code != 1005 && got.Reason == "" {
			t.Errorf("endOf(%v) = %d %q, want %d", row.err, got.Code, got.Reason, row.want)
		}
	}
}
