package app_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWhoWeAreForNATSIsReadFromFiles(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "some")
	if err := os.WriteFile(file, []byte("no seed"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		args []string
		want string
	}{
		{[]string{"--creds", filepath.Join(dir, "none")}, "--creds"},
		{[]string{"--nkey", file}, "--nkey"},
		{[]string{"--creds", file, "--nkey", file}, "--nkey"},
		{[]string{"--tls-cert", file}, "--tls-key"},
		{[]string{"--tls-ca", filepath.Join(dir, "none")}, "--tls-ca"},
	} {
		code, _, errs := run(t, append([]string{"ls", "--nats", "nats://127.0.0.1:1"}, row.args...)...)
		if code != 2 || !strings.Contains(errs, row.want) {
			t.Errorf("%v: exit %d, %s; want 2 and %s named", row.args, code, errs, row.want)
		}
	}
}
