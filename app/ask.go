package app

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"holdfast/client"
	asking "holdfast/internal/ask"
	"holdfast/internal/wire"
	"holdfast/objects"
)

// askOptions are the flags of the commands that ask an object.
type askOptions struct {
	nats        natsFlags
	id, as, key string
	timeout     time.Duration
}

func (o *askOptions) add(c *cobra.Command) {
	o.nats.add(c)
	f := c.Flags()
	f.StringVar(&o.id, "id", "", "id of the object, instead of its name")
	f.StringVar(&o.as, "as", "", "id of the principal that asks; default: nobody in particular")
	f.DurationVar(&o.timeout, "timeout", 15*time.Second, "how long to wait for the answer, a minute at the most")
}

// addKey adds the flag of commands that may be repeated.
func (o *askOptions) addKey(c *cobra.Command) {
	c.Flags().StringVar(&o.key, "key", "", "idempotency key: what is repeated under it is done once")
}

// check refuses impossible flags.
func (o *askOptions) check() error {
	if o.timeout < time.Millisecond || o.timeout > wire.CopyLife {
		return usage(fmt.Errorf("--timeout %v: want 1ms to %v", o.timeout, wire.CopyLife), "")
	}
	if err := asking.CheckKey(o.key); err != nil {
		return usage(fmt.Errorf("--key: it has at most %d characters, of printable ASCII", asking.MaxKey), "")
	}
	return nil
}

// context returns the context with which the object is asked.
func (o *askOptions) context(ctx context.Context) context.Context {
	if o.key != "" {
		ctx = objects.WithIdempotencyKey(ctx, o.key)
	}
	if o.as != "" {
		ctx = objects.WithPrincipal(ctx, objects.Principal{ID: o.as})
	}
	return ctx
}

// ask connects and has fn ask the object.
func (p *program) ask(ctx context.Context, o *askOptions, object string, fn func(ctx context.Context, objs *client.Client, to objects.Ref) error) error {
	id, name, err := parseObject(object, o.id)
	if err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	nc, err := p.dial(ctx, o.nats, atOnce, connection(p.cfg.Name+" asks", client.DefaultInbox, p.log)...)
	if err != nil {
		return err
	}
	defer nc.Close()
	objs, err := client.New(nc, client.Config{Request: o.timeout, Log: p.log})
	if err != nil {
		return unreachable(err, "")
	}
	to := objs.ObjectByID(id)
	if name != "" {
		to = objs.Object(id.Class(), name)
	}
	err = fn(o.context(ctx), objs, to)
	if objects.CodeOf(err) == objects.Unavailable && ctx.Err() != nil {
		return ctx.Err() // nothing has happened
	}
	return err
}

func (p *program) callCommand() *cobra.Command {
	var o askOptions
	c := &cobra.Command{
		Use:   "call CLASS/NAME CALL [INPUT]",
		Short: "Make a call to an object, and print its answer",
		Long: "Make a call to an object, and print its answer. The input is JSON, as the call's\n" +
			"type has it; @FILE reads it from a file, @- from standard input, and without one it\n" +
			"is null. NATS is the way: no gateway is asked, and the object believes --as.",
		Example: p.examples("call ticket/global claim\n" +
			"call limit/ada take --key order-17 --timeout 2s\n" +
			"call board/chess add '{\"player\":\"ada\",\"points\":300}' --as ada --json"),
		Args: cobra.RangeArgs(2, 3),
		RunE: p.run(func(ctx context.Context, args []string) error {
			input := []byte("null")
			if len(args) == 3 {
				var err error
				if input, err = textOf(args[2], objects.MaxCall); err != nil {
					return err
				}
			}
			return p.ask(ctx, &o, args[0], func(ctx context.Context, _ *client.Client, to objects.Ref) error {
				// The call's types are the class's own: what is sent and what comes back stays as it is.
				output, err := objects.NewCall[[]byte, []byte](to.ID().Class(), args[1]).Do(ctx, to, input)
				if err != nil {
					return err
				}
				return p.printAnswer(to, args[1], output)
			})
		}),
	}
	o.add(c)
	o.addKey(c)
	c.ValidArgsFunction = p.completeObject(&o.nats)
	return c
}

// printAnswer prints a call's output.
func (p *program) printAnswer(to objects.Ref, call string, output []byte) error {
	if !p.json {
		return p.show(output)
	}
	said := called{OK: true, Class: string(to.ID().Class()), Name: to.Name(), ID: to.ID().String(), Call: call}
	if json.Valid(output) {
		said.Output = output
	} else {
		said.Base64 = base64.StdEncoding.EncodeToString(output)
	}
	return p.print(said)
}

