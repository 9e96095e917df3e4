// Package loopback decides who may use a listener that only this machine can reach.
//
// Every page that a browser on this machine shows can reach it too. The owner of any
// site can have the site's name lead to 127.0.0.1, and then the browser takes what
// listens there for that site: its pages read and write all of it. They cannot forge the
// Host header. So a listener on loopback answers only to names that lead here whatever
// a name server says.
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

// Host reports whether the value of a Host header names this machine: localhost, a name
// that ends in .localhost, or a loopback address, each with or without a port. So does no
// value at all, which browsers do not send.
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
