package acceptance

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// The headers with which the object accepts a socket arrive with the 101.
func TestAHandshakeCarriesTheObjectsHeadersAndSubprotocol(t *testing.T) {
	beside(t, places)
	p := newPlace(t, nil)
	for _, row := range []struct{ offered, want string }{
		{"graphql-transport-ws", "graphql-transport-ws"},
		{"graphql-ws, graphql-transport-ws", "graphql-transport-ws"},
		{"mqtt", ""},
		{"", ""},
	} {
		conn := p.dial(t)
		var header []string
		if row.offered != "" {
			header = []string{"Sec-WebSocket-Protocol", row.offered}
		}
		_, a := p.handshake(t, conn, "GET", "/objects/probe/sub/graphql?tag=a", header...)
		conn.Close()
		if a.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("offered %q: %d %s", row.offered, a.StatusCode, a.body)
		}
		if got := a.Header.Values("Sec-WebSocket-Protocol"); strings.Join(got, ",") != row.want {
			t.Errorf("offered %q: the 101 says %q, want %q", row.offered, got, row.want)
		}
		if got := a.Header.Values("Set-Cookie"); !slices.Equal(got, []string{"session=1; HttpOnly", "seen=2"}) {
			t.Errorf("cookies %q", got)
		}
		if got := a.Header.Get("Sec-WebSocket-Accept"); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" || len(a.Header.Values("Sec-WebSocket-Accept")) != 1 {
			t.Errorf("accept %q", a.Header.Values("Sec-WebSocket-Accept"))
		}
		if a.Header.Get("X-Mine") != "yes" || strings.Contains(strings.Join(a.Header.Values("Holdfast-Owner"), ""), "forged") {
			t.Errorf("headers %v", a.Header)
		}
	}
}

func TestASubprotocolIsSpokenWithClientsThatInsistOnIt(t *testing.T) {
	beside(t, places)
	p := newPlace(t, nil)
	url := strings.Replace(p.url, "http", "ws", 1) + "/objects/probe/sub/graphql?tag=a"
	conn, _, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{Subprotocols: []string{"graphql-transport-ws"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	if conn.Subprotocol() != "graphql-transport-ws" {
		t.Errorf("subprotocol %q", conn.Subprotocol())
	}
	command := os.Getenv("HOLDFAST_WSCAT")
	if command == "" {
		command = "wscat"
	}
	path, err := exec.LookPath(command)
	if err != nil {
		missing(t, "wscat, which brings node's ws", "npm install -g wscat, or HOLDFAST_WSCAT=path")
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		t.Fatal(err)
	}
	wscatDir := filepath.Dir(filepath.Dir(path)) // of wscat: ws lies in it or beside it
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	// As a browser's does, this WebSocket fails a handshake that does not answer its offer.
	script := `
const WebSocket = require("ws");
const s = new WebSocket(process.argv[1], ["graphql-transport-ws"]);
s.onopen = () => { console.log("open", s.protocol); s.close(); };
s.onerror = (e) => { console.log("error", e.message); process.exit(1); };`
	cmd := exec.CommandContext(ctx, "node", "-e", script, url)
	cmd.Env = append(os.Environ(), "NODE_PATH="+filepath.Join(wscatDir, "node_modules")+string(os.PathListSeparator)+filepath.Dir(wscatDir))
	out, err := cmd.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "open graphql-transport-ws" {
		t.Errorf("node: %v, %s", err, out)
	}
}