// called is the JSON form of a call's answer.
type called struct {
	OK     bool            `json:"ok"` // true
	Class  string          `json:"class"`
	Name   string          `json:"name,omitempty"`
	ID     string          `json:"id"`
	Call   string          `json:"call"`
	Output json.RawMessage `json:"output,omitempty"`
	Base64 string          `json:"base64,omitempty"` // the output, if it is no JSON
}

func (p *program) fetchCommand() *cobra.Command {
	var o askOptions
	var method, data string
	var header []string
	c := &cobra.Command{
		Use:   "fetch CLASS/NAME [PATH]",
		Short: "Send an HTTP request to an object, and print the response's body",
		Long: "Send an HTTP request to an object, and print the response's body. The path is what\n" +
			"the object sees, / if none is given. A stream is printed as it comes, until it ends or\n" +
			"Ctrl-C; --timeout is the wait for its first part. NATS is the way: no worker, no\n" +
			"gateway's limits and no login stand in between, and the object believes --as. A\n" +
			"status of 400 or more is a failure, with the exit code of the error that has it.",
		Example: p.examples("fetch room/lobby\n" +
			"fetch board/chess '/top?count=3' --json\n" +
			"fetch board/chess /moves -X PUT -H 'Content-Type: application/json' -d @move.json"),
		Args: cobra.RangeArgs(1, 2),
	}
	c.RunE = p.run(func(ctx context.Context, args []string) error {
		var body io.Reader
		if c.Flags().Changed("data") {
			text, err := textOf(data, objects.MaxBody)
			if err != nil {
				return err
			}
			body = strings.NewReader(string(text))
			if !c.Flags().Changed("request") {
				method = http.MethodPost
			}
		}
		path := strings.Join(append(args[1:], "/")[:1], "")
		r, err := requestOf(ctx, method, path, header, body)
		if err != nil {
			return err
		}
		return p.ask(ctx, &o, args[0], func(ctx context.Context, _ *client.Client, to objects.Ref) error {
			response, err := to.Fetch(r.WithContext(ctx))
			if err != nil {
				return err
			}
			defer response.Body.Close()
			err = p.printResponse(response)
			if err != nil && ctx.Err() != nil {
				return ctx.Err() // Ctrl-C in the midst of a stream
			}
			return err
		})
	})
	o.add(c)
	o.addKey(c)
	c.ValidArgsFunction = p.completeObject(&o.nats)
	c.Flags().StringVarP(&method, "request", "X", http.MethodGet, "method; POST if there is a body")
	c.Flags().StringVarP(&data, "data", "d", "", "body; @FILE reads it from a file, @- from standard input")
	c.Flags().StringArrayVarP(&header, "header", "H", nil, "header, as 'Name: value'; may be given several times")
	return c
}

// requestOf returns the request that an object is to answer.
func requestOf(ctx context.Context, method, path string, header []string, body io.Reader) (*http.Request, error) {
	if !strings.HasPrefix(path, "/") {
		return nil, usage(fmt.Errorf("path %.80q: it begins with a slash", path), "")
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://object"+path, body)
	if err != nil {
		return nil, usage(fmt.Errorf("%.20q %.80q is no method and path", method, path), "")
	}
	for _, line := range header {
		name, value, ok := strings.Cut(line, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		odd := func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }
		if !ok || name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) || strings.ContainsFunc(value, odd) {
			return nil, usage(fmt.Errorf("--header %.80q: want 'Name: value'", line), "")
		}
		if strings.EqualFold(name, "Host") {
			r.Host = value
			continue
		}
		r.Header.Add(name, value)
	}
	return r, nil
}

// fetched is the JSON form of an object's response.
type fetched struct {
	OK     bool        `json:"ok"` // its status is below 400
	Status int         `json:"status"`
	Header http.Header `json:"header"`
	Body   string      `json:"body"`
	Base64 string      `json:"base64,omitempty"` // the body, if it is no text
}

// mostFetched is the largest body that is printed as JSON. Such a body is read as a whole, and a stream may have no end.
const mostFetched = 64 << 20

// printResponse prints a response.
func (p *program) printResponse(r *http.Response) error {
	failed := r.StatusCode >= http.StatusBadRequest
	if err := p.printBody(r, failed); err != nil || !failed {
		return err
	}
	code := codeOf(r.StatusCode)
	return &failure{code: string(code), exit: exitOf(code), err: fmt.Errorf("the object answered %d %s", r.StatusCode, http.StatusText(r.StatusCode)), told: true}
}

