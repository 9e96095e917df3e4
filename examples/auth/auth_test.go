package auth_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"holdfast/examples/auth"
	"holdfast/gateway/gatewaytest"
	"holdfast/objects"
	"holdfast/objects/objectstest"
)

var key = bytes.Repeat([]byte("k"), 32)

// post sends JSON and returns the status, the answer and the cookies.
func init() { auth.Iterations = 1000 }

func post(t *testing.T, f *gatewaytest.Front, method, path, body string) (int, map[string]any, []*http.Cookie) {
	t.Helper()
	response := f.Do(httptest.NewRequest(method, path, strings.NewReader(body)))
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer map[string]any
	if len(data) > 0 {
		if err := json.Unmarshal(data, &answer); err != nil {
			t.Fatalf("%s %s answers %q: %v", method, path, data, err)
		}
	}
	return response.StatusCode, answer, response.Cookies()
}

// newWorld has accounts of ada and bob, each with a browser that is logged in.
func newWorld(t *testing.T) (w *objectstest.World, ada, bob *gatewaytest.Front) {
	t.Helper()
	w = objectstest.New(t, auth.Objects...)
	for name, front := range map[string]**gatewaytest.Front{"ada": &ada, "bob": &bob} {
		*front = gatewaytest.New(t, w, auth.Worker(key))
		if status, answer, _ := post(t, *front, "POST", "/auth/signup", `{"name":"`+name+`","password":"password of `+name+`"}`); status != http.StatusOK {
			t.Fatalf("%s cannot sign up: %d %v", name, status, answer)
		}
	}
	return w, ada, bob
}

func TestALoginLastsUntilTheLogout(t *testing.T) {
	_, ada, _ := newWorld(t)
	if status, me, _ := post(t, ada, "GET", "/auth/me", ""); status != http.StatusOK || me["name"] != "ada" {
		t.Errorf("after the signup I am %d %v", status, me)
	}
	if status, _, cookies := post(t, ada, "POST", "/auth/logout", ""); status != http.StatusNoContent || len(cookies) != 1 {
		t.Errorf("logout = %d, cookies %v", status, cookies)
	}
	if status, _, _ := post(t, ada, "GET", "/auth/me", ""); status != http.StatusUnauthorized {
		t.Errorf("after the logout I am %d", status)
	}
	status, answer, cookies := post(t, ada, "POST", "/auth/login", `{"name":"ada","password":"password of ada"}`)
	if status != http.StatusOK || len(cookies) != 1 || !cookies[0].HttpOnly || cookies[0].SameSite != http.SameSiteLaxMode || cookies[0].Path != "/auth" {
		t.Errorf("login = %d %v, cookies %v", status, answer, cookies)
	}
	if text, _ := json.Marshal(answer); strings.Contains(string(text), cookies[0].Value) {
		t.Errorf("a script can read the proof: %s", text)
	}
	if status, me, _ := post(t, ada, "GET", "/auth/me", ""); status != http.StatusOK || me["name"] != "ada" {
		t.Errorf("after the login I am %d %v", status, me)
	}
}

func TestAWrongPasswordProvesNothing(t *testing.T) {
	w, _, _ := newWorld(t)
	front := gatewaytest.New(t, w, auth.Worker(key))
	for body, want := range map[string]int{
		`{"name":"ada","password":"password of bob"}`: http.StatusUnauthorized,
		`{"name":"eve","password":"password of eve"}`: http.StatusUnauthorized,
		`{"name":"Ada","password":"password of ada"}`: http.StatusBadRequest,
		`{"name":"ada/../bob","password":"12345678"}`: http.StatusBadRequest,
		`{"name":"","password":"12345678"}`:           http.StatusBadRequest,
		`{"name":"ada"}`:                              http.StatusUnauthorized,
		`[]`:                                          http.StatusBadRequest,
		`name=ada`:                                    http.StatusBadRequest,
	} {
		if status, answer, cookies := post(t, front, "POST", "/auth/login", body); status != want || len(cookies) > 0 {
			t.Errorf("login with %s = %d %v, cookies %v, want %d", body, status, answer, cookies, want)
		}
	}
	for body, want := range map[string]int{
		`{"name":"ada","password":"another one"}`: http.StatusConflict,
		`{"name":"eve","password":"short"}`:       http.StatusBadRequest,
	} {
		if status, answer, cookies := post(t, front, "POST", "/auth/signup", body); status != want || len(cookies) > 0 {
			t.Errorf("signup with %s = %d %v, want %d", body, status, answer, want)
		}
	}
}

