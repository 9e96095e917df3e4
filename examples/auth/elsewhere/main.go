// Command elsewhere serves the page of the example auth on another origin than the gateway's.
package main

import (
	"fmt"
	"net/http"
	"os"
	"time"

	"holdfast/examples/auth"
)

func main() {
	const here, gateway = "localhost:9000", "http://localhost:8787"
	fmt.Printf("http://%s talks to %s, which has to list it: --origin http://%[1]s\n", here, gateway)
	server := &http.Server{Addr: here, Handler: auth.Elsewhere(gateway), ReadHeaderTimeout: 10 * time.Second}
	fmt.Fprintln(os.Stderr, server.ListenAndServe())
	os.Exit(1)
}
