package main

import (
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
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

// An example is read before it is used. The demo is the program of holdfast dev, and no example.
func TestNoFileOfAnExampleIsLongerThan150Lines(t *testing.T) {
	files, err := filepath.Glob("../*/*.go")
	if err != nil || len(files) < 20 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") || strings.HasPrefix(filepath.ToSlash(file), "../demo/") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(source), "\n"); n > 150 {
			t.Errorf("%s has %d lines", file, n)
		}
	}
}
