package acceptance

import (
	"net/http"
	"strings"
	"testing"

	"holdfast/internal/bucket"
	"holdfast/objects"
)

// names are path segments as they stand in a request, and what they name after
// being decoded once; refused ones name nothing.
var names = []struct {
	what, segment, name string
	refused             bool
}{
	{what: "plain", segment: "lobby", name: "lobby"},
	{what: "upper case", segment: "LOBBY", name: "LOBBY"},
	{what: "dot", segment: ".", name: "."},
	{what: "dot, encoded", segment: "%2e", name: "."},
	{what: "dot, encoded twice", segment: "%252e", name: "%2e"},
	{what: "two dots", segment: "..", name: ".."},
	{what: "two dots, half encoded", segment: ".%2E", name: ".."},
	{what: "climbing", segment: "..%2F..%2Fetc", name: "../../etc"},
	{what: "slash", segment: "a%2Fb", name: "a/b"},
	{what: "slash, encoded twice", segment: "a%252Fb", name: "a%2Fb"},
	{what: "backslash", segment: `a%5Cb`, name: `a\b`},
	{what: "tokens", segment: "a.b", name: "a.b"},
	{what: "tokens, encoded", segment: "a%2Eb", name: "a.b"},
	{what: "trailing dot", segment: "a.", name: "a."},
	{what: "star", segment: "*", name: "*"},
	{what: "stars within", segment: "x*y", name: "x*y"},
	{what: "tail", segment: ">", name: ">"},
	{what: "tail, encoded", segment: "%3E", name: ">"},
	{what: "record", segment: bucket.Records().Subject("ticket.x"), name: bucket.Records().Subject("ticket.x")},
	{what: "system", segment: "$SYS.REQ.SERVER.PING", name: "$SYS.REQ.SERVER.PING"},
	{what: "prototype", segment: "__proto__", name: "__proto__"},
	{what: "space", segment: "%20", name: " "},
	{what: "space within", segment: "a%20b", name: "a b"},
	{what: "plus is no space", segment: "a+b", name: "a+b"},
	{what: "tab", segment: "%09", name: "\t"},
	{what: "CR LF", segment: "a%0d%0aPUB%20x%203%0d%0aabc", name: "a\r\nPUB x 3\r\nabc"},
	{what: "NUL", segment: "%00", name: "\x00"},
	{what: "NUL within", segment: "a%00b", name: "a\x00b"},
	{what: "question", segment: "a%3Fb=1", name: "a?b=1"},
	{what: "fragment", segment: "a%23b", name: "a#b"},
	{what: "colon", segment: ":name", name: ":name"},
	{what: "percent", segment: "%25", name: "%"},
	{what: "composed", segment: "caf%C3%A9", name: "caf\u00e9"},
	{what: "decomposed", segment: "cafe%CC%81", name: "cafe\u0301"},
	{what: "emoji", segment: "%F0%9F%A6%86", name: "🦆"},
	{what: "emoji, not encoded", segment: "🦆🦆", name: "🦆🦆"},
	{what: "right to left", segment: "%D7%A9%D7%9C%D7%95%D7%9D", name: "שלום"},
	{what: "override", segment: "a%E2%80%AEb", name: "a\u202eb"},
	{what: "byte order mark", segment: "%EF%BB%BFa", name: "\ufeffa"},
	{what: "longest", segment: strings.Repeat("a", objects.MaxName), name: strings.Repeat("a", objects.MaxName)},
	{what: "longest, two bytes each", segment: strings.Repeat("%C3%A9", 512), name: strings.Repeat("é", 512)},

	{what: "one byte too long", segment: strings.Repeat("a", objects.MaxName+1), refused: true},
	{what: "one character too long", segment: strings.Repeat("%C3%A9", 513), refused: true},
	{what: "4 KB", segment: strings.Repeat("b", 4<<10), refused: true},
	{what: "64 KB", segment: strings.Repeat("c", 64<<10), refused: true},
	{what: "a lone byte", segment: "%FF", refused: true},
	{what: "a lone byte, not encoded", segment: "a\xffb", refused: true},
	{what: "overlong", segment: "%C0%AE", refused: true},
	{what: "surrogate", segment: "%ED%A0%80", refused: true},
	{what: "cut character", segment: "%F0%9F%A6", refused: true},
	{what: "no hex", segment: "%zz", refused: true},
	{what: "half an escape", segment: "a%2", refused: true},
	{what: "lone percent", segment: "100%", refused: true},
}

