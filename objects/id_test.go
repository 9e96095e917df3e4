package objects_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"holdfast/objects"
)

func nameID(t failer, class objects.Class, name string) objects.ID {
	t.Helper()
	id, err := class.ID(name)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestANameIsTheSameObjectForEver(t *testing.T) {
	a, again, b := nameID(t, "room", "a"), nameID(t, "room", "a"), nameID(t, "room", "b")
	if a != again {
		t.Errorf("the same name gave %v and %v", a, again)
	}
	if a.String() == b.String() {
		t.Errorf("two names gave %v", a)
	}
	if other := nameID(t, "ticket", "a"); a.String() == other.String() {
		t.Errorf("two classes gave %v", a)
	}
	if !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(a.String()) {
		t.Errorf("id = %q, want 64 hex digits", a)
	}
	// Stored objects are found by this: a change of it loses them all.
	const want = "5d88472047ba1c83bc28f441d4980d4ad1ae46427f16c79b0f5e5cb708127881"
	if a.String() != want {
		t.Errorf("id of room/a = %s, want %s for ever", a, want)
	}
	if a.Key() != "room."+want || a.Class() != "room" {
		t.Errorf("key %q, class %q", a.Key(), a.Class())
	}
}

func TestRandomIDsDiffer(t *testing.T) {
	const rooms objects.Class = "room"
	a, b := rooms.NewID(), rooms.NewID()
	if a == b {
		t.Errorf("ids %v and %v", a, b)
	}
	if parsed, err := rooms.ParseID(a.String()); err != nil || parsed != a {
		t.Errorf("parsed = %v, %v, want %v", parsed, err, a)
	}
}

func TestTwoIDsOfOneObjectAreTheSameHoweverTheyWereMade(t *testing.T) {
	const rooms objects.Class = "room"
	id := nameID(t, rooms, "a")
	for _, text := range []string{id.String(), strings.ToUpper(id.String())} {
		if parsed, err := rooms.ParseID(text); err != nil || parsed != id {
			t.Errorf("parse %s = %v, %v, want %v", text, parsed, err, id)
		}
	}
	data, err := json.Marshal(map[string]objects.ID{"id": id, "none": {}})
	if want := `{"id":"` + id.Key() + `","none":""}`; string(data) != want || err != nil {
		t.Errorf("as JSON: %s, %v, want %s", data, err, want)
	}
	var back map[string]objects.ID
	if err := json.Unmarshal(data, &back); err != nil || back["id"] != id || back["none"] != (objects.ID{}) {
		t.Errorf("read back: %v, %v", back, err)
	}
	if err := json.Unmarshal([]byte(`"room.zz"`), new(objects.ID)); objects.CodeOf(err) != objects.Invalid {
		t.Errorf("what is no id: %v, want invalid", err)
	}
}

func TestWhatIsNoIDIsRefused(t *testing.T) {
	id := nameID(t, "room", "a").String()
	flipped := id[:63] + string("0123456789abcdef0"[strings.IndexByte("0123456789abcdef", id[63])+1])
	for name, c := range map[string]struct {
		class objects.Class
		text  string
	}{
		"not hex":          {"room", "zz"},
		"empty":            {"room", ""},
		"63 digits":        {"room", id[:63]},
		"65 digits":        {"room", id + "0"},
		"66 digits":        {"room", id + "00"},
		"62 digits":        {"room", id[:62]},
		"spaces":           {"room", " " + id[:62] + " "},
		"another class":    {"ticket", id},
		"no class":         {"", id},
		"a changed digit":  {"room", flipped},
		"halves exchanged": {"room", id[32:] + id[:32]},
	} {
		if parsed, err := c.class.ParseID(c.text); objects.CodeOf(err) != objects.Invalid || parsed != (objects.ID{}) {
			t.Errorf("%s: %v, %v, want invalid", name, parsed, err)
		}
	}
}

func TestNamesAreTakenAsTheyAre(t *testing.T) {
	ids := make(map[string]string)
	for _, name := range []string{
		"a", "A", " a", "a ", "a.b", "a.*", ">", "a/b", "%61", "é", "e\u0301", "\x00", "a\x00", "\n", "\u200b", "😀",
		"..", "a b", "$JS", strings.Repeat("a", objects.MaxName), strings.Repeat("a", objects.MaxName-1),
	} {
		id := nameID(t, "room", name)
		if other, twice := ids[id.String()]; twice {
			t.Errorf("%q and %q are one object", name, other)
		}
		ids[id.String()] = name
	}
	for _, name := range []string{"", "\xff", "a\xc3", "\xed\xa0\x80", strings.Repeat("a", objects.MaxName+1)} {
		if _, err := objects.Class("room").ID(name); objects.CodeOf(err) != objects.Invalid {
			t.Errorf("name %.10q of %d bytes: %v, want invalid", name, len(name), err)
		}
	}
}

func TestClassNamesFitIntoASubject(t *testing.T) {
	for _, class := range []objects.Class{"a", "room", "a-1", "z9-", objects.Class(strings.Repeat("a", 63))} {
		if _, err := class.ID("a"); err != nil {
			t.Errorf("%q: %v", class, err)
		}
	}
	for _, class := range []objects.Class{"", "A", "1a", "-a", "a.b", "a b", "a*", "a>", "é", "a\n", "a_b", objects.Class(strings.Repeat("a", 64))} {
		if _, err := class.ID("a"); objects.CodeOf(err) != objects.Invalid {
			t.Errorf("class %q: %v, want invalid", class, err)
		}
	}
}

func FuzzNameID(f *testing.F) {
	for _, seed := range []string{"", "a", "é", "\xff", "a.b.>", strings.Repeat("x", 1025)} {
		f.Add("room", seed)
	}
	f.Add("Room", "a")
	shape := regexp.MustCompile(`^[a-z][a-z0-9-]*\.[0-9a-f]{64}$`)
	f.Fuzz(func(t *testing.T, class, name string) {
		id, err := objects.Class(class).ID(name)
		if err != nil {
			if objects.CodeOf(err) != objects.Invalid || id != (objects.ID{}) {
				t.Fatalf("ID = %v, %v, want the zero ID and invalid", id, err)
			}
			return
		}
		if !shape.MatchString(id.Key()) || id.Class() != objects.Class(class) {
			t.Errorf("ID of %q, %q = key %q", class, name, id.Key())
		}
		parsed, err := objects.Class(class).ParseID(id.String())
		if err != nil || parsed != id {
			t.Errorf("parsed = %v, %v, want %v", parsed, err, id)
		}
	})
}

func FuzzParseID(f *testing.F) {
	id := nameID(f, "room", "a").String()
	f.Add("room", id)
	f.Add("ticket", id)
	f.Add("room", id[:63]+"g")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, class, text string) {
		parsed, err := objects.Class(class).ParseID(text)
		switch {
		case err != nil && objects.CodeOf(err) != objects.Invalid:
			t.Errorf("ParseID = %v, want invalid", err)
		case err == nil && !strings.EqualFold(parsed.String(), text):
			t.Errorf("ParseID(%q) = %v", text, parsed)
		case err == nil && parsed.Class() != objects.Class(class):
			t.Errorf("ParseID took the class %q", class)
		}
	})
}
