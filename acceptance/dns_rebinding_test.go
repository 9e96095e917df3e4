package acceptance

import (
	"net/http"
	"strings"
	"testing"

	"holdfast/gateway"
)

// A page whose name resolves to 127.0.0.1 has the same origin as a listener there: the
// browser sends no Origin with its GET and lets it read the answer.
func TestAPageWhoseNameLeadsToThisMachineReadsNothing(t *testing.T) {
	beside(t, places)
	p := newPlace(t, func(cfg *gateway.Config) { cfg.Origins = []string{"https://friend.example:8443"} })
	ask := func(method, host, path string) (int, string) {
		t.Helper()
		all := p.speak(t, method+" "+path+" HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		if len(all) != 1 {
			t.Fatalf("%s %s: %d responses, want 1", method, path, len(all))
		}
		return all[0].StatusCode, all[0].body
	}
	for _, path := range []string{"/ticket/x", "/objects/probe/x", "/", "/config.json", "/none"} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodOptions} {
			status, body := ask(method, "attacker.example:8787", path)
			if status != http.StatusForbidden || !strings.Contains(body, "attacker.example") || !strings.Contains(body, "--origin") {
				t.Errorf("%s %s as attacker.example = %d %s, want 403, the name and the flag", method, path, status, body)
			}
		}
	}
	for _, host := range []string{"localhost:1", "127.0.0.1", "[::1]:8787", "friend.example", "friend.example:8443"} {
		if status, body := ask(http.MethodGet, host, "/ticket/x"); status != http.StatusOK {
			t.Errorf("GET as %s = %d %s, want 200", host, status, body)
		}
	}
	for _, path := range []string{"/healthz", "/readyz"} { // balancers call a gateway what they like
		if status, body := ask(http.MethodGet, "attacker.example", path); status != http.StatusOK || strings.Contains(body, "ticket") {
			t.Errorf("GET %s = %d %s, want 200 and no class", path, status, body)
		}
	}
}

func TestAClientIsToldThatMetricsAreNotForIt(t *testing.T) {
	beside(t, places)
	p := newPlace(t, nil)
	a := p.once(t, "GET", "/metrics", "")
	if a.StatusCode != http.StatusNotFound || !strings.Contains(a.body, "--ops-listen") {
		t.Errorf("GET /metrics = %d %s, want 404 and where they are", a.StatusCode, a.body)
	}
}
