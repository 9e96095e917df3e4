package wire

import (
	"strings"
	"testing"

	"holdfast/objects"
)

type server int64

func (s server) MaxPayload() int64     { return int64(s) }
func (s server) ConnectedAddr() string { return "10.0.0.1:4222" }

func TestAServerThatTakesOnlySmallMessagesIsRefusedWithWhatToDo(t *testing.T) {
	for most, refused := range map[server]bool{0: false, 64 << 10: true, 512 << 10: true, 1 << 20: false, 8 << 20: false} {
		err := CheckPayload(most)
		if refused != (err != nil) {
			t.Errorf("%d bytes: %v", most, err)
		}
		if refused && (objects.CodeOf(err) != objects.Unavailable || !strings.Contains(err.Error(), "set max_payload to at least 786432")) {
			t.Errorf("%d bytes: %v, want what to do", most, err)
		}
	}
}
