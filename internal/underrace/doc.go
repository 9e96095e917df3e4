// Package underrace tells tests whether the race detector watches them. Under it they compute ten times as much, so fewer of
// them run side by side.
package underrace
