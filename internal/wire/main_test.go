package wire_test

import (
	"flag"
	"os"
	"testing"
)

// Tests that run beside others wait for a client to give up: there may be more of them than processors.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
