//go:build race

package underrace

// On reports whether the race detector watches.
const On = true
