package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// compare runs all works in rounds and compares the results with the targets.
func compare(ctx context.Context, s settings, only []string, o outputs) error {
	chosen, err := choose(only, s)
	if err != nil {
		return err
	}
	return o.with(ctx, "", func(k *kit, r *report) error {
		all, err := k.rounds(ctx, s, chosen)
		if err != nil {
			return err
		}
		r.Settings, r.Measures, r.Verdicts = s, all, judge(all)
		if !s.Quick {
			r.sections = append(r.sections, measuresTable(chosen, all))
		}
		r.sections = append(r.sections, verdictsTable(r.Verdicts))
		if s.Quick {
			r.sections = append(r.sections, faultsTable(chosen, all))
		}
		return nil
	})
}

// judge returns a verdict for each target that was measured.
func judge(all []measure) []verdict {
	var verdicts []verdict
	for _, t := range targets {
		if v, ok := t.judge(all); ok {
			verdicts = append(verdicts, v)
		}
	}
	return verdicts
}

// measuresTable has a row for each peer at each work.
func measuresTable(chosen []work, all []measure) table {
	t := table{head: []string{"work", "who", "median", "lowest..highest", "p50", "p99", "notes"}}
	for _, w := range chosen {
		for _, key := range w.peers {
			of := func(figure string) (spread, bool) {
				return spreadOf(listOf(valuesOf(all, w.key, key, figure)))
			}
			median := func(figure string) string {
				if s, ok := of(figure); ok {
					return show(figure, s.Median)
				}
				return ""
			}
			s, ok := of(w.figure)
			ends := ""
			if ok {
				ends = show(w.figure, s.Min) + " .. " + show(w.figure, s.Max)
			}
			t.add(w.title, peerOf(key).title, median(w.figure), ends, median(p50), median(p99), notes(all, w.key, key))
		}
	}
	return t
}

// listOf returns the values without their rounds.
func listOf(values map[int]float64) []float64 {
	var all []float64
	for _, value := range values {
		all = append(all, value)
	}
	return all
}

// notes returns remarks on one peer at one work.
func notes(all []measure, work, peer string) string {
	var told []string
	for _, count := range []string{"refused", "failed", "duplicates", "closed"} {
		if s, ok := spreadOf(listOf(valuesOf(all, work, peer, count))); ok && s.Max > 0 {
			told = append(told, fmt.Sprintf("%s %.0f", count, s.Median))
		}
	}
	for _, figure := range []string{delivered, allObject} {
		if s, ok := spreadOf(listOf(valuesOf(all, work, peer, figure))); ok {
			told = append(told, map[string]string{delivered: "delivered ", allObject: "with NATS "}[figure]+show(figure, s.Median))
		}
	}
	if i := slices.IndexFunc(all, func(m measure) bool { return m.Work == work && m.Peer == peer && m.Error != "" }); i >= 0 {
		why, _, _ := strings.Cut(all[i].Error, "\n")
		told = append(told, "failed: "+why)
	}
	return strings.Join(told, ", ")
}

// verdictsTable has a row for each target.
func verdictsTable(verdicts []verdict) table {
	t := table{head: []string{"work", "who", "figure", "wanted", "median", "lowest..highest", ""}}
	for _, v := range verdicts {
		i := slices.IndexFunc(works, func(w work) bool { return w.key == v.Work })
		who, mark := peerOf(v.Who).title, "not reached"
		if v.Against != "" {
			who += " / " + peerOf(v.Against).title
		}
		if v.Reached {
			mark = "reached"
		}
		t.add(works[i].title, who, figureTitles[v.Figure], v.Wanted, v.target.show(v.Got.Median),
			v.target.show(v.Got.Min)+" .. "+v.target.show(v.Got.Max), mark)
	}
	return t
}

var figureTitles = map[string]string{
	perSecond: "a second", p50: "p50", p99: "p99", delivered: "delivered", perSocket: "a socket", perObject: "an object", startup: "time",
}

// faultsTable lists failures, for reports that show the ratios alone.
func faultsTable(chosen []work, all []measure) table {
	t := table{head: []string{"work", "who", "notes"}}
	for _, w := range chosen {
		for _, key := range w.peers {
			if told := notes(all, w.key, key); told != "" {
				t.add(w.title, peerOf(key).title, told)
			}
		}
	}
	return t
}
