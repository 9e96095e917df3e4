package app_test

import (
	"net/http"
	"strings"
	"testing"
)

// Each command had a text of its own, and referred to another command that said no more.
func TestEveryCommandAboutThePastSaysThatThereIsNoHistory(t *testing.T) {
	t.Parallel()
	_, b := dev(t, "--regions", "fra")
	fetch(t, http.MethodPost, b.Regions[0].URL+"/ticket/global")
	for _, command := range []string{
		"history ticket/global", "get ticket/global --at 1s", "diff ticket/global 1s", "restore ticket/global 1s", "fork ticket/global ticket/copy --at 1s",
	} {
		code, out, errs := run(t, append(strings.Fields(command), "--nats", b.NATS)...)
		if code != 4 || out != "" || !strings.Contains(errs, "the object has no history: its class did not set objects.Settings.History") ||
			!strings.Contains(errs, "changes are kept from the next start on") {
			t.Errorf("%s = %d, want 4, why and what to do:\n%s%s", command, code, out, errs)
		}
	}
}
