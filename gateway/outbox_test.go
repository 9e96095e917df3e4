package gateway

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/fasthttp/websocket"
)

// RFC 6455, section 5.2.
func TestAFrameSaysHowLongItIs(t *testing.T) {
	tests := []struct {
		kind, size int
		want       []byte // before the data
	}{
		{websocket.TextMessage, 0, []byte{0x81, 0}},
		{websocket.TextMessage, 125, []byte{0x81, 125}},
		{websocket.BinaryMessage, 126, []byte{0x82, 126, 0, 126}},
		{websocket.BinaryMessage, 65_535, []byte{0x82, 126, 0xff, 0xff}},
		{websocket.TextMessage, 65_536, []byte{0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0}},
		{websocket.PongMessage, 3, []byte{0x8a, 3}},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.kind, tt.size), func(t *testing.T) {
			data := bytes.Repeat([]byte{'x'}, tt.size)
			frame := frameOf(tt.kind, data)
			if header, rest := frame[:len(tt.want)], frame[len(tt.want):]; !bytes.Equal(header, tt.want) || !bytes.Equal(rest, data) {
				t.Errorf("header % x and %d bytes, want % x and %d", header, len(rest), tt.want, tt.size)
			}
			if isControl := frame[0]&control != 0; isControl != (tt.kind == websocket.PongMessage) {
				t.Errorf("control = %t", isControl)
			}
		})
	}
}
