package client_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"holdfast/client"
	"holdfast/objects"
)

// A job asks an object, and gets an error with a code if that fails.
func Example() {
	nc, stop := someNATS() // yours: nats.Connect(url, nats.ReconnectBufSize(-1))
	defer stop()
	objs, err := client.New(nc, client.Config{Region: "fra"})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ctx = objects.WithPrincipal(ctx, objects.Principal{ID: "nightly-job"})
	visitors := objs.Object(Counters, "visitors")

	n, err := add.Do(ctx, visitors, 3)
	fmt.Println(n, err)

	_, err = add.Do(ctx, visitors, -1)
	switch code := objects.CodeOf(err); {
	case code.Retryable():
		fmt.Println("later:", err)
	case code == objects.Unknown:
		fmt.Println("again, under the same key:", err)
	default:
		fmt.Println("refused:", err)
	}
	// Output:
	// 3 <nil>
	// refused: negative: counters do not count down
}

// However often a program runs, an order is counted once.
func ExampleNew_idempotencyKey() {
	nc, stop := someNATS()
	defer stop()
	objs, err := client.New(nc, client.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 3 {
		ctx := objects.WithIdempotencyKey(context.Background(), "order-17")
		n, err := add.Do(ctx, objs.Object(Counters, "orders"), 1)
		fmt.Println(n, err)
	}
	// Output:
	// 1 <nil>
	// 1 <nil>
	// 1 <nil>
}

// Fetch has the object's ServeHTTP answer. The URL's host is the object's to read, and leads nowhere.
func ExampleClient_fetch() {
	nc, stop := someNATS()
	defer stop()
	objs, err := client.New(nc, client.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := http.NewRequest(http.MethodPost, "http://counters.example/report?of=today", strings.NewReader("all"))
	if err != nil {
		fmt.Println(err)
		return
	}
	res, err := objs.Object(Counters, "visitors").Fetch(r)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	fmt.Print(res.StatusCode, " ", string(body))
	// Output:
	// 202 "POST /report?of=today all at counters.example, 0"
}
