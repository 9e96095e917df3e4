package record

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// good is what damaged records were once.
const good = `{"v":1,"name":"global","epoch":3,"commit":5,"keys":{"count":15}}`

func with(old, changed string) string { return strings.Replace(good, old, changed, 1) }

// damaged are records that a restore, a copy, a hand or a fault has made of good. Those
// that are refused can be told by what they say; of the others only the sum tells.
var damaged = []struct {
	name    string
	record  string
	refused bool
}{
	{"as it was", good, false},
	{"an owner that nobody knows", with(`"epoch"`, `"owner":"ghost","epoch"`), false},
	{"a gateway without a name", with(`"keys"`, `"gateways":[{"g":"","t":1,"h":2}],"keys"`), true},
	{"a gateway that is a wildcard", with(`"keys"`, `"gateways":[{"g":">","t":1,"h":2,"s":"AQ=="}],"keys"`), true},
	{"a gateway below its inbox", with(`"keys"`, `"gateways":[{"g":"gateway.Jx","t":1,"h":2}],"keys"`), false},
	{"a gateway without an inbox", with(`"keys"`, `"gateways":[{"g":".Jx","t":1,"h":2}],"keys"`), true},
	{"a gateway without a name of its own", with(`"keys"`, `"gateways":[{"g":"gateway.","t":1,"h":2}],"keys"`), true},
	{"a gateway with a space", with(`"keys"`, `"gateways":[{"g":"a b","t":1,"h":2}],"keys"`), true},
	{"a gateway that is another subject", with(`"keys"`, `"gateways":[{"g":"x.y.$KV","t":1,"h":2}],"keys"`), true},
	{"a gateway with its user in front", with(`"keys"`, `"gateways":[{"g":"gateway.x","t":1,"h":2}],"keys"`), false},
	{"a gateway twice", with(`"keys"`, `"gateways":[{"g":"g","t":1,"h":2},{"g":"g","t":1,"h":2}],"keys"`), false},
	{"3,000 gateways", with(`"keys"`, `"gateways":[{"g":"g"}`+strings.Repeat(`,{"g":"g"}`, 2999)+`],"keys"`), false},
	{"a gateway as earlier releases wrote it", with(`"keys"`, `"gateways":["g"],"keys"`), false},
	{"sockets that are none", with(`"keys"`, `"gateways":[{"g":"g","t":1,"h":2,"s":"AAAAgICA"}],"keys"`), false},
	{"an alarm of a class that has none", with(`"keys"`, `"alarm":{"at":"2030-01-01T00:00:00Z"},"keys"`), false},
	{"an alarm after its last retry", with(`"keys"`, `"alarm":{"at":"2030-01-01T00:00:00Z","retry":6,"parked":true},"keys"`), false},
	{"answers of others", with(`"keys"`, `"answers":[{"g":"other","n":7,"r":"AAAA"}],"keys"`), false},
	{"a key that is not UTF-8", with(`"count"`, "\"coun\xff\""), false},
	{"deep nesting", with(`15`, strings.Repeat("[", 9_990)+strings.Repeat("]", 9_990)), false},
	{"the version in capitals", with(`"v"`, `"V"`), false},
	{"the keys in capitals", with(`"keys"`, `"KEYS"`), false},
	{"a value of another type", with(`15`, `"abc"`), false},
	{"a value with a fraction", with(`15`, `15.5`), false},
	{"a value beyond its type", with(`15`, `1e20`), false},
	{"a value that is null", with(`15`, `null`), false},
	{"a digit changed", with(`15`, `95`), false},
	{"a letter of a key changed", with(`count`, `counu`), false},
	{"a key with a value in JSON and one in bytes", with(`}}`, `},"raw":{"count":"AA=="}}`), true},
	{"bytes that are no base64", with(`}}`, `},"raw":{"photo":"!"}}`), true},
	{"a key twice", with(`15`, `-7,"count":-6`), false},
	{"3 MB", with(`15`, `"`+strings.Repeat("x", 3<<20)+`"`), false},

	{"epoch without a successor", with(`"epoch":3`, `"epoch":18446744073709551615`), true},
	{"commit without a successor", with(`"commit":5`, `"commit":18446744073709551615`), true},
	{"epoch below zero", with(`"epoch":3`, `"epoch":-1`), true},
	{"epoch beyond its type", with(`"epoch":3`, `"epoch":1e30`), true},
	{"an alarm that has failed -3 times", with(`"keys"`, `"alarm":{"at":"2020-01-01T00:00:00Z","retry":-3},"keys"`), true},
	{"an alarm that has failed too often", with(`"keys"`, `"alarm":{"at":"2020-01-01T00:00:00Z","retry":7},"keys"`), true},
	{"an alarm in a year that cannot be", with(`"keys"`, `"alarm":{"at":"10000-01-01T00:00:00Z"},"keys"`), true},
	{"truncated", good[:len(good)/2], true},
	{"empty", ``, true},
	{"text", `hello`, true},
	{"a list", `[1]`, true},
	{"null", `null`, true},
	{"keys that are a list", with(`{"count":15}`, `["count",15]`), true},
	{"a newer format", with(`"v":1`, `"v":2`), true},
	{"no format", with(`"v":1,`, ``), true},
	{"format 0", with(`"v":1`, `"v":0`), true},
	{"something behind it", good + `{}`, true},
	{"a zero byte behind it", good + "\x00", true},
	{"nesting without end", with(`15`, strings.Repeat("[", 100_000)), true},
	{"nothing but the format", `{"v":1}`, true},
	{"keys that are null", with(`{"count":15}`, `null`), true},
	{"no keys", with(`,"keys":{"count":15}`, ``), true},
	{"a letter of keys changed", with(`"keys"`, `"kexs"`), true},
	{"another object's", with(`"global"`, `"other"`), true},
	{"a name that is too long", with(`"global"`, `"`+strings.Repeat("x", 1025)+`"`), true},
	{"a name that is not UTF-8", with(`"global"`, "\"glob\xff\""), true},
	{"what this format does not have", with(`"keys"`, `"extra":1,"keys"`), true},
}

