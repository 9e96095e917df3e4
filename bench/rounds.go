package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// measure is one work done by one peer in one round.
type measure struct {
	Round   int    `json:"round"`
	Work    string `json:"work"`
	Peer    string `json:"peer"`
	Figures sample `json:"figures,omitempty"`
	Error   string `json:"error,omitempty"` // why there are no figures
}

// longest bounds one measure. Creating many objects and letting them sleep takes longest.
const longest = 25 * time.Minute

// rounds runs every work at every peer in turn, as often as the settings say. It notes the
// failure of a peer and goes on. Its error is that of ctx.
func (k *kit) rounds(ctx context.Context, s settings, chosen []work) ([]measure, error) {
	var all []measure
	for round := range s.Rounds {
		for _, w := range chosen {
			for _, key := range w.peers {
				m := k.measure(ctx, s, w, peerOf(key), round)
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				say("round %d of %d  %-7s %-8s %s", round+1, s.Rounds, w.key, key, m.line(w))
				all = append(all, m)
			}
		}
	}
	return all, nil
}

func (k *kit) measure(ctx context.Context, s settings, w work, p peer, round int) measure {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	settle()
	m := measure{Round: round, Work: w.key, Peer: p.key}
	figures, err := w.run(ctx, k, s, p)
	if err != nil {
		m.Error = err.Error()
		return m
	}
	m.Figures = figures
	return m
}

// line returns the measure in one line, for progress.
func (m measure) line(w work) string {
	if m.Error != "" {
		return "failed: " + m.Error
	}
	parts := []string{show(w.figure, m.Figures[w.figure])}
	for _, figure := range []string{p50, p99, delivered} {
		if value, ok := m.Figures[figure]; ok {
			name := strings.TrimSuffix(strings.TrimSuffix(figure, "Us"), "Share")
			parts = append(parts, name+" "+show(figure, value))
		}
	}
	return strings.Join(parts, "  ")
}

// valuesOf returns one figure of one peer at one work, by round.
func valuesOf(all []measure, work, peer, figure string) map[int]float64 {
	values := make(map[int]float64)
	for _, m := range all {
		if value, ok := m.Figures[figure]; ok && m.Work == work && m.Peer == peer {
			values[m.Round] = value
		}
	}
	return values
}

// choose narrows the works, and the peers of each, down to those that only names. Without a
// name of a peer all peers stay, and without one of a work all works.
func choose(only []string, s settings) ([]work, error) {
	var wantWorks, wantPeers []string
	for _, name := range only {
		switch {
		case slices.ContainsFunc(works, func(w work) bool { return w.key == name }):
			wantWorks = append(wantWorks, name)
		case slices.ContainsFunc(peers, func(p peer) bool { return p.key == name }):
			wantPeers = append(wantPeers, name)
		default:
			return nil, fmt.Errorf("--only %s: want some of %s", name, strings.Join(names(), ", "))
		}
	}
	var chosen []work
	for _, w := range works {
		if !slices.Contains(wantWorks, w.key) && (len(wantWorks) > 0 || s.Quick && w.slow) {
			continue
		}
		w.peers = slices.DeleteFunc(slices.Clone(w.peers), func(key string) bool {
			return !slices.Contains(wantPeers, key) && (len(wantPeers) > 0 || s.Quick && key == "r3")
		})
		chosen = append(chosen, w)
	}
	return chosen, nil
}

// names lists what --only accepts.
func names() []string {
	var all []string
	for _, p := range peers {
		all = append(all, p.key)
	}
	for _, w := range works {
		all = append(all, w.key)
	}
	return all
}

// say prints progress.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
