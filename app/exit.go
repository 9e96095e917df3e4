package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"holdfast/embedded"
	"holdfast/objects"
)

// The exit codes.
const (
	exitFault       = 1   // a fault, or anything unnamed
	exitUsage       = 2   // a wrong command line
	exitTaken       = 3   // a port or a store is in use by another process
	exitNotFound    = 4   // there is no such thing
	exitConflict    = 5   // an object has refused
	exitDenied      = 6   // the system or a server does not permit it
	exitNATS        = 7   // NATS or a gateway cannot be reached or cannot be used
	exitUnknown     = 8   // the operation may or may not have happened
	exitCheck       = 20  // a check failed
	exitInterrupted = 130 // by a signal, before it was done
)

// failure is an error with what a script and a person need beside its text.
type failure struct {
	code string // for programs
	exit int
	err  error
	hint string         // what to do next; may have several lines
	more map[string]any // an object's own details
	told bool           // the printed result says all of it
}

// Error returns the message without the hint.
func (f *failure) Error() string { return f.err.Error() }

// Unwrap returns the cause.
func (f *failure) Unwrap() error { return f.err }

func usage(err error, hint string) error {
	return &failure{code: string(objects.Invalid), exit: exitUsage, err: err, hint: hint}
}

func unreachable(err error, hint string) error {
	return &failure{code: string(objects.Unavailable), exit: exitNATS, err: err, hint: hint}
}

// sortOut turns cobra's own errors into usage errors: everything that fails before a command begins is an error in the
// command line.
func (p *program) sortOut(err error) error {
	if _, known := errors.AsType[*failure](err); err == nil || known || p.began {
		return err
	}
	message, rest, _ := strings.Cut(err.Error(), "\n\n")
	hint := "see: " + p.cfg.Name + " --help"
	if rest = strings.Join(strings.Fields(strings.TrimPrefix(rest, "Did you mean this?")), ", "); rest != "" {
		hint = "did you mean: " + rest
	}
	return usage(errors.New(message), hint)
}

// describe turns an error into a failure.
func describe(err error) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	if e, ok := errors.AsType[*objects.Error](err); ok {
		message := e.Message
		if e.Reference != "" {
			message += " (reference " + e.Reference + ")"
		}
		return &failure{code: string(e.Code), exit: exitOf(e.Code), err: errors.New(message), more: e.Details}
	}
	if _, ok := errors.AsType[*embedded.StoreInUseError](err); ok {
		return &failure{code: "store_in_use", exit: exitTaken, err: err}
	}
	if _, ok := errors.AsType[*embedded.TornStoreError](err); ok {
		return &failure{code: "store_torn", exit: exitFault, err: err}
	}
	switch {
	case errors.Is(err, context.Canceled):
		return &failure{code: "interrupted", exit: exitInterrupted, err: errors.New("interrupted")}
	case errors.Is(err, context.DeadlineExceeded):
		return &failure{code: string(objects.Unknown), exit: exitOf(objects.Unknown), err: err}
	case errors.Is(err, os.ErrPermission):
		return &failure{code: string(objects.Forbidden), exit: exitDenied, err: err}
	}
	return &failure{code: string(objects.Internal), exit: exitFault, err: err}
}

// exits are the exit codes of commands that ended with an object's refusal; exitFault for the rest.
var exits = map[objects.Code]int{
	objects.Invalid:      exitUsage,
	objects.NotFound:     exitNotFound,
	objects.Conflict:     exitConflict,
	objects.Done:         exitConflict,
	objects.Unauthorized: exitDenied,
	objects.Forbidden:    exitDenied,
	objects.Unavailable:  exitNATS,
	objects.Unknown:      exitUnknown,
}

func exitOf(code objects.Code) int {
	if !code.Known() {
		code = objects.Conflict // an object's own: it has refused
	}
	return cmp.Or(exits[code], exitFault)
}

// envelope is the JSON form of a failure.
type envelope struct {
	Code    string         `json:"code"`
	Message string         `json:"message"`
	Hint    string         `json:"hint,omitempty"`
	Details map[string]any `json:"details,omitempty"`
}

// errorReport is written to standard output if there is no result.
type errorReport struct {
	OK    bool      `json:"ok"` // false
	Error *envelope `json:"error"`
}

func (f *failure) envelope() *envelope { return &envelope{f.code, f.Error(), f.hint, f.more} }

// report prints how the run ended and returns the exit code.
func (p *program) report(err error) int {
	if err == nil {
		return 0
	}
	f := describe(err)
	switch {
	case p.json && f.told:
	case p.json:
		if err := p.print(errorReport{Error: f.envelope()}); err != nil {
			return exitFault // standard output is closed; standard error is for logs
		}
	default:
		fmt.Fprintf(p.stderr, "%s: %s\n", p.cfg.Name, f.Error())
		if f.hint != "" {
			fmt.Fprintf(p.stderr, "  %s\n", strings.ReplaceAll(f.hint, "\n", "\n  "))
		}
	}
	return f.exit
}