// sealed gives a record the sum that it would have.
func sealed(record string) []byte {
	body := []byte(strings.TrimSuffix(record, "}"))
	return appendSum(body, body)
}

func TestADamagedRecordIsRefused(t *testing.T) {
	key := keyOf(t, "global")
	sum := strings.TrimPrefix(string(sealed(good)), strings.TrimSuffix(good, "}"))
	for _, c := range damaged {
		for _, form := range []struct {
			name    string
			data    []byte
			refused bool
		}{
			{"from before there was a sum", []byte(c.record), c.refused},
			{"written so", sealed(c.record), c.refused},
			{"damaged later", []byte(strings.TrimSuffix(c.record, "}") + sum), c.record != good},
		} {
			t.Run(fmt.Sprint(c.name, "/", form.name), func(t *testing.T) {
				_, err := Decode(key, form.data)
				switch {
				case form.refused && !errors.Is(err, ErrUnreadable):
					t.Errorf("err = %v, want ErrUnreadable: %.200s", err, form.data)
				case !form.refused && err != nil:
					t.Errorf("err = %v, want it read: %.200s", err, form.data)
				}
			})
		}
	}
}

// An object that was made without a name has a random id, and nothing but the key
// tells whose record it is.
func TestARecordWithoutANameIsReadUnderAnyIDOfItsClass(t *testing.T) {
	nameless := []byte(with(`"name":"global",`, ``))
	for _, c := range []struct {
		name, key string
		refused   bool
	}{
		{"a random id", keyOf(t, ""), false},
		{"an id that has a name", keyOf(t, "global"), false},
		{"an id of another class", "room." + strings.TrimPrefix(keyOf(t, ""), "ticket."), true},
		{"no id", "ticket.global", true},
		{"no class", "global", true},
		{"nothing", "", true},
	} {
		if _, err := Decode(c.key, nameless); (err != nil) != c.refused {
			t.Errorf("%s: err = %v, refused = %v is wanted", c.name, err, c.refused)
		}
	}
}
