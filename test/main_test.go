package test

import (
	"testing"

	"go.uber.org/goleak"
)

// Nothing outlives the tests: hosts, gateways and servers end with all they began.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(quiet{m},
		// It looks up every ten seconds and ends when it finds its server stopped.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		// It keeps the date for all servers of a process, for as long as that lives.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
	)
}

// quiet runs the tests and then lets go of the client's idle connections.
type quiet struct{ m *testing.M }

func (q quiet) Run() int {
	defer client.CloseIdleConnections()
	return q.m.Run()
}
