package gateway

import (
	"testing"
)

// fasthttp gets a request's head, then its body, and never what follows, however the bytes come.
func TestARequestIsCutFromWhatFollows(t *testing.T) {
	const head, body, next = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n", "hello", "GET / HTTP/1.1\r\n\r\n"
	sent := head + body + next
	for size := 1; size <= len(sent); size++ {
		var h headEnd
		given := ""
		for left := sent; left != "" && len(given) < len(head)+len(body); {
			piece := left[:min(size, len(left))]
			n := h.cut([]byte(piece))
			if n < len(piece) && len(given)+n != len(head) && len(given)+n != len(head)+len(body) {
				t.Fatalf("pieces of %d: cut behind %q", size, given+piece[:n])
			}
			if given += piece[:n]; len(given) == len(head) && h.found && h.behind != 0 {
				t.Fatalf("pieces of %d: something behind the head", size)
			}
			if n == 0 {
				t.Fatalf("pieces of %d: nothing is given behind %q", size, given)
			}
			left = left[n:]
		}
		if !h.found {
			t.Errorf("pieces of %d: no end of the head is found", size)
		}
		if whole := size > len("Content-Length: 5\r\n")+len(head); whole && given != head+body {
			t.Errorf("pieces of %d: given %q", size, given)
		}
	}
}

// A Content-Length inside a body is not that of the request.
func TestALengthInABodyIsNotThatOfTheRequest(t *testing.T) {
	const head, body, next = "POST / HTTP/1.1\r\nContent-Length: 27\r\n\r\n", "a line\ncontent-length: 999\n", "POST / HTTP/1.1\r\n\r\n"
	var h headEnd
	left := head + body + next
	for _, want := range []string{head, body} {
		n := h.cut([]byte(left))
		if left[:n] != want {
			t.Fatalf("given %q, want %q", left[:n], want)
		}
		left = left[n:]
	}
}
