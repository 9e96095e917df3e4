package gateway

import (
	"reflect"
	"testing"
	"time"

	"holdfast/objects"
)

func TestAQueryIsTheInputOfACall(t *testing.T) {
	type inner struct{ Deep int }
	type input struct {
		Name  string `json:"name"`
		N     int    `json:"n"`
		On    *bool
		Tags  []string  `json:"tags,omitempty"`
		Ns    []int     `json:"ns"`
		At    time.Time `json:"at"`
		Inner inner     `json:"inner"`
		inner
	}
	text, number := reflect.TypeFor[string](), reflect.TypeFor[int]()
	for _, row := range []struct {
		of          reflect.Type
		query, want string
		code        objects.Code
	}{
		{reflect.TypeFor[input](), "", "", ""},
		{reflect.TypeFor[input](), "name=5&n=5", `{"n":5,"name":"5"}`, ""},
		{reflect.TypeFor[input](), "on=true&tags=a&tags=1&ns=1&ns=2", `{"ns":[1,2],"on":true,"tags":["a","1"]}`, ""},
		{reflect.TypeFor[input](), "at=2030-01-01T00:00:00Z&Deep=1", `{"Deep":1,"at":"2030-01-01T00:00:00Z"}`, ""},
		{reflect.TypeFor[input](), "name=a%26b%22", `{"name":"a\u0026b\""}`, ""},
		{reflect.TypeFor[*input](), "n=x", `{"n":"x"}`, ""}, // which the decoder refuses
		{reflect.TypeFor[input](), "other=1", "", objects.Invalid},
		{reflect.TypeFor[input](), "n=1&n=2", "", objects.Invalid},
		{reflect.TypeFor[input](), "%zz", "", objects.Invalid},
		{text, "in=5", `"5"`, ""},
		{number, "in=5", `5`, ""},
		{number, "n=5", "", objects.Invalid},
		{number, "in=5&in=6", "", objects.Invalid},
		{reflect.TypeFor[objects.None](), "x=1", "", objects.Invalid},
		{reflect.TypeFor[objects.None](), "", "", ""},
	} {
		got, err := queryJSON(row.of, row.query)
		if string(got) != row.want || objects.CodeOf(err) != row.code {
			t.Errorf("%v ?%s = %s, %v; want %s, %q", row.of, row.query, got, err, row.want, row.code)
		}
	}
}
