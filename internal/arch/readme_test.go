package arch

import (
	"os"
	"strings"
	"testing"
)

// What README shows is what runs: the files it shows are in it, word for word.
func TestREADMEShowsTheRealExample(t *testing.T) {
	readme := read(t, "../../README.md")
	class := read(t, "../../examples/limit/limit.go")
	if !strings.Contains(readme, class) {
		t.Error("README.md does not show examples/limit/limit.go as it is")
	}
	_, test, found := strings.Cut(read(t, "../../examples/limit/limit_test.go"), ")\n\n")
	if !found || !strings.Contains(readme, test) {
		t.Error("README.md does not show the test of examples/limit as it is")
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
