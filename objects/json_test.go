package objects

import "testing"

// What has a long number is decoded twice, so a text with digits must not count as one.
func TestOnlyANumberOutsideOfTextsIsALongNumber(t *testing.T) {
	for data, want := range map[string]bool{
		`1234567890123456`:                    true,
		`{"n":-1234567890123456}`:             true,
		`["a\"1",1234567890123456]`:           true,
		`["\\",1234567890123456]`:             true,
		`{"1234567890123456":12345678901234}`: false,
		`"1234567890123456"`:                  false,
		`"\\\"1234567890123456"`:              false,
		`[123456789012345,6]`:                 false,
		``:                                    false,
	} {
		if got := longNumber([]byte(data)); got != want {
			t.Errorf("%s: %v, want %v", data, got, want)
		}
	}
}
