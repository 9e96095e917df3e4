package host

import (
	"flag"
	"os"
	"testing"
)

// Tests that run in parallel wait for their server, so there may be more of them than processors.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "24"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
