package objects

import (
	"context"
	"errors"
	"fmt"
)

// Code says what a failure means and, above all, whether anything happened.
type Code string

// The codes. All but Unknown mean that nothing was applied.
const (
	Invalid      Code = "invalid"      // malformed
	Unauthorized Code = "unauthorized" // who are you?
	Forbidden    Code = "forbidden"    // not you
	NotFound     Code = "not_found"    // no such class, call or path
	Conflict     Code = "conflict"     // the object refused
	TooLarge     Code = "too_large"    // over a size limit
	TooMany      Code = "too_many"     // over a rate or a count
	Overloaded   Code = "overloaded"   // more waits for the object than it can do in time
	StorageFull  Code = "storage_full" // the store has no room for what it would write
	Unavailable  Code = "unavailable"  // nobody owns it yet, or it is moving
	Unknown      Code = "unknown"      // it may or may not have happened
	Internal     Code = "internal"     // a fault in the object or in Holdfast; rolled back
)

// codes is the one table that turns a code into what the outside sees.
var codes = map[Code]struct{ http, closing, exit int }{
	Invalid:      {400, 4400, 2},
	Unauthorized: {401, 4401, 6},
	Forbidden:    {403, 4403, 6},
	NotFound:     {404, 4404, 4},
	Conflict:     {409, 4409, 5},
	TooLarge:     {413, 1009, 1},
	TooMany:      {429, 4429, 1},
	Overloaded:   {503, 1013, 1},
	StorageFull:  {507, 1013, 1},
	Unavailable:  {503, 1012, 7},
	Unknown:      {504, 1012, 8},
	Internal:     {500, 1011, 1},
}

// HTTPStatus is the status of a response that carries c.
func (c Code) HTTPStatus() int { return c.row().http }

// CloseCode is the WebSocket close code for c.
func (c Code) CloseCode() int { return c.row().closing }

// ExitCode is the exit code of a command that ended with c.
func (c Code) ExitCode() int { return c.row().exit }

func (c Code) row() struct{ http, closing, exit int } {
	if row, ok := codes[c]; ok {
		return row
	}
	return codes[Internal]
}

// Error is a failure that may be told to a client: a code for programs, a
// sentence for people and, for Internal, a reference that the log has too.
type Error struct {
	Code    Code
	Message string
	Ref     string
}

func (e *Error) Error() string {
	if e.Ref != "" {
		return fmt.Sprintf("%s: %s (reference %s)", e.Code, e.Message, e.Ref)
	}
	return string(e.Code) + ": " + e.Message
}

// Errorf makes a refusal. Returned from a handler it rolls the event back, is
// told to the caller word for word, and leaves the instance alive.
func Errorf(code Code, format string, args ...any) error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// AsError finds the Error in err, if there is one.
func AsError(err error) (*Error, bool) { return errors.AsType[*Error](err) }

// CodeOf is the code of err: "" for nil, Unknown for a deadline or a
// cancellation (the work may have been done), Internal for anything unnamed.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := AsError(err); ok {
		return e.Code
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return Unknown
	}
	return Internal
}
