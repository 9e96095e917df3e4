package objects

import (
	"context"
	"errors"
	"fmt"
)

// Code says what a failure means and, above all, whether anything happened. A code
// of the author's own, 1 to 32 of a-z, 0-9 and _, is a refusal like Conflict;
// anything else is Internal.
type Code string

// The codes. All but Unknown and Done mean that nothing was applied.
const (
	Invalid      Code = "invalid"      // malformed
	Unauthorized Code = "unauthorized" // who are you?
	Forbidden    Code = "forbidden"    // not you
	NotFound     Code = "not_found"    // no such class, call or path
	Conflict     Code = "conflict"     // the object refused
	Done         Code = "done"         // it happened before; the answer is no longer known
	TooLarge     Code = "too_large"    // over a size limit
	TooMany      Code = "too_many"     // over a rate or a count
	Overloaded   Code = "overloaded"   // more waits for the object than it can do in time
	Unavailable  Code = "unavailable"  // nobody owns it yet, or it is moving
	StorageFull  Code = "storage_full" // the store takes no more
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
	Done:         {409, 4409, 5},
	TooLarge:     {413, 1009, 1},
	TooMany:      {429, 4429, 1},
	Overloaded:   {503, 1013, 1},
	Unavailable:  {503, 1012, 7},
	StorageFull:  {507, 1013, 1},
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
	switch row, ok := codes[c]; {
	case ok:
		return row
	case c.proper():
		return codes[Conflict]
	}
	return codes[Internal]
}

// Known reports whether c is one of the codes of this package, and no author's own.
func (c Code) Known() bool {
	_, ok := codes[c]
	return ok
}

// proper reports whether c can be a code at all.
func (c Code) proper() bool {
	for i := range len(c) {
		if b := c[i]; ('a' > b || b > 'z') && ('0' > b || b > '9') && b != '_' {
			return false
		}
	}
	return 1 <= len(c) && len(c) <= 32
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
