package main

import (
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
)

func TestTheMedianIsTheMiddleAndTheSpreadTheEnds(t *testing.T) {
	tests := []struct {
		values []float64
		want   spread
	}{
		{[]float64{7}, spread{7, 7, 7}},
		{[]float64{9, 1, 4}, spread{4, 1, 9}},
		{[]float64{4, 1, 2, 9}, spread{3, 1, 9}},
	}
	for _, tt := range tests {
		if got, ok := spreadOf(tt.values); got != tt.want || !ok {
			t.Errorf("spreadOf(%v) = %v, %t, want %v", tt.values, got, ok, tt.want)
		}
	}
	if _, ok := spreadOf(nil); ok {
		t.Error("there is a spread of nothing")
	}
}

func TestARatioIsOfOneRound(t *testing.T) {
	ours := map[int]float64{0: 20, 1: 90, 2: 7, 3: 5}
	theirs := map[int]float64{0: 10, 1: 30, 3: 0}
	got := slices.Sorted(slices.Values(ratios(ours, theirs)))
	if !slices.Equal(got, []float64{2, 3}) {
		t.Errorf("ratios = %v, want 2 and 3: round 2 has one side, and nothing is divided by the 0 of round 3", got)
	}
}

// rounds of the hot counter, in which the machine is slower in each.
func hot() []measure {
	var all []measure
	for round, pace := range []float64{1, 0.5, 0.1} {
		all = append(all,
			measure{Round: round, Work: "hot", Peer: "always", Figures: sample{perSecond: 12000 * pace, p99: 10_000 / pace}},
			measure{Round: round, Work: "hot", Peer: "workerd", Figures: sample{perSecond: 1000 * pace, p99: 40_000 / pace}})
	}
	return all
}

func TestATargetIsJudgedByTheMedianOfRatios(t *testing.T) {
	verdicts := judge(hot())
	got := make(map[string]bool)
	for _, v := range verdicts {
		if v.Got.Min != v.Got.Max {
			t.Errorf("%s: ratios from %v to %v, want the same in each round", v.Figure, v.Got.Min, v.Got.Max)
		}
		got[v.Figure] = v.Reached
	}
	if want := map[string]bool{perSecond: true, p99: false}; !maps.Equal(got, want) {
		t.Errorf("reached = %v, want %v: 12 times as many, and a quarter of the wait where a fifth is wanted", got, want)
	}
}

func TestWhatWasNotMeasuredIsNotJudged(t *testing.T) {
	all := append(hot(), measure{Work: "one", Peer: "always", Error: "it did not start"})
	for _, v := range judge(all) {
		if v.Work != "hot" {
			t.Errorf("%s was judged", v.Work)
		}
	}
}

func TestOnlyNarrowsPeersAndWorks(t *testing.T) {
	tests := []struct {
		name string
		only []string
		s    settings
		want string
	}{
		{"both", []string{"workerd", "hot", "fiber", "echo"}, full, "hot: workerd; echo: workerd fiber"},
		{"a work", []string{"asleep"}, full, "asleep: split"},
		{"a slow work that is asked for", []string{"find", "always"}, quick, "find: always"},
		{"quick leaves R3 out", []string{"hot"}, quick, "hot: always default workerd"},
		{"R3 that is asked for", []string{"hot", "r3"}, quick, "hot: r3"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			chosen, err := choose(tt.only, tt.s)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, w := range chosen {
				got = append(got, w.key+": "+strings.Join(w.peers, " "))
			}
			if strings.Join(got, "; ") != tt.want {
				t.Errorf("chosen = %s, want %s", strings.Join(got, "; "), tt.want)
			}
		})
	}
	if _, err := choose([]string{"moon"}, full); err == nil || !strings.Contains(err.Error(), "workerd") {
		t.Errorf("err = %v, want one that says which names there are", err)
	}
}

func TestEveryTargetIsOfAWorkThatItsPeersDo(t *testing.T) {
	for _, target := range targets {
		i := slices.IndexFunc(works, func(w work) bool { return w.key == target.work })
		if i < 0 || !slices.Contains(works[i].peers, target.who) || target.against != "" && !slices.Contains(works[i].peers, target.against) {
			t.Errorf("no work is measured for %+v", target)
		}
		if figureTitles[target.figure] == "" {
			t.Errorf("%s has no title", target.figure)
		}
	}
}

