package objects

import (
	"crypto/hmac"
	"crypto/sha256"
	"testing"

	"pgregory.net/rapid"
)

func TestTheMACIsTheStandardLibrarys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		class := rapid.String().Draw(t, "class")
		message := rapid.SliceOfN(rapid.Byte(), 0, MaxName).Draw(t, "message")
		key := sha256.Sum256([]byte("holdfast class " + class))
		want := hmac.New(sha256.New, key[:])
		want.Write(message)
		if got := mac(class, message); !hmac.Equal(got[:], want.Sum(nil)) {
			t.Errorf("mac(%q, %x) = %x, want %x", class, message, got, want.Sum(nil))
		}
	})
}
