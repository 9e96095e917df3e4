//go:build unix

package acceptance

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// nodeClient is a program that uses the JavaScript client under node, against a gateway.
type nodeClient struct {
	*process
	keys io.Writer
	read int // lines of its output that were looked at
}

func startNodeClient(t *testing.T, url string) *nodeClient {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		missing(t, "node", "apt-get install nodejs")
	}
	tools := os.Getenv("HOLDFAST_WSCAT") // whose ws stands in where node has no WebSocket of its own
	if tools == "" {
		missing(t, "wscat", "npm install wscat, or HOLDFAST_WSCAT=path")
	}
	cmd := exec.Command(node, filepath.Join("testdata", "client.mjs"), url)
	cmd.Env = append(os.Environ(), "WS_FROM="+filepath.Join(filepath.Dir(tools), "..")+"/")
	keys, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	return &nodeClient{process: start(t, "node", cmd), keys: keys}
}

// says waits for a line with all of the parts. The next call continues after that line.
func (c *nodeClient) says(parts ...string) {
	c.t.Helper()
	await(c.t, fmt.Sprintf("node says %q", parts), func() bool {
		lines := strings.Split(c.stdout.String(), "\n")
		for i := c.read; i < len(lines)-1; i++ {
			all := true
			for _, part := range parts {
				all = all && strings.Contains(lines[i], part)
			}
			if all {
				c.read = i + 1
				return true
			}
		}
		return false
	})
}

func (c *nodeClient) does(command string) {
	c.t.Helper()
	if _, err := fmt.Fprintln(c.keys, command); err != nil {
		c.t.Fatal(err)
	}
}

// The JavaScript client under node: it connects, comes back when its gateway restarts,
// counts a call once that is made twice, says why a call was refused, and ends.
func TestTheJavaScriptClientUnderNode(t *testing.T) {
	beside(t, waiters)
	on := single(t)
	on.startHost(t, "host-1", "fra", steady, nil)
	door := on.startDoors(t, "fra", "syd")[0]
	c := startNodeClient(t, door.url)
	c.says(`"phase":"open"`)
	c.does("claim")
	c.says(`"claimed":1`)
	c.does("claim") // under the same key
	c.says(`"claimed":1`)
	c.does("peek")
	c.says(`"peeked":1`, `"owner":"host-1 (fra)"`, `"epoch":1`)
	c.does("bad")
	c.says(`"code":"invalid"`, `"outcome":"refused"`, `"status":400`)

	door.stop()
	c.says(`"phase":"waiting"`, `"code":1012`)
	on.reopen(t, "fra", door)
	c.says(`"phase":"open"`)
	c.does("claim")
	c.says(`"claimed":1`)
	c.does("bye")
	c.says(`"phase":"closed"`)
	await(t, "the program ends by itself", func() bool {
		select {
		case <-c.ended:
			return true
		default:
			return false
		}
	})
}

// Gateways serve the client to pages that want it, with its types and without its tests.
func TestGatewaysServeTheJavaScriptClient(t *testing.T) {
	beside(t, waiters)
	on := single(t)
	on.startHost(t, "host-1", "fra", steady, nil)
	door := on.startDoors(t, "fra")[0]
	for file, kind := range map[string]string{"index.js": "text/javascript", "connection.js": "text/javascript", "session.js": "text/javascript", "call.js": "text/javascript", "addresses.js": "text/javascript", "backoff.js": "text/javascript", "turns.js": "text/javascript", "watch.js": "text/javascript"} {
		status, header, body := request(t, "GET", door.url+"/client/"+file, "")
		if status != http.StatusOK || !strings.HasPrefix(header.Get("Content-Type"), kind) || header.Get("X-Content-Type-Options") != "nosniff" || body == "" {
			t.Errorf("%s: %d %v, %d bytes", file, status, header, len(body))
		}
	}
	for _, file := range []string{"package.json", "client.go", "backoff.test.mjs", "test", "..%2fclient.go", ""} {
		if status, _, body := request(t, "GET", door.url+"/client/"+file, ""); status != http.StatusNotFound {
			t.Errorf("%s: %d, %.80s", file, status, body)
		}
	}
}