func TestGuessingIsSlow(t *testing.T) {
	w, ada, _ := newWorld(t)
	front := gatewaytest.New(t, w, auth.Worker(key))
	guess := func(password string) int {
		status, _, _ := post(t, front, "POST", "/auth/login", `{"name":"ada","password":"`+password+`"}`)
		return status
	}
	for range 5 {
		if status := guess("wrong password"); status != http.StatusUnauthorized {
			t.Fatalf("a wrong password = %d", status)
		}
	}
	if status := guess("password of ada"); status != http.StatusTooManyRequests {
		t.Errorf("the sixth password within a minute = %d, want 429, though it is right", status)
	}
	if status, _, _ := post(t, ada, "GET", "/auth/me", ""); status != http.StatusOK {
		t.Errorf("ada, who is logged in, is locked out: %d", status)
	}
	w.Advance(time.Minute)
	if status := guess("password of ada"); status != http.StatusOK {
		t.Errorf("a minute later = %d", status)
	}
}

func TestARoomIsItsOwnersAndHerGuests(t *testing.T) {
	w, ada, bob := newWorld(t)
	nobody := gatewaytest.New(t, w, auth.Worker(key))
	enter := func(f *gatewaytest.Front) (*objectstest.Client, int) {
		r := httptest.NewRequest("GET", "/auth/rooms/ada", nil)
		r.Header.Set("Sec-WebSocket-Protocol", "room")
		client, response := f.Connect(r)
		return client, response.StatusCode
	}
	adas, status := enter(ada)
	if adas == nil {
		t.Fatalf("the owner is refused: %d", status)
	}
	if _, status := enter(bob); status != http.StatusForbidden {
		t.Errorf("somebody else enters: %d", status)
	}
	if _, status := enter(nobody); status != http.StatusUnauthorized {
		t.Errorf("nobody enters: %d", status)
	}
	for _, f := range []*gatewaytest.Front{bob, nobody} {
		if status, _, _ := post(t, f, "POST", "/auth/rooms/ada/guests", `{"name":"bob"}`); status != http.StatusForbidden && status != http.StatusUnauthorized {
			t.Errorf("bob is invited by others: %d", status)
		}
	}
	if status, _, _ := post(t, ada, "POST", "/auth/rooms/ada/guests", `{"name":"bob"}`); status != http.StatusNoContent {
		t.Fatalf("bob is not invited: %d", status)
	}
	bobs, status := enter(bob)
	if bobs == nil {
		t.Fatalf("a guest is refused: %d", status)
	}
	bobs.Send(objects.Text(`{"from":"ada"}`))
	for _, client := range []*objectstest.Client{adas, bobs} {
		var said auth.Said
		if !client.NextJSON(&said) || said.From != "bob" || said.Text != `{"from":"ada"}` {
			t.Errorf("said %+v", said)
		}
	}
	if status, _, _ := post(t, ada, "DELETE", "/auth/rooms/ada/guests?name=bob", ""); status != http.StatusNoContent {
		t.Fatalf("bob is not removed: %d", status)
	}
	if end, over := bobs.Closed(); !over || end.Code != 4403 {
		t.Errorf("the removed guest's socket ends with %+v, %t", end, over)
	}
	if _, status := enter(bob); status != http.StatusForbidden {
		t.Errorf("the removed guest enters: %d", status)
	}
}

func TestAKeyThatIsTooShortIsRefused(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a key of one byte was taken")
		}
	}()
	auth.Worker([]byte("k"))
}
