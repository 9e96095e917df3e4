package scope_test

import (
	"context"
	"testing"

	"holdfast/internal/scope"
)

func TestEachCallOfARequestHasAKeyOfItsOwnAndTheSameWhenItIsRepeated(t *testing.T) {
	request := func(principal, key string) (keys []string) {
		ctx := scope.WithKey(context.Background(), key)
		for _, c := range [][2]string{{"ticket.1", "claim"}, {"ticket.1", "claim"}, {"ticket.1", "peek"}, {"ticket.2", "claim"}} {
			keys = append(keys, scope.NextKey(ctx, principal, c[0], c[1]))
		}
		return keys
	}
	first, again := request("ada", "k"), request("ada", "k")
	for i := range first {
		if first[i] != again[i] || first[i] == "" {
			t.Errorf("call %d: %q, and %q when the request is repeated", i, first[i], again[i])
		}
	}
	if first[0] == first[1] || first[0] == first[2] {
		t.Errorf("keys %q: two calls of one object have one", first)
	}
	for _, other := range [][]string{request("bob", "k"), request("ada", "l"), request("", "k"), request("adak", "")} {
		if other[0] == first[0] {
			t.Error("another's request has the same key")
		}
	}
	if key := scope.NextKey(context.Background(), "ada", "ticket.1", "claim"); key != "" {
		t.Errorf("without a key: %q", key)
	}
}
