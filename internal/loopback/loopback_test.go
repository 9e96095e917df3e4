package loopback_test

import (
	"fmt"
	"net"
	"testing"

	"holdfast/internal/loopback"
)

func TestOnlyNamesThatNoNameServerCanTurnAreThisMachines(t *testing.T) {
	for host, want := range map[string]bool{
		"": true, ":80": true, "localhost": true, "LocalHost:8787": true, "localhost.": true, "a.localhost:1": true, "a.localhost.:1": true,
		"127.0.0.1": true, "127.0.0.1:8787": true, "127.9.9.9": true, "[::1]": true, "[::1]:8787": true, "::1": true, "[::ffff:127.0.0.1]:1": true,

		"attacker.example": false, "attacker.example:8787": false, "localhost.attacker.example": false, "notlocalhost": false,
		"127.0.0.1.attacker.example": false, "10.0.0.5:8787": false, "0.0.0.0": false, "[::]:1": false, "localhost@attacker.example": false,
		"localhost..": false, "[localhost": true, "127.1": false, "localhost:80:attacker.example": false, "\x00localhost": false,
	} {
		if got := loopback.Host(host); got != want {
			t.Errorf("Host(%q) = %t, want %t", host, got, want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { loopback.Host("localhost:8787"); loopback.Host("127.0.0.1:8787") }); n != 0 {
		t.Errorf("a request's look at its Host allocates %v times, want 0", n)
	}
}

func TestAServerHasItsPortAgainWhenItStartsAgain(t *testing.T) {
	ports, err := loopback.Ports(50)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[int]bool)
	for _, port := range ports {
		if seen[port] || port >= 32768 { // from there on Linux gives ports to whoever asks for any
			t.Errorf("port %d, of %v", port, ports)
		}
		seen[port] = true
		ln, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port))
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
	}
}

func TestAListenerOnAllAddressesIsNotOnLoopback(t *testing.T) {
	for addr, want := range map[string]bool{"127.0.0.1:0": true, "0.0.0.0:0": false} {
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		if got := loopback.Listener(ln); got != want {
			t.Errorf("Listener(%s) = %t, want %t", addr, got, want)
		}
	}
}
