package app

import (
	"strings"
	"testing"
	"testing/iotest"
)

func TestACharacterInTwoPartsIsShownWhole(t *testing.T) {
	for text, want := range map[string]int{"": 0, "a": 0, "ä": 0, "ä"[:1]: 1, "a€"[:3]: 2, "😀"[:3]: 3, "\xff": 0, "\x80\x80": 0, "\x80\x80\x80\x80": 0} {
		if got := begun([]byte(text)); got != want {
			t.Errorf("%q ends with %d bytes of a character, want %d", text, got, want)
		}
	}
	const text = "grün\n€ \x1b[31m😀 \xff"
	var whole, parts strings.Builder
	for _, to := range []*strings.Builder{&whole, &parts} {
		p := &program{stdout: to}
		from := iotest.OneByteReader(strings.NewReader(text))
		if to == &whole {
			from = strings.NewReader(text)
		}
		if err := p.pass(from); err != nil {
			t.Fatal(err)
		}
	}
	if whole.String() != text+"\n" || parts.String() != whole.String() {
		t.Errorf("passed %q and, in parts, %q", whole.String(), parts.String())
	}
}
