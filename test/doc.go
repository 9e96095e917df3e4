// Package test runs Holdfast as its users do: real servers, real processes, real
// sockets and a real browser. What is promised in ARCHITECTURE.md is shown here.
package test
