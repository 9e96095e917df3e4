package gateway

import (
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"
)

// proxies are the networks whose X-Forwarded headers are believed.
type proxies []netip.Prefix

func (p proxies) trusts(ip netip.Addr) bool {
	return slices.ContainsFunc(p, func(network netip.Prefix) bool { return network.Contains(ip) })
}

// clientIP returns the address of a request's client: the connection's peer or, if that is a trusted proxy, the last
// address in X-Forwarded-For that is not a trusted proxy. The client itself may have written the addresses before that
// one.
func (p proxies) clientIP(rc *fasthttp.RequestCtx) netip.Addr {
	ip := ipOf(rc.RemoteAddr())
	if !p.trusts(ip) {
		return ip
	}
	lines := rc.Request.Header.PeekAll("X-Forwarded-For")
	for _, line := range slices.Backward(lines) {
		hops := strings.Split(string(line), ",")
		for _, hop := range slices.Backward(hops) {
			before, ok := parseIP(strings.TrimSpace(hop))
			if !ok {
				return ip
			}
			if ip = before; !p.trusts(ip) {
				return ip
			}
		}
	}
	return ip
}

// secure reports whether the client speaks TLS to us or to the trusted proxy in front.
func (p proxies) secure(rc *fasthttp.RequestCtx) bool {
	if c, ours := rc.Conn().(*conn); ours && c.overTLS() {
		return true
	}
	return len(p) > 0 && string(rc.Request.Header.Peek("X-Forwarded-Proto")) == "https" && p.trusts(ipOf(rc.RemoteAddr()))
}

// parseIP reads an address with or without a port.
func parseIP(s string) (netip.Addr, bool) {
	if withPort, err := netip.ParseAddrPort(s); err == nil {
		return withPort.Addr().Unmap().WithZone(""), true
	}
	ip, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return ip.Unmap().WithZone(""), err == nil
}

// ipOf returns the IP of a connection's end; invalid if the end has none.
func ipOf(end net.Addr) netip.Addr {
	if tcp, ok := end.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// sourceOf returns the network that limits count as one client: an IPv4 address, or an IPv6 /64, because one user has
// all of it. It is invalid for an address that has no limit of its own.
func sourceOf(ip netip.Addr) netip.Prefix {
	switch {
	case !ip.IsValid() || ip.IsLoopback():
		return netip.Prefix{}
	case ip.Is4():
		return netip.PrefixFrom(ip, 32)
	default:
		network, _ := ip.Prefix(64) // fails only for lengths that do not exist
		return network
	}
}