func TestAFigureIsShownWithItsUnit(t *testing.T) {
	tests := []struct {
		figure string
		value  float64
		want   string
	}{
		{perSecond, 17003.4, "17,003 /s"},
		{p50, 640, "640 us"},
		{p50, 1640, "1.64 ms"},
		{p99, 84_000, "84 ms"},
		{p99, 2_300_000, "2.30 s"},
		{startup, 412, "412 ms"},
		{delivered, 1, "100 %"},
		{delivered, 0.99999, "99.99 %"},
		{delivered, 0.61, "61 %"},
		{perSocket, 19 << 10, "19.0 KB"},
		{perObject, 900, "900 B"},
	}
	for _, tt := range tests {
		if got := show(tt.figure, tt.value); got != tt.want {
			t.Errorf("show(%s, %v) = %q, want %q", tt.figure, tt.value, got, tt.want)
		}
	}
}

func TestATableIsAlignedAndSaysARepeatedCellOnce(t *testing.T) {
	tab := table{head: []string{"work", "who", "figure"}}
	tab.add("a counter", "we", "1")
	tab.add("a counter", "they", "22")
	wantText := "work       who   figure\na counter  we    1\n           they  22\n"
	if got := tab.text(); got != wantText {
		t.Errorf("text:\n%s\nwant:\n%s", got, wantText)
	}
	wantPage := "| work | who | figure |\n|---|---|---|\n| a counter | we | 1 |\n|  | they | 22 |\n"
	if got := tab.markdown(); got != wantPage {
		t.Errorf("markdown:\n%s\nwant:\n%s", got, wantPage)
	}
}

func TestOnlyWhatStandsBetweenTheMarksIsReplaced(t *testing.T) {
	page := between("# Performance\n", "bench", "old")
	page = strings.Replace(page, "# Performance\n", "# Performance\n\nProse.\n", 1) + "More.\n"
	got := between(page, "bench", "new")
	want := "# Performance\n\nProse.\n\n<!-- bench:begin -->\n\nnew\n<!-- bench:end -->\nMore.\n"
	if got != want {
		t.Errorf("page:\n%s\nwant:\n%s", got, want)
	}
}

func TestALoadThatFailedIsAnError(t *testing.T) {
	_, err := decodeSample([]byte(`{"ok":false,"error":{"code":"unavailable","message":"nobody listens"}}`))
	if err == nil || !strings.Contains(err.Error(), "nobody listens") {
		t.Errorf("err = %v, want what the load generator said", err)
	}
	s, err := decodeSample([]byte(`{"ok":true,"work":"room","measured":{"perSecond":49500.5,"due":1000,"delivered":990}}`))
	if err != nil || s[perSecond] != 49500.5 || s[delivered] != 0.99 {
		t.Errorf("sample = %v, %v, want 49500.5 a second and 0.99 of what was due", s, err)
	}
}

func TestCountersOfAPageAreAddedUp(t *testing.T) {
	page := "# HELP x\n" +
		`holdfast_gateway_requests_total{class="a",result="ok"} 12` + "\n" +
		`holdfast_gateway_requests_total{class="b",result="ok"} 1.5e+06` + "\n" +
		`holdfast_gateway_sockets{class="b"} 7` + "\n"
	got, err := counterSum(strings.NewReader(page), requestsDone)
	if err != nil || got != 1_500_012 {
		t.Errorf("sum = %v, %v, want 1500012", got, err)
	}
}

func TestAScaleHasPowersOfTenAtEqualDistances(t *testing.T) {
	s := scaleOf([]float64{3, 250}, 0, 300)
	if s.low != 0 || s.high != 3 {
		t.Fatalf("from 10^%v to 10^%v, want 10^0 to 10^3", s.low, s.high)
	}
	for i, tick := range s.ticks() {
		if got, want := s.at(tick), float64(100*i); math.Abs(got-want) > 1e-9 {
			t.Errorf("%v is at %v, want %v", tick, got, want)
		}
	}
	if s := scaleOf([]float64{10}, 0, 300); s.low == s.high {
		t.Error("one value alone leaves no room")
	}
}

func TestAPlotHasAPointForEachFigure(t *testing.T) {
	p := panel{Title: "one ticket", Size: "objects", Point: []point{
		{Size: 100, Figures: sample{operation: 42}}, {Size: 1000, Error: "it ended"}, {Size: 10_000, Figures: sample{operation: 1300}},
	}}
	svg := draw([]panel{p})
	if got := strings.Count(svg, "<circle"); got != 2 {
		t.Errorf("%d points, want 2: one size failed", got)
	}
	for _, want := range []string{"42 us", "1.30 ms", "10k", "objects"} {
		if !strings.Contains(svg, ">"+want+"<") {
			t.Errorf("no %q in the plot", want)
		}
	}
}
