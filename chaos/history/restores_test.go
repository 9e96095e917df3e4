package history_test

import (
	"testing"
	"time"

	"holdfast/chaos/history"
)

func TestRestoresAreJudged(t *testing.T) {
	restored := func(tries int, wrong string) history.Record {
		return history.Record{Restore: &history.Restore{Object: "s-past", To: "then", Start: time.Second, End: time.Second + ms(tries), Tries: tries, Wrong: wrong}}
	}
	looked := func(wrong string) history.Record {
		return history.Record{Restore: &history.Restore{Object: "s-past", Wrong: wrong}}
	}
	for _, c := range []struct {
		name    string
		records []history.Record
		want    history.Restores
	}{
		{"nothing was put back", nil, history.Restores{}},
		{"all is as it was", []history.Record{looked(""), restored(1, ""), looked(""), restored(3, "")}, history.Restores{N: 2, Again: 1, Longest: ms(3)}},
		{"a restore was not exact", []history.Record{restored(1, "other rows")}, history.Restores{N: 1, Inexact: 1, Longest: ms(1)}},
		{"what was acknowledged is gone", []history.Record{restored(1, ""), looked("fewer rows")}, history.Restores{N: 1, Lost: 1, Longest: ms(1)}},
	} {
		got := history.CheckRestores(c.records)
		if flaws := len(got.Flaws); flaws != c.want.Inexact+c.want.Lost {
			t.Errorf("%s: %d flaws are described", c.name, flaws)
		}
		if got.Flaws = nil; got.N != c.want.N || got.Again != c.want.Again || got.Inexact != c.want.Inexact || got.Lost != c.want.Lost || got.Longest != c.want.Longest {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}
