package sockets

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAReasonIsCutAtACharactersBorder(t *testing.T) {
	for lead := range 5 {
		for _, letter := range []string{"a", "é", "世", "🦆", "\xff"} {
			reason := strings.Repeat("-", lead) + strings.Repeat(letter, 200)
			got := cut(reason)
			whole := strings.ToValidUTF8(reason, "\uFFFD")
			switch {
			case len(got) > 123 || !utf8.ValidString(got):
				t.Errorf("cut to %d bytes, valid %v: %q", len(got), utf8.ValidString(got), got)
			case !strings.HasPrefix(whole, got):
				t.Errorf("%q is not the beginning of what was said", got)
			case len(whole) > 123 && len(got) < 120:
				t.Errorf("cut to %d bytes, more than it needs", len(got))
			}
		}
	}
	if got := cut(strings.Repeat("x", 123)); len(got) != 123 {
		t.Errorf("a reason of 123 bytes fits, and was cut to %d", len(got))
	}
}

func TestOnlyCodesThatMayBeSentAreSent(t *testing.T) {
	for code, want := range map[int]bool{
		0: false, 999: false, 1000: true, 1003: true, 1004: false, 1005: true, 1006: false, 1007: true,
		1012: true, 1013: true, 1015: false, 3000: true, 4999: true, 5000: false, -1: false, 70000: false,
	} {
		if sendable(code) != want {
			t.Errorf("sendable(%d) = %v, want %v", code, !want, want)
		}
	}
}

// Clients and objects may invent codes without end.
func TestACodeThatNobodyKnowsIsOneLabel(t *testing.T) {
	for code, want := range map[int]string{1000: "1000", 1013: "1013", 3000: "application", 4999: "application", 0: "other", -7: "other", 2500: "other", 99999: "other"} {
		if got := closeLabel(code); got != want {
			t.Errorf("closeLabel(%d) = %q, want %q", code, got, want)
		}
	}
}
