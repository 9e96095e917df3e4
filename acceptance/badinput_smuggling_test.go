package acceptance

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// A request after which two servers could disagree about where it ends is
// refused, and nothing that stands behind it on the connection is answered.
func TestASmuggledRequestIsNeverAnswered(t *testing.T) {
	beside(t, places)
	p := newPlace(t, nil)
	const next = "GET /objects/probe/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
	control := p.speak(t, post("Content-Length: 1", "a")+next+post("Transfer-Encoding: chunked", "1\r\na\r\n0\r\n\r\n")+next)
	if len(control) != 3 || !control[2].Close || control[0].StatusCode != 200 || control[1].StatusCode != 200 || control[2].StatusCode != 200 {
		t.Fatalf("sound requests in a row, the third in chunks and so the last: answered %s; what follows would prove nothing", summary(control))
	}

	chunks := "1\r\na\r\n0\r\n\r\n"
	for _, row := range []struct{ what, sent string }{
		{"length and encoding", post("Content-Length: 4\r\nTransfer-Encoding: chunked", chunks)},
		{"encoding and length", post("Transfer-Encoding: chunked\r\nContent-Length: 11", chunks)},
		{"length and encoding, body empty", post("Content-Length: 0\r\nTransfer-Encoding: chunked", "0\r\n\r\n")},
		{"length and identity", post("Content-Length: 1\r\nTransfer-Encoding: identity", "a")},
		{"two encodings", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", chunks)},
		{"two encodings, one unknown", post("Transfer-Encoding: chunked\r\nTransfer-encoding: x", chunks)},
		{"two encodings, one identity", post("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", chunks)},
		{"two in one line", post("Transfer-Encoding: chunked, identity", chunks)},
		{"chunked twice in one line", post("Transfer-Encoding: chunked, chunked", chunks)},
		{"unknown encoding", post("Transfer-Encoding: xchunked", chunks)},
		{"unknown encoding, with a length", post("Content-Length: 1\r\nTransfer-Encoding: xchunked", "a")},
		{"identity", post("Transfer-Encoding: identity", "")},
		{"chunked with a parameter", post("Transfer-Encoding: chunked;q=1", chunks)},
		{"gzip", post("Transfer-Encoding: gzip, chunked", chunks)},
		{"vertical tab", post("Transfer-Encoding: \x0bchunked", chunks)},
		{"quoted", post(`Transfer-Encoding: "chunked"`, chunks)},
		{"empty encoding", post("Transfer-Encoding:", chunks)},
		{"a letter that folds", post("Transfer-Encoding: chun\u212aed", chunks)},
		{"encoding on HTTP/1.0", strings.Replace(post("Transfer-Encoding: chunked\r\nConnection: keep-alive", chunks), "HTTP/1.1", "HTTP/1.0", 1)},
		{"two lengths", post("Content-Length: 1\r\nContent-Length: 2", "ab")},
		{"two lengths, equal", post("Content-Length: 1\r\nContent-Length: 1", "a")},
		{"two lengths in one line", post("Content-Length: 1, 1", "a")},
		{"signed length", post("Content-Length: +1", "a")},
		{"negative length", post("Content-Length: -1", "a")},
		{"length in hex", post("Content-Length: 0x1", "a")},
		{"length with a space", post("Content-Length: 1 1", "a")},
		{"empty length", post("Content-Length:", "")},
		{"length that overflows", post("Content-Length: 18446744073709551617", "a")},
		{"space before the colon", post("Transfer-Encoding : chunked", chunks)},
		{"space before the length's colon", post("Content-Length : 1", "a")},
		{"tab before the colon", post("Transfer-Encoding\t: chunked", chunks)},
		{"space before the name", post(" Transfer-Encoding: chunked", chunks)},
		{"folded header", post("X-A: b\r\n Transfer-Encoding: chunked", chunks)},
		{"folded encoding", post("Transfer-Encoding:\r\n chunked", chunks)},
		{"no colon", post("Transfer-Encoding chunked", chunks)},
		{"no name", post(": chunked", chunks)},
		{"NUL in a name", post("Transfer\x00-Encoding: chunked", chunks)},
		{"NUL in a value", post("X-A: b\x00", "")},
		{"CR in a value", post("X-A: b\rTransfer-Encoding: chunked", chunks)},
		{"no host", "POST /objects/probe/x HTTP/1.1\r\nContent-Length: 1\r\n\r\na"},
		{"two hosts", post("Host: other\r\nContent-Length: 1", "a")},
		{"two hosts, equal", post("Host: localhost\r\nContent-Length: 1", "a")},
		{"empty host", "POST /objects/probe/x HTTP/1.1\r\nHost:\r\nContent-Length: 1\r\n\r\na"},
		{"bare LF in a chunk's extension", post("Transfer-Encoding: chunked", "1;a\nb\r\na\r\n0\r\n\r\n")},
		{"bare LF after a chunk's size", post("Transfer-Encoding: chunked", "1\na\r\n0\r\n\r\n")},
		{"bare LF after a chunk", post("Transfer-Encoding: chunked", "1\r\na\n0\r\n\r\n")},
		{"bare CR after a chunk's size", post("Transfer-Encoding: chunked", "1\rXa\r\n0\r\n\r\n")},
		{"space before a chunk's size", post("Transfer-Encoding: chunked", " 1\r\na\r\n0\r\n\r\n")},
		{"chunk size in hex, marked", post("Transfer-Encoding: chunked", "0x1\r\na\r\n0\r\n\r\n")},
		{"chunk size signed", post("Transfer-Encoding: chunked", "+1\r\na\r\n0\r\n\r\n")},
		{"negative chunk size", post("Transfer-Encoding: chunked", "-1\r\na\r\n0\r\n\r\n")},
		{"chunk size with an underscore", post("Transfer-Encoding: chunked", "0_1\r\na\r\n0\r\n\r\n")},
		{"chunk size that overflows", post("Transfer-Encoding: chunked", "10000000000000001\r\na\r\n0\r\n\r\n")},
		{"no chunk size", post("Transfer-Encoding: chunked", "\r\na\r\n0\r\n\r\n")},
		{"a chunk longer than it says", post("Transfer-Encoding: chunked", "1\r\nab\r\n0\r\n\r\n")},
		{"a length in the trailer", post("Transfer-Encoding: chunked", "0\r\nContent-Length: 5\r\n\r\n")},
		{"an encoding in the trailer", post("Transfer-Encoding: chunked", "0\r\nTransfer-Encoding: chunked\r\n\r\n")},
		{"bare LF after a header", post("X-A: b\nContent-Length: 1", "a")},
		{"bare LF everywhere", strings.ReplaceAll(post("Content-Length: 1", "a"), "\r\n", "\n")},
		{"bare LF before the body", "POST /objects/probe/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\na"},
		{"no version", "POST /objects/probe/x\r\nHost: localhost\r\n\r\n"},
		{"another version", strings.Replace(post("Content-Length: 1", "a"), "HTTP/1.1", "HTTP/1.2", 1)},
		{"HTTP/2 without TLS", strings.Replace(post("Content-Length: 1", "a"), "HTTP/1.1", "HTTP/2.0", 1)},
		{"no such protocol", strings.Replace(post("Content-Length: 1", "a"), "HTTP/1.1", "HTTTP/1.1", 1)},
		{"a method nobody knows, length and encoding", strings.Replace(post("Content-Length: 4\r\nTransfer-Encoding: chunked", chunks), "POST", "BREW", 1)},
		{"a page, length and encoding", strings.Replace(post("Content-Length: 4\r\nTransfer-Encoding: chunked", chunks), "/objects/probe/x", "/nothing", 1)},
		{"an upgrade, length and encoding", strings.Replace(post("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nContent-Length: 4\r\nTransfer-Encoding: chunked", chunks), "POST", "GET", 1)},
		{"expected, length and encoding", post("Expect: 100-continue\r\nContent-Length: 4\r\nTransfer-Encoding: chunked", chunks)},
	} {
		t.Run(row.what, func(t *testing.T) {
			all := p.speak(t, row.sent+next)
			if len(all) > 0 && all[0].StatusCode == http.StatusContinue {
				all = all[1:]
			}
			if len(all) == 0 {
				return // the connection was closed
			}
			if len(all) > 1 || all[0].StatusCode < 400 || all[0].StatusCode >= 500 && all[0].StatusCode != http.StatusHTTPVersionNotSupported || !all[0].Close {
				t.Fatalf("answered %s, want a single 400 and the connection closed", summary(all))
			}
			refusal(t, all[0], http.StatusBadRequest, "invalid")
			if strings.Contains(all[0].body, "smuggled") {
				t.Errorf("the answer repeats what was sent: %s", all[0].body)
			}
		})
	}
}

// What fasthttp reads in a way of its own at the end of chunks cannot hide a request:
// chunks are the last that is read of a connection.
func TestNothingFollowsChunksThatEndOddly(t *testing.T) {
	beside(t, places)
	p := newPlace(t, nil)
	for _, chunks := range []string{"0\r\nX: y\n\r\n", "1 \r\na\r\n0\r\n\r\n", "0\r\n\r\n"} {
		all := p.speak(t, post("Transfer-Encoding: chunked", chunks)+"GET /objects/probe/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if len(all) != 1 || !all[0].Close {
			t.Errorf("%q: answered %s, want one answer and the connection closed", chunks, summary(all))
		}
	}
}

func summary(all []answered) string {
	var b strings.Builder
	for _, a := range all {
		fmt.Fprintf(&b, "[%d close=%v %.150s]", a.StatusCode, a.Close, a.body)
	}
	return b.String()
}
