package gateway

import (
	"net/http"
	"slices"
	"testing"
)

func TestSeveralValuesAreWhatTheWorkerHasLeft(t *testing.T) {
	for _, row := range []struct {
		what            string
		sent, now, want []string
	}{
		{"untouched", []string{"a", "b", "a"}, []string{"a", "b", "a"}, []string{"a", "b", "a"}},
		{"in another order", []string{"a", "b", "c"}, []string{"c", "a", "b"}, []string{"a", "b", "c"}},
		{"one added", []string{"a", "b"}, []string{"a", "b", "x"}, []string{"a", "b", "x"}},
		{"set", []string{"a", "b", "c"}, []string{"x", "b", "c"}, []string{"x"}},
		{"set to something that was not sent first", []string{"b", "a"}, []string{"a", "a"}, []string{"a"}},
		{"set to one of those that were sent", []string{"b", "a", "a"}, []string{"a", "a", "a"}, []string{"a"}},
		{"all of the worker's", nil, []string{"x", "y"}, []string{"x", "y"}},
	} {
		if got := leftOf(row.sent, row.now); !slices.Equal(got, row.want) {
			t.Errorf("%s: %q, want %q", row.what, got, row.want)
		}
	}
}

func TestHopsAreDroppedInEveryCase(t *testing.T) {
	header := http.Header{
		"connection": {"x-named, X-Other"}, "KEEP-ALIVE": {"1"}, "upgrade": {"h2c"}, "te": {"trailers"}, "X-Named": {"1"}, "x-other": {"1"}, "X-Kept": {"1"},
	}
	dropHops(header)
	if len(header) != 1 || header["X-Kept"] == nil {
		t.Errorf("left: %v", header)
	}
}

func TestARedirectLeadsBelowThePrefix(t *testing.T) {
	for _, row := range [][3]string{
		{"/rooms/a", "/dir/", "/rooms/a/dir/"},
		{"/rooms/a", "/rooms/a/dir", "/rooms/a/dir"},
		{"/rooms/a", "/rooms/a?x", "/rooms/a?x"},
		{"/rooms/a", "/rooms/ab", "/rooms/a/rooms/ab"},
		{"/rooms/a", "dir/", "dir/"},
		{"/rooms/a", "//elsewhere/", "//elsewhere/"},
		{"/rooms/a", "https://elsewhere/", "https://elsewhere/"},
		{"", "/dir/", "/dir/"},
	} {
		if got := below(row[0], row[1]); got != row[2] {
			t.Errorf("below(%q, %q) = %q, want %q", row[0], row[1], got, row[2])
		}
	}
}
