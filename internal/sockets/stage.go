package sockets

import (
	"fmt"
	"slices"
)

// stage is the state of a socket.
type stage uint8

const (
	asking   stage = iota // the object is being asked for the socket
	accepted              // the object has accepted it; the client's connection has not come
	open                  // the client is connected
	closing               // it has ended; the client is being told
	closed                // the object is being told; the close is the last frame of the uplink
	gone                  // nothing is sent about it any longer
)

func (s stage) String() string {
	return [...]string{"asking", "accepted", "open", "closing", "closed", "gone"}[s]
}

// stageEdges lists the stages that may follow each stage.
var stageEdges = [...][]stage{
	asking:   {accepted, closing, gone},
	accepted: {open, closing, gone},
	open:     {closing, gone},
	closing:  {closed, gone},
	closed:   {gone},
	gone:     {},
}

// ended reports whether a reason for the end has been chosen: no second one counts.
func (s stage) ended() bool { return s >= closing }

// advance moves at along an edge. It panics if there is no such edge: that is a
// programmer's mistake.
func advance[S interface {
	~uint8
	fmt.Stringer
}](at *S, to S, edges [][]S) {
	if !slices.Contains(edges[*at], to) {
		panic(fmt.Sprintf("no edge from %s to %s", *at, to))
	}
	*at = to
}
