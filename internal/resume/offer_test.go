package resume

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestATokenIsReadAsItWasMade(t *testing.T) {
	secret := []byte("0123456789abcdef")
	c := Client{Token: TokenOf("gateway.abc-1", secret), Received: 7}
	offer, rest, err := Offered([]string{strings.Join(append(c.Subprotocols(), "game.1"), ", "), "game.2"})
	if err != nil || !offer.Resumes || offer.Session != "gateway.abc-1" || !bytes.Equal(offer.Secret, secret) || offer.Received != 7 || !slices.Equal(rest, []string{"game.1", "game.2"}) {
		t.Errorf("offer %+v, rest %q, %v", offer, rest, err)
	}
	if offer, rest, err := Offered([]string{"a,b"}); err != nil || offer.Resumes || !slices.Equal(rest, []string{"a", "b"}) {
		t.Errorf("offer %+v, rest %q, %v", offer, rest, err)
	}
}

func TestWhatIsNoTokenIsRefused(t *testing.T) {
	good := "holdfast.resume.7." + TokenOf("s-1", []byte("0123456789abcdef"))
	for _, line := range []string{
		good, // without the protocol
		"holdfast.1, " + good + ", " + good,
		"holdfast.1, holdfast.resume.",
		"holdfast.1, holdfast.resume.7",
		"holdfast.1, holdfast.resume.7.",
		"holdfast.1, holdfast.resume.7.AAAA.s-1",
		"holdfast.1, holdfast.resume.-1." + TokenOf("s-1", []byte("0123456789abcdef")),
		"holdfast.1, holdfast.resume.18446744073709551616." + TokenOf("s-1", []byte("0123456789abcdef")),
		"holdfast.1, holdfast.resume.7." + TokenOf("", []byte("0123456789abcdef")),
		"holdfast.1, holdfast.resume.7." + TokenOf("s\x00", []byte("0123456789abcdef")),
		"holdfast.1, holdfast.resume.7." + TokenOf(strings.Repeat("s", MaxSession+1), []byte("0123456789abcdef")),
		"holdfast.1, holdfast.resume.7." + TokenOf("s-1", []byte("0123456789abcde")),
		"holdfast.1, " + strings.Replace(good, "MDEy", "M*Ey", 1),
	} {
		if offer, _, err := Offered([]string{line}); err == nil {
			t.Errorf("%q is taken for %+v", line, offer)
		}
	}
}

func FuzzOffered(f *testing.F) {
	f.Add("holdfast.1, holdfast.resume.7." + TokenOf("s-1", []byte("0123456789abcdef")))
	f.Fuzz(func(t *testing.T, line string) {
		offer, _, err := Offered([]string{line})
		if err == nil && offer.Session != "" && (len(offer.Session) > MaxSession || len(offer.Secret) != SecretSize || !offer.Resumes) {
			t.Errorf("%q is taken for %+v", line, offer)
		}
	})
}

func FuzzTakeOver(f *testing.F) {
	s := New(Settings{Bytes: 1 << 10, Time: time.Minute})
	now := time.Now()
	s.Add(now, Message{Data: []byte("x")}, []Number{s.Open("s", []byte("0123456789abcdef"), Place{"g", 1})})
	f.Add(s.HandOver(now, 1, 1<<10))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := New(Settings{Bytes: 1 << 10, Time: time.Minute})
		s.Adopt(Session{ID: "s", Secret: []byte("0123456789abcdef"), At: Place{"g", 1}, Sent: 1})
		_ = s.TakeOver(data, 1) // a window that cannot be read is none
		if s.window.bytes > 1<<10 {
			t.Errorf("the window has %d bytes", s.window.bytes)
		}
	})
}

// A room of many, in which each hears all others: the window is bounded whatever is said to whom.
func TestTheWindowIsBoundedAndGivesTheNewest(t *testing.T) {
	s := New(Settings{Bytes: 4 << 10, Time: time.Minute})
	var all []Number
	for i := range 200 {
		all = append(all, s.Open(string(rune('a'+i)), nil, Place{"g", uint32(i + 1)}))
	}
	now := time.Now()
	for i := range 1000 {
		s.Add(now, Message{Data: []byte{byte(i)}}, slices.Delete(slices.Clone(all), i%len(all), i%len(all)+1))
		if s.window.bytes > 4<<10 {
			t.Fatalf("%d bytes", s.window.bytes)
		}
	}
	one := s.Find("a")
	if got := s.window.newest(one, 3); len(got) != 3 || got[2].Data[0] != 999%256 || one.Sent != 995 {
		t.Errorf("the newest are %v of %d", got, one.Sent)
	}
	if s.Trim(now.Add(2 * time.Minute)) {
		t.Error("what is too old is kept")
	}
	for _, one := range slices.Clone(s.sets) {
		s.End(one.ID)
	}
	if !s.Empty() || len(s.sets) > 0 {
		t.Error("something is left of sessions that have ended")
	}
}

func TestASessionGetsNothingThatWasSentToTheOneWhosePlaceItHas(t *testing.T) {
	now, whole := time.Unix(1e9, 0), func(string) bool { return true }
	s := New(Settings{Bytes: 1 << 20, Time: time.Minute})
	first := s.Open("first", []byte(secret), Place{"g", 1})
	other := s.Open("other", []byte(secret), Place{"g", 2})
	s.Add(now, Message{Data: []byte("before")}, []Number{first, other})
	s.End("first")
	second := s.Open("second", []byte(secret), Place{"g", 3})
	if second != first {
		t.Fatalf("the place of the first is %d, of the second %d", first, second)
	}
	s.Add(now, Message{Data: []byte("own")}, []Number{second, other})

	next := New(Settings{Bytes: 1 << 20, Time: time.Minute})
	next.Adopt(Session{ID: "second", Secret: []byte(secret), At: Place{"g", 3}, Sent: 1})
	if err := next.TakeOver(s.HandOver(now, 1, 1<<20), 1); err != nil {
		t.Fatal(err)
	}
	for name, owner := range map[string]*Sessions{"the owner": s, "the next owner": next} {
		back := owner.Resume(owner.Find("second"), 2, Place{"g", 4}, whole) // more than it can have got
		if len(back.Messages) != 1 || string(back.Messages[0].Data) != "own" {
			t.Errorf("%s sent %v", name, back.Messages)
		}
	}
}