func TestEveryNameIsAnObjectOfItsOwnOrRefused(t *testing.T) {
	beside(t, places)
	p := newPlace(t, nil)
	routes := []struct {
		what, class, before, after, method string
	}{
		{"a ticket", "ticket", "/ticket/", "", "POST"},
		{"any object", "probe", "/objects/probe/", "/some/path", "GET"},
		{"any object at its root", "probe", "/objects/probe/", "", "PUT"},
		{"a room", "room", "/room/", "", "upgrade"},
		{"any object's socket", "probe", "/objects/probe/", "/socket", "upgrade"},
	}
	for _, route := range routes {
		t.Run(route.what, func(t *testing.T) {
			seen := make(map[string]string) // the name of an object
			for _, row := range names {
				var a answered
				target := route.before + row.segment + route.after
				if route.method == "upgrade" {
					conn := p.dial(t)
					_, a = p.handshake(t, conn, "GET", target)
					conn.Close()
				} else {
					a = p.once(t, route.method, target, "")
				}
				if row.refused {
					refused(t, row.what, a)
					continue
				}
				key := a.Header.Get("Holdfast-Object")
				id, err := objects.Class(route.class).ID(row.name)
				if err != nil {
					t.Fatal(err)
				}
				if a.StatusCode >= 300 || key != id.Key() {
					t.Errorf("%s: %d %.120s at object %q, want the object called %.40q", row.what, a.StatusCode, a.body, key, row.name)
				}
				if other, taken := seen[key]; taken && other != row.name {
					t.Errorf("%s: %.40q and %.40q are one object", row.what, row.name, other)
				}
				seen[key] = row.name
			}
		})
	}
	t.Run("a foil", func(t *testing.T) {
		for _, foil := range []string{"/naive/", "/cas/"} {
			given := make(map[string]int)
			for _, row := range names {
				a := p.once(t, "POST", foil+row.segment+"?gap=0s", "")
				if row.refused {
					refused(t, foil+row.what, a)
					continue
				}
				given[row.name]++
				var got struct{ Ticket int }
				decode(t, a.body, &got)
				if a.StatusCode != http.StatusOK || got.Ticket != given[row.name] {
					t.Errorf("%s%s: %d %.120s, want ticket %d", foil, row.what, a.StatusCode, a.body, given[row.name])
				}
			}
		}
	})
	t.Run("no name", func(t *testing.T) {
		for _, target := range []string{"/ticket/", "/ticket", "/ticket//", "/objects/probe//", "/objects/probe//x", "/objects/probe/", "/objects//x/y"} {
			if a := p.once(t, "POST", target, ""); a.StatusCode != http.StatusBadRequest && a.StatusCode != http.StatusNotFound && a.StatusCode != http.StatusMethodNotAllowed || a.Header.Get("Holdfast-Object") != "" {
				t.Errorf("%s: %d at object %q, want it refused", target, a.StatusCode, a.Header.Get("Holdfast-Object"))
			}
		}
	})
}

func refused(t *testing.T, what string, a answered) {
	t.Helper()
	switch a.StatusCode {
	case http.StatusBadRequest, http.StatusRequestHeaderFieldsTooLarge, http.StatusRequestURITooLong:
	default:
		t.Errorf("%s: %d %.120s, want it refused", what, a.StatusCode, a.body)
	}
	if key := a.Header.Get("Holdfast-Object"); key != "" {
		t.Errorf("%s: refused, yet at object %s", what, key)
	}
}
