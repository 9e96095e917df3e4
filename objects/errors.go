package objects

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Code says what a failure means and whether the request had an effect. A code of the author's own, 1 to 32 of a-z, 0-9 and
// _, is a refusal like Conflict; any other text counts as Internal.
type Code string

// The codes. All but Unknown and Done mean that nothing was applied.
const (
	Invalid      Code = "invalid"      // malformed
	Unauthorized Code = "unauthorized" // who are you?
	Forbidden    Code = "forbidden"    // not you
	NotFound     Code = "not_found"    // no such class, call or thing
	Conflict     Code = "conflict"     // the object refused
	Done         Code = "done"         // it happened before; the answer is no longer known
	TooLarge     Code = "too_large"    // over a size limit
	TooMany      Code = "too_many"     // over a rate or a count
	Overloaded   Code = "overloaded"   // too many events wait for the object
	Unavailable  Code = "unavailable"  // nobody owns the object yet, or it is moving
	StorageFull  Code = "storage_full" // the store takes no more
	Unknown      Code = "unknown"      // it may or may not have happened
	Internal     Code = "internal"     // a fault in the object or in Holdfast; rolled back
)

// codes is the one table of each code's HTTP status, close code and so on.
var codes = map[Code]struct {
	http, closing int
	again         bool
}{
	Invalid:      {400, 4400, false},
	Unauthorized: {401, 4401, false},
	Forbidden:    {403, 4403, false},
	NotFound:     {404, 4404, false},
	Conflict:     {409, 4409, false},
	Done:         {409, 4409, false},
	TooLarge:     {413, 1009, false},
	TooMany:      {429, 4429, true},
	Overloaded:   {503, 1013, true},
	Unavailable:  {503, 1012, true},
	StorageFull:  {507, 1013, true},
	Unknown:      {504, 1012, false},
	Internal:     {500, 1011, false},
}

// HTTPStatus returns the status of a response that carries c.
func (c Code) HTTPStatus() int { return codes[c.like()].http }

// CloseCode returns the close code of a socket that c closes.
func (c Code) CloseCode() int { return codes[c.like()].closing }

// Retryable reports whether the same call may succeed later. After Unknown the call may be tried again only under the same
// idempotency key.
func (c Code) Retryable() bool { return codes[c.like()].again }

// Known reports whether c is one of the codes of this package, and not an author's own.
func (c Code) Known() bool {
	_, ok := codes[c]
	return ok
}

// like returns the code of this package that c is treated as.
func (c Code) like() Code {
	switch {
	case c.Known():
		return c
	case c.proper():
		return Conflict
	}
	return Internal
}

// proper reports whether c can be a code.
func (c Code) proper() bool {
	for i := range len(c) {
		if b := c[i]; ('a' > b || b > 'z') && ('0' > b || b > '9') && b != '_' {
			return false
		}
	}
	return 1 <= len(c) && len(c) <= 32
}

// Error is a failure that clients may see: a code for programs, a sentence for people, details for both and, for Internal, a
// reference that is also in the log. Find one with errors.AsType[*objects.Error].
type Error struct {
	Code      Code
	Message   string
	Details   map[string]any // at most MaxDetails bytes of JSON; larger ones are left out
	Reference string

	cause error
}

// MaxDetails is the largest size of an error's details, in bytes of JSON.
const MaxDetails = 4 << 10

// Errorf makes a refusal. A handler that returns it rolls the event back and keeps the instance, and the caller gets the same
// code and message. %w keeps the cause for errors.Is on this side; the cause is not sent.
func Errorf(code Code, format string, args ...any) *Error {
	worded := fmt.Errorf(format, args...)
	e := &Error{Code: code, Message: worded.Error()}
	if strings.Contains(format, "%w") {
		e.cause = worded
	}
	return e
}

// With adds a detail and returns e.
func (e *Error) With(key string, value any) *Error {
	if e.Details == nil {
		e.Details = make(map[string]any)
	}
	e.Details[key] = value
	return e
}

// Error returns the code and the message.
func (e *Error) Error() string {
	if e.Reference != "" {
		return fmt.Sprintf("%s: %s (reference %s)", e.Code, e.Message, e.Reference)
	}
	return string(e.Code) + ": " + e.Message
}

// Unwrap returns the cause that Errorf's %w kept.
func (e *Error) Unwrap() error { return e.cause }

// MarshalJSON encodes the error for a client: code, message and, if there are any, details and reference.
func (e *Error) MarshalJSON() ([]byte, error) {
	wire := struct {
		Code      Code            `json:"code"`
		Message   string          `json:"message"`
		Details   json.RawMessage `json:"details,omitempty"`
		Reference string          `json:"reference,omitempty"`
	}{e.Code, e.Message, nil, e.Reference}
	if len(e.Details) > 0 {
		if data, err := json.Marshal(e.Details); err == nil && len(data) <= MaxDetails {
			wire.Details = data
		}
	}
	return json.Marshal(wire)
}

// CodeOf returns the code of err: "" for nil, Unknown for a deadline or a cancellation (the work may have been done), Internal
// for an error without a code.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return Unknown
	}
	return Internal
}
