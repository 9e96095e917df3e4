package main

import (
	"io"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"holdfast/gateway/gatewaytest"
	"holdfast/objects/objectstest"
)

var curl = regexp.MustCompile(`^\$ curl (?:-X (\w+) )?(?:-d (?:'([^']*)'|(\d+)) )?"?localhost:\d+([^" ]+)"?$`)

// The README's questions have the README's answers.
func TestTheREADMETellsWhatTheExamplesDo(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(readme), "```console\n")
	session, _, _ := strings.Cut(after, "```")
	front := gatewaytest.New(t, objectstest.New(t, classes...), worker)
	asked, answer := 0, ""
	for line := range strings.Lines(session) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "$") {
			if line != answer {
				t.Errorf("the answer is %s, the README says %s", answer, line)
			}
			answer = ""
			continue
		}
		if answer != "" {
			t.Errorf("the README does not say %s", answer)
		}
		part := curl.FindStringSubmatch(line)
		if part == nil {
			t.Fatalf("not understood: %s", line)
		}
		method, body := part[1], part[2]+part[3]
		switch {
		case method == "" && body != "":
			method = "POST"
		case method == "":
			method = "GET"
		}
		response := front.Do(httptest.NewRequest(method, part[4], strings.NewReader(body)))
		said, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		answer = string(said)
		asked++
	}
	if asked < 10 {
		t.Errorf("the README asks %d questions", asked)
	}
}
