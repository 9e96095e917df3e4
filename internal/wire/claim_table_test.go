package wire

import "testing"

func TestASearchGoesToTheNearestHostThatLives(t *testing.T) {
	for _, c := range []struct {
		from search
		news news
		to   search
		asks bool
	}{
		{askRegion, noResponders, askAll, true},
		{askRegion, timedOut, askAll, true},
		{askRegion, hostBusy, isClaiming, false},
		{askRegion, hostAnswered, askRegion, false},
		{askAll, noResponders, none, false},
		{askAll, timedOut, askAll, true},
		{askAll, hostAnswered, askHost, true},
		{askAll, hostBusy, isClaiming, false}, // the region's host was slow to say so
		{askHost, noResponders, askAll, true}, // it has gone
		{askHost, timedOut, askAll, true},
		{askHost, hostAnswered, askHost, false}, // a slower one
		{askHost, hostBusy, isClaiming, false},
		{isClaiming, noResponders, isClaiming, false},
		{isClaiming, timedOut, askAll, true},
		{isClaiming, hostAnswered, isClaiming, false},
		{isClaiming, hostBusy, isClaiming, false},
		{askRegion, ownerNamed, askOwner, true},
		{askAll, ownerNamed, askOwner, true}, // the region's host was slow to say so
		{askHost, ownerNamed, askOwner, true},
		{isClaiming, ownerNamed, askOwner, true},
		{askOwner, ownerNamed, askOwner, false},
		{askOwner, hostBusy, isClaiming, false},
		{askOwner, hostAnswered, askOwner, false}, // to an earlier question
		{askOwner, noResponders, none, false},
		{askOwner, timedOut, none, false},
	} {
		if to, asks := c.from.next(c.news); to != c.to || asks != c.asks {
			t.Errorf("stage %d, news %d: stage %d, asks %t; want %d, %t", c.from, c.news, to, asks, c.to, c.asks)
		}
	}
}

func TestATokenFarBeyondAllOthersIsForged(t *testing.T) {
	const generation = 1 << revisionBits
	h := make(horizon)
	for _, c := range []struct {
		what  string
		token uint64
		want  bool
	}{
		{"the first", 5_000_000_000, true},
		{"an older one", 7, true},
		{"one far ahead", 5_000_000_000 + maxAhead + 1, false},
		{"one somewhat ahead", 5_000_000_000 + maxAhead, true},
		{"the highest there is", 1<<64 - 1, false},
		{"another generation", 3*generation + 12, true},
		{"far ahead in that", 3*generation + 13 + maxAhead, false},
		{"2^62", 1 << 62, true}, // the first of its generation: it cannot be told
	} {
		if got := h.plausible(c.token); got != c.want {
			t.Errorf("%s: plausible = %t, want %t", c.what, got, c.want)
		}
	}
	for generations := range uint64(1 << 16) {
		h.plausible(generations << revisionBits)
	}
	if len(h) > maxGeneration {
		t.Errorf("%d generations are remembered, want at most %d", len(h), maxGeneration)
	}
}

func TestTheSecondLostOwnerIsTheLast(t *testing.T) {
	moved := func(token uint64) *Reply { return &Reply{Moved: true, Token: token} }
	for _, c := range []struct {
		what string
		tell func(f fate) fate
		want int
	}{
		{"silent and then answering", func(f fate) fate { return f.sent(5, false).silence().sent(5, false).silence().sent(5, false) }, 0},
		{"one lost", func(f fate) fate { return f.sent(5, false).silence().sent(5, false).silence().sent(7, false) }, 1},
		{"two lost", func(f fate) fate { return f.sent(5, false).silence().sent(7, false).silence().sent(9, false) }, 2},
		{"the first not known by name", func(f fate) fate { return f.sent(0, false).silence().sent(7, false).silence().sent(9, false) }, 2},
		{"not known by name, and never replaced", func(f fate) fate { return f.sent(0, false).silence().sent(7, true).silence().sent(9, false) }, 1},
		{"silent, replaced, and not dead", func(f fate) fate {
			f, _ = f.sent(5, false).silence().sent(7, false).onReply(1, moved(5), 7)
			return f
		}, 0},
		{"one of two not dead", func(f fate) fate {
			f, _ = f.sent(5, false).silence().sent(7, false).silence().sent(9, false).onReply(2, moved(7), 9)
			return f
		}, 1},
		{"not dead before it is replaced", func(f fate) fate {
			f, _ = f.sent(5, false).silence().onReply(1, moved(5), 5)
			return f.sent(7, false)
		}, 0},
		{"handed over in good order", func(f fate) fate {
			for token := uint64(5); token < 15; token++ {
				f, _ = f.sent(token, false).onReply(f.copy+1, moved(token), token)
			}
			return f
		}, 0},
	} {
		if got := c.tell(fate{}).lost; got != c.want {
			t.Errorf("%s: %d owners lost, want %d", c.what, got, c.want)
		}
	}
}
