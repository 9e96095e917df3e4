// Package acceptance runs Holdfast as its users do: real servers, real processes, real
// sockets and a real browser. What is promised in ARCHITECTURE.md is shown here.
//
// These tests take longest and mostly wait. Their name comes first among all packages, so
// that go test ./... begins with them and runs all others beside them.
package acceptance
