package app_test

import (
	"strings"
	"testing"
)

func TestNoPasswordIsShown(t *testing.T) {
	const secret = "s3cr3tpw"
	t.Setenv("NATS_URL", "nats://user:"+secret+"@n1:4222")
	for _, args := range [][]string{
		{"host", "--help"}, {"gateway", "--help"}, {"get", "--help"}, {"ls", "--help"},
		{"ls", "--nats", "nats://user:s3cr%zz" + secret + "@h:1"},
		{"ls", "--nats", "nats://user:" + secret + "@h:port"},
		{"ls", "--nats", "nats://u:s3 " + secret + "@h"},
		{"ls", "--nats", "user:" + secret + "@127.0.0.1:1"},
		{"ls", "--nats", "nats://127.0.0.1:1,user:" + secret + "@127.0.0.1:1"},
	} {
		if _, out, errs := run(t, args...); strings.Contains(out+errs, secret) {
			t.Errorf("%q shows the password:\n%s%s", args[:2], out, errs)
		}
	}
}

func TestAnOriginThatCanNeverMatchIsAUsageError(t *testing.T) {
	for _, origin := range []string{"https://x/", "*", "x", "https://*.x", "https://", "ftp://x", "https://x/path", "https://x:443", "http://x:80", "https://u@x", "https://x?y", "https://x:"} {
		for _, command := range []string{"gateway", "dev"} {
			code, _, errs := run(t, command, "--region", "fra", "--origin", origin)
			if command == "dev" {
				code, _, errs = run(t, command, "--origin", origin)
			}
			if code != 2 || !strings.Contains(errs, "--origin") {
				t.Errorf("%s --origin %s: exit %d, %s", command, origin, code, errs)
			}
		}
	}
}
