package link

import (
	"strings"
	"testing"
	"time"
)

func TestTheTableIsCompleteAndTheSameBothWays(t *testing.T) {
	all := Regions()
	if len(all) < 14 {
		t.Fatalf("regions = %d, want at least 14", len(all))
	}
	for i, a := range all {
		if len(table[i].ms) != i || a.City == "" || len(a.Code) != 3 || !Known(a.Code) {
			t.Errorf("row %d (%+v) has %d figures, want %d and a known code of three letters", i, a, len(table[i].ms), i)
		}
		for _, b := range all {
			there, ok := RTT(a.Code, b.Code)
			back, _ := RTT(b.Code, a.Code)
			if !ok || there != back {
				t.Errorf("%s-%s = %s there, %s back, known %v", a.Code, b.Code, there, back, ok)
			}
			if a == b && there != 0 {
				t.Errorf("%s to itself = %s, want 0", a.Code, there)
			}
			if a != b && (there < 5*time.Millisecond || there > 400*time.Millisecond) {
				t.Errorf("%s-%s = %s, which no cable on this planet takes", a.Code, b.Code, there)
			}
		}
	}
}

func TestFiguresAreThoseOfTheSource(t *testing.T) {
	for _, c := range []struct {
		a, b string
		ms   int
	}{{"fra", "iad", 97}, {"fra", "syd", 291}, {"syd", "iad", 207}, {"lhr", "cdg", 13}, {"gru", "nrt", 270}, {"jnb", "dxb", 105}} {
		if got, _ := RTT(c.a, c.b); got != time.Duration(c.ms)*time.Millisecond {
			t.Errorf("%s-%s = %s, want %d ms", c.a, c.b, got, c.ms)
		}
	}
}

func TestAnUnknownRegionIsRefusedByTheTableOnly(t *testing.T) {
	if _, ok := RTT("fra", "xxx"); ok || Known("xxx") || Known("FRA") {
		t.Error("a region that is not in the table is known")
	}
	var real Setting
	if _, err := real.Between("fra", "xxx"); err == nil || !strings.Contains(err.Error(), `"xxx"`) || !strings.Contains(err.Error(), "fra, lhr") {
		t.Errorf("error = %v, want one that names xxx and lists the known", err)
	}
	fixed, err := Parse("40ms")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := fixed.Between("here", "there"); err != nil || got != 40*time.Millisecond {
		t.Errorf("a fixed round trip = %s, %v, want 40ms between any two", got, err)
	}
	if got, err := fixed.Between("here", "here"); err != nil || got != 0 {
		t.Errorf("a fixed round trip to itself = %s, %v, want 0", got, err)
	}
}

func TestSettingsAreReadAndPrintedAlike(t *testing.T) {
	for _, c := range []struct {
		in, out string
		fraSyd  time.Duration
		off     bool
	}{
		{"real", "real", 291 * time.Millisecond, false},
		{"", "real", 291 * time.Millisecond, false},
		{"0", "0", 0, true},
		{"0ms", "0", 0, true},
		{"40ms", "40ms", 40 * time.Millisecond, false},
		{"1.5s", "1.5s", 1500 * time.Millisecond, false},
	} {
		s, err := Parse(c.in)
		if err != nil {
			t.Errorf("Parse(%q): %v", c.in, err)
			continue
		}
		got, err := s.Between("fra", "syd")
		if err != nil || got != c.fraSyd || s.String() != c.out || s.Off() != c.off {
			t.Errorf("Parse(%q) = %q, off %v, fra-syd %s, %v; want %q, %v, %s", c.in, s, s.Off(), got, err, c.out, c.off, c.fraSyd)
		}
	}
	for _, bad := range []string{"40", "-1ms", "fast", "real "} {
		if s, err := Parse(bad); err == nil {
			t.Errorf("Parse(%q) = %q, want an error", bad, s)
		}
	}
}
