package loopback

import (
	"errors"
	"math/rand/v2"
	"net"
)

// Systems assign ports from 32768 (Linux) or 49152 (others) upwards to connections, and to listeners without
// a fixed port.
const lowestPort, highestPort = 10_000, 32_000

// Ports returns n different ports of the loopback on which nothing listens. They are below the ports that
// systems assign, so a server may stop and start again on its port: no other process gets the port meanwhile.
func Ports(n int) ([]int, error) {
	var ports []int
	for tries := 100 * n; len(ports) < n; tries-- {
		if tries == 0 {
			return nil, errors.New("no free ports on the loopback")
		}
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err != nil {
			continue
		}
		defer ln.Close() // after all are chosen, so that no two are the same
		ports = append(ports, port)
	}
	return ports, nil
}
