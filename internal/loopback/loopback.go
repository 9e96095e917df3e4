// Package loopback decides which requests a listener on the loopback accepts.
//
// Every page in a browser on this machine can reach such a listener. The owner of any site can make the
// site's name resolve to 127.0.0.1; then the browser takes the listener for that site, and the site's pages
// can read and write everything on it. Pages cannot forge the Host header. So a listener on the loopback
// answers only to names that always mean this machine, whatever a name server says.
package loopback

import (
	"net"
	"net/netip"
	"strings"
)

// Listener reports whether ln listens on a loopback address.
func Listener(ln net.Listener) bool {
	addr, tcp := ln.Addr().(*net.TCPAddr)
	return tcp && addr.IP.IsLoopback()
}

// Host reports whether the value of a Host header names this machine: localhost, a name that ends in
// .localhost, or a loopback address, each with or without a port. An empty value does too: browsers never
// send one.
func Host(host string) bool {
	name := Name(host)
	const suffix = "localhost"
	if at := len(name) - len(suffix); at >= 0 && strings.EqualFold(name[at:], suffix) && (at == 0 || name[at-1] == '.') {
		return true
	}
	addr, err := netip.ParseAddr(name)
	return name == "" || err == nil && addr.Unmap().IsLoopback()
}

// Name returns the value of a Host header without its port, brackets and last dot.
func Name(host string) string {
	if at := strings.LastIndexByte(host, ':'); at >= 0 && (strings.HasSuffix(host[:at], "]") || strings.IndexByte(host, ':') == at) {
		host = host[:at]
	}
	if inner, bracketed := strings.CutPrefix(host, "["); bracketed {
		return strings.TrimSuffix(inner, "]")
	}
	return strings.TrimSuffix(host, ".")
}