// printBody prints the body of a response: as JSON at its end, otherwise as it comes.
func (p *program) printBody(r *http.Response, failed bool) error {
	if !p.json {
		return p.pass(r.Body)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, mostFetched+1))
	switch {
	case err != nil:
		return unread(err)
	case len(body) > mostFetched:
		return &failure{
			code: string(objects.TooLarge), exit: exitOf(objects.TooLarge),
			err: fmt.Errorf("the response has more than %d bytes: without --json it is printed as it comes", mostFetched),
		}
	}
	said := fetched{OK: !failed, Status: r.StatusCode, Header: r.Header, Body: string(body)}
	if !utf8.Valid(body) {
		said.Body, said.Base64 = "", base64.StdEncoding.EncodeToString(body)
	}
	return p.print(said)
}

func unread(err error) error { return fmt.Errorf("read the response: %w", err) }

// codeOf returns the code for the status of an object's response, if the status is that of a failure.
func codeOf(status int) objects.Code {
	for _, code := range []objects.Code{objects.Invalid, objects.Unauthorized, objects.Forbidden, objects.NotFound, objects.Unavailable, objects.Unknown} {
		if code.HTTPStatus() == status {
			return code
		}
	}
	if status < http.StatusInternalServerError {
		return objects.Conflict
	}
	return objects.Internal
}

// textOf returns the text of an argument: the argument itself or, after @, the content of a file; "@-" is standard
// input.
func textOf(arg string, most int64) ([]byte, error) {
	file, named := strings.CutPrefix(arg, "@")
	if !named {
		return []byte(arg), nil
	}
	from := os.Stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, usage(err, "")
		}
		defer f.Close()
		from = f
	}
	data, err := io.ReadAll(io.LimitReader(from, most+1))
	if err != nil {
		return nil, usage(err, "")
	}
	if int64(len(data)) > most {
		return nil, &failure{code: string(objects.TooLarge), exit: exitUsage, err: fmt.Errorf("%s has more than %d bytes", arg, most)}
	}
	return data, nil
}

// show writes an object's output to standard output, with a newline at the end. On a terminal, characters that could
// move the cursor are written as \u sequences, which keeps JSON valid.
func (p *program) show(data []byte) error {
	if len(data) == 0 {
		return nil
	}
	if isTerminal(p.stdout) {
		data = escapeControls(data)
	}
	if data[len(data)-1] != '\n' {
		data = append(slices.Clip(data), '\n')
	}
	if _, err := p.stdout.Write(data); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// pass writes an object's output to standard output as show does, but as it comes.
func (p *program) pass(from io.Reader) error {
	terminal := isTerminal(p.stdout)
	buffer, held, line := make([]byte, 32<<10), 0, true // held bytes are the beginning of a character; line: a line has ended
	for {
		n, err := from.Read(buffer[held:])
		n += held
		held = 0
		if terminal && err == nil {
			held = begun(buffer[:n])
		}
		if out := buffer[:n-held]; len(out) > 0 {
			line = out[len(out)-1] == '\n'
			if terminal {
				out = escapeControls(out)
			}
			if _, err := p.stdout.Write(out); err != nil {
				return fmt.Errorf("write the result: %w", err)
			}
		}
		copy(buffer, buffer[n-held:n])
		if err == nil {
			continue
		}
		if !line {
			if _, err := p.stdout.Write([]byte{'\n'}); err != nil {
				return fmt.Errorf("write the result: %w", err)
			}
		}
		if !errors.Is(err, io.EOF) {
			return unread(err)
		}
		return nil
	}
}

// begun returns how many bytes at the end of data are the beginning of a character whose rest is missing.
func begun(data []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(data); n++ {
		if at := data[len(data)-n:]; utf8.RuneStart(at[0]) {
			if utf8.FullRune(at) {
				return 0
			}
			return n
		}
	}
	return 0
}

// escapeControls returns text without characters that a terminal does not simply show.
func escapeControls(data []byte) []byte {
	var out []byte
	for len(data) > 0 {
		r, n := utf8.DecodeRune(data)
		switch {
		case r == utf8.RuneError && n == 1:
			out = fmt.Appendf(out, `\x%02x`, data[0])
		case r == '\n' || r == '\t' || unicode.IsPrint(r):
			out = append(out, data[:n]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		data = data[n:]
	}
	return out
}
