package sockets

import (
	"fmt"
	"slices"
	"testing"
)

func TestAStageChangesOnlyAlongAnEdge(t *testing.T) {
	checkEdges(t, stageEdges[:])
	checkEdges(t, outboxEdges[:])
	checkEdges(t, flowEdges[:])
}

func checkEdges[S interface {
	~uint8
	fmt.Stringer
}](t *testing.T, edges [][]S) {
	t.Helper()
	for from := range S(len(edges)) {
		for to := range S(len(edges)) {
			at, panicked := from, false
			func() {
				defer func() { panicked = recover() != nil }()
				advance(&at, to, edges)
			}()
			allowed := slices.Contains(edges[from], to)
			if panicked == allowed || allowed && at != to || !allowed && at != from {
				t.Errorf("from %s to %s: allowed %v, panicked %v, now %s", from, to, allowed, panicked, at)
			}
		}
	}
}

// A socket that has ended never opens again, and every socket can be forgotten.
func TestTheEndOfASocketIsFinal(t *testing.T) {
	for from := range stage(len(stageEdges)) {
		for _, to := range stageEdges[from] {
			if from.ended() && !to.ended() {
				t.Errorf("an edge leads from %s back to %s", from, to)
			}
		}
		if from != gone && !slices.Contains(stageEdges[from], gone) {
			t.Errorf("a socket that is %s cannot be forgotten", from)
		}
	}
}
