package app

import (
	"strings"
	"testing"
	"time"

	"holdfast/objects/host"
)

func TestTellsNamesReceiversAsOtherCommandsTakeThem(t *testing.T) {
	var out strings.Builder
	told := host.Told{Timers: 2, First: []host.ToldMessage{
		{State: "timer", N: 1, To: "target.f285", Name: "ada\n", Call: "pump"},
		{State: "timer", N: 2, To: "target.f286", Call: "pump"}, // whoever told it knew its id alone
	}}
	if err := printTells(&out, told, time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`target/"ada\n"  pump`, "target.f286"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("want %s in:\n%s", want, out.String())
		}
	}
}
