package app

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"

	"holdfast/internal/link"
	"holdfast/objects"
)

// banner is what `dev` prints when all of it is true.
type banner struct {
	OK        bool     `json:"ok"`
	Name      string   `json:"name"`
	Version   string   `json:"version"`
	ReadyMS   int64    `json:"readyMs"`
	Open      string   `json:"open,omitempty"` // the worker's page, if it has one
	Regions   []place  `json:"regions"`
	RTT       string   `json:"rtt"`
	WebSocket string   `json:"websocket,omitempty"`
	Object    *request `json:"object,omitempty"`
	NATS      string   `json:"nats"`
	Data      data     `json:"data"`
	Ops       string   `json:"ops,omitempty"` // /metrics, /readyz and /debug/pprof
	Join      string   `json:"join"`

	about  string // what the page shows
	closed bool   // HTTP reaches no object, as far as is visible
}

type place struct {
	Region string  `json:"region"`
	URL    string  `json:"url"`
	RTTMS  float64 `json:"rttMs"` // simulated, to the region of NATS
	Hosts  int     `json:"hosts"`
	Nearby bool    `json:"nearby"` // its gateway and hosts bypass NATS
}

type request struct {
	Method string `json:"method"`
	URL    string `json:"url"`
}

type data struct {
	Dir  string `json:"dir,omitempty"` // empty: in memory
	Kept bool   `json:"kept"`          // after exit
	Sync string `json:"sync"`
}

// discover asks a gateway for the worker's routes, and fills in what depends on them. mounts are the paths where HTTP
// reaches objects.
func (b *banner) discover(ctx context.Context, ln net.Listener, classes []*objects.Implementation, mounts []string) {
	base := webURL(ln)
	runs := func(name string) bool {
		return slices.ContainsFunc(classes, func(c *objects.Implementation) bool { return string(c.Class()) == name })
	}
	if answers(ctx, ln, "/") {
		b.Open = base + "/"
	}
	if answers(ctx, ln, "/room/lobby") && runs("room") {
		b.WebSocket = "ws" + strings.TrimPrefix(base, "http") + "/room/lobby"
		b.about = "the room"
		if answers(ctx, ln, "/race/demo") {
			b.about = "room + race"
		}
	}
	if answers(ctx, ln, "/ticket/global") && runs("ticket") {
		b.Object = &request{http.MethodPost, base + "/ticket/global"}
	} else if len(mounts) > 0 {
		b.Object = &request{http.MethodGet, base + path.Join(path.Dir(mounts[0]), "global")}
	}
	b.closed = b.Object == nil && b.Open == "" && b.WebSocket == ""
}

// write writes the banner for people.
func (b *banner) write(w io.Writer, color bool) error {
	var out strings.Builder
	strong, faint, plain := "", "", ""
	if color {
		strong, faint, plain = "\x1b[1m", "\x1b[2m", "\x1b[0m"
	}
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&out, "  %s%-16s%s%s\n", faint, label, plain, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(&out, "\n  %s%s %s%s · Durable Objects on NATS · ready in %d ms\n\n", strong, b.Name, b.Version, plain, b.ReadyMS)
	if b.Open != "" {
		line("Open", "%s", strings.TrimSpace(fmt.Sprintf("%-32s%s", b.Open, b.about)))
	}
	for i, r := range b.Regions {
		label := ""
		if i == 0 {
			label = "Regions"
		}
		line(label, "%-5s%-27s%s, %s%s", r.Region, r.URL, far(r.RTTMS, i == 0), count(r.Hosts, "host"), r.bypass())
	}
	if b.WebSocket != "" {
		line("WebSocket", "wscat -c %s", b.WebSocket)
	}
	if b.Object != nil {
		line("Objects", "%s", b.Object.curl())
	} else if b.closed {
		line("Objects", `not reached over HTTP: the worker mounts a class with env.Mount(r, "/rooms/:name", "room")`)
	}
	line("NATS", "%s  (embedded)", b.NATS)
	line("Data", "%s", b.Data)
	if b.Ops != "" {
		line("Operations", "%s  (/metrics, /readyz, /debug/pprof)", b.Ops)
	}
	line("Another region", "%s", b.Join)
	out.WriteByte('\n')
	_, err := io.WriteString(w, out.String())
	return err
}

func (r request) curl() string {
	if r.Method == http.MethodGet {
		return "curl " + r.URL
	}
	return "curl -X " + r.Method + " " + r.URL
}

func far(ms float64, first bool) string {
	switch {
	case ms > 0:
		return fmt.Sprintf("+%s ms simulated", strconv.FormatFloat(ms, 'f', -1, 64))
	case first:
		return "NATS stands here"
	default:
		return "no distance simulated"
	}
}

// String says where the data is and whether it stays.
func (d data) String() string {
	if !d.Kept {
		return "in memory (gone on exit)"
	}
	if d.Sync == syncAlways {
		return d.Dir + "  (kept on exit; every write synced to disk)"
	}
	return d.Dir + "  (kept on exit)"
}

// bypass says whether requests bypass NATS.
func (p place) bypass() string {
	if p.Nearby {
		return "; requests skip NATS (--nearby=off)"
	}
	return ""
}

// freeRegion returns a region of the table that is not used yet.
func freeRegion(taken []string) string {
	for _, region := range append([]link.Region{{Code: "lhr"}}, link.Regions()...) {
		if !slices.Contains(taken, region.Code) {
			return region.Code
		}
	}
	return "elsewhere"
}
