package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"holdfast/embedded"
	"holdfast/objects"
)

// The exit codes. Those of objects' errors come from the table in objects; it
// gives 2 invalid, 4 not found, 5 conflict, 6 denied, 7 unavailable, 8 outcome
// unknown, and 1 for the rest.
const (
	exitFault       = 1   // a fault, or anything unnamed
	exitUsage       = 2   // called in a way that cannot be
	exitTaken       = 3   // a port or a store is in use by somebody else
	exitDenied      = 6   // the system or a server does not permit it
	exitNATS        = 7   // NATS or a gateway cannot be reached or cannot be used
	exitCheck       = 20  // a check did not hold
	exitInterrupted = 130 // by a signal, before it was done
)

// failure is an error with what a script and a person need besides.
type failure struct {
	code string // for programs
	exit int
	err  error
	hint string // what to do next; may have several lines
	told bool   // the result, which is written, says all of it
}

// Error is the message without the hint.
func (f *failure) Error() string { return f.err.Error() }

// Unwrap is the cause.
func (f *failure) Unwrap() error { return f.err }

func usage(err error, hint string) error {
	return &failure{code: string(objects.Invalid), exit: exitUsage, err: err, hint: hint}
}

func unreachable(err error, hint string) error {
	return &failure{code: string(objects.Unavailable), exit: exitNATS, err: err, hint: hint}
}

// sortOut finds out what cobra's own errors are: all that happens before a
// command has begun is a matter of how it was called.
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

// describe names an error.
func describe(err error) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	if e, ok := objects.AsError(err); ok {
		message := e.Message
		if e.Ref != "" {
			message += " (reference " + e.Ref + ")"
		}
		return &failure{code: string(e.Code), exit: e.Code.ExitCode(), err: errors.New(message)}
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
		return &failure{code: string(objects.Unknown), exit: objects.Unknown.ExitCode(), err: err}
	case errors.Is(err, os.ErrPermission):
		return &failure{code: string(objects.Forbidden), exit: exitDenied, err: err}
	}
	return &failure{code: string(objects.Internal), exit: exitFault, err: err}
}

// envelope is a failure as a program reads it.
type envelope struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// errorReport is all that standard output gets when there is no result.
type errorReport struct {
	OK    bool      `json:"ok"` // false
	Error *envelope `json:"error"`
}

func (f *failure) envelope() *envelope { return &envelope{f.code, f.Error(), f.hint} }

// report tells how the run ended and returns the exit code.
func (p *program) report(err error) int {
	if err == nil {
		return 0
	}
	f := describe(err)
	switch {
	case p.json && f.told:
	case p.json:
		if err := p.print(errorReport{Error: f.envelope()}); err != nil {
			return exitFault // nobody listens on stdout; stderr is for logs
		}
	default:
		fmt.Fprintf(p.stderr, "%s: %s\n", p.cfg.Name, f.Error())
		if f.hint != "" {
			fmt.Fprintf(p.stderr, "  %s\n", strings.ReplaceAll(f.hint, "\n", "\n  "))
		}
	}
	return f.exit
}
