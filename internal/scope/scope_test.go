package scope_test

import (
	"context"
	"net/netip"
	"testing"

	"holdfast/internal/scope"
)

func TestEachCallOfARequestHasAKeyOfItsOwnAndTheSameWhenItIsRepeated(t *testing.T) {
	home := netip.MustParseAddr("192.0.2.1")
	from := func(client netip.Addr, principal, key string) (keys []string) {
		ctx := scope.WithKey(context.Background(), key)
		for _, c := range [][2]string{{"ticket.1", "claim"}, {"ticket.1", "claim"}, {"ticket.1", "peek"}, {"ticket.2", "claim"}} {
			keys = append(keys, scope.NextKey(ctx, principal, client, c[0], c[1]))
		}
		return keys
	}
	request := func(principal, key string) []string { return from(home, principal, key) }
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
	elsewhere := netip.MustParseAddr("198.51.100.7")
	if from(elsewhere, "ada", "k")[0] != first[0] {
		t.Error("a principal's key is another from another address")
	}
	if from(elsewhere, "", "k")[0] == request("", "k")[0] {
		t.Error("nobody in particular is given what another address was answered")
	}
	if from(netip.MustParseAddr("2001:db8::1"), "", "k")[0] != from(netip.MustParseAddr("2001:db8::2:3"), "", "k")[0] {
		t.Error("one IPv6 network counts as two clients")
	}
	if key := scope.NextKey(context.Background(), "ada", home, "ticket.1", "claim"); key != "" {
		t.Errorf("without a key: %q", key)
	}
}
