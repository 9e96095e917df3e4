package app

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"holdfast/client"
	"holdfast/objects"
)

// leaveTime is how long the command waits for a closed socket's object to know of the close.
const leaveTime = 5 * time.Second

func (p *program) sendCommand() *cobra.Command {
	var o askOptions
	var path string
	var header []string
	var listen time.Duration
	c := &cobra.Command{
		Use:   "send CLASS/NAME [MESSAGE]",
		Short: "Open a WebSocket of an object, send a message, and print what comes",
		Long: "Open a WebSocket of an object, send a message, and print every message that comes,\n" +
			"each with a newline at its end, until Ctrl-C, until --for is over, or until the object\n" +
			"closes the socket. The message is text; @FILE reads it from a file, @- from standard\n" +
			"input, what is not UTF-8 is sent as a binary message, and without one the command only\n" +
			"listens. NATS is the way: no worker, no gateway's limits and no login stand in between,\n" +
			"and the object believes --as. A socket that may come back does, and what it has missed\n" +
			"is told. With --json each message is a line, {\"text\":...} or {\"base64\":...}, what was\n" +
			"missed is {\"missed\":...}, and the last line says how it ended.",
		Example: p.examples("send chat/lobby '{\"text\":\"hello\"}' --path '/live?name=ada'\n" +
			"send room/lobby --for 1m --json\n" +
			"send document/plan @edit.bin --as ada --for 2s"),
		Args: cobra.RangeArgs(1, 2),
	}
	c.RunE = p.run(func(ctx context.Context, args []string) error {
		var message *objects.Message
		if len(args) == 2 {
			data, err := textOf(args[1], objects.MaxFrame)
			if err != nil {
				return err
			}
			message = &objects.Message{Binary: !utf8.Valid(data), Data: data}
		}
		if listen < 0 {
			return usage(fmt.Errorf("--for %v: want more than no time", listen), "")
		}
		r, err := requestOf(ctx, http.MethodGet, path, header, nil)
		if err != nil {
			return err
		}
		return p.ask(ctx, &o, args[0], func(ctx context.Context, objs *client.Client, to objects.Ref) error {
			defer func() {
				leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
				defer cancel()
				objs.Close(leaving)
			}()
			s, err := open(ctx, objs, to, r, message, o.timeout)
			if err != nil {
				return err
			}
			if listen > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, listen)
				defer cancel()
			}
			return p.listen(ctx, s)
		})
	})
	o.add(c)
	c.ValidArgsFunction = p.completeObject(&o.nats)
	c.Flags().StringVar(&path, "path", "/", "what the object sees as the path of the request")
	c.Flags().StringArrayVarP(&header, "header", "H", nil, "header of the request, as 'Name: value'; may be given several times")
	c.Flags().DurationVar(&listen, "for", 0, "how long to listen once the message is sent; 0: until Ctrl-C")
	return c
}

// open opens a socket and sends the message, if there is one.
func open(ctx context.Context, objs *client.Client, to objects.Ref, r *http.Request, message *objects.Message, within time.Duration) (*client.Socket, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	s, err := objs.Connect(to, r.WithContext(ctx))
	if err != nil || message == nil {
		return s, err
	}
	if err := s.Send(ctx, *message); err != nil {
		if closed, is := errors.AsType[*client.Closed](err); is {
			return nil, closedBy(closed)
		}
		return nil, err
	}
	return s, nil
}

// heard is the JSON form of a message.
type heard struct {
	Text   *string `json:"text,omitempty"`
	Base64 *string `json:"base64,omitempty"` // a binary message
}

// missed is the JSON form of a gap.
type missed struct {
	Missed *uint64 `json:"missed"` // messages; null: nobody knows how many
	New    bool    `json:"new,omitempty"`
	Unsure int     `json:"unsure,omitempty"`
}

// left is the JSON form of an end without a fault.
type left struct {
	OK     bool   `json:"ok"` // true
	Code   int    `json:"code"`
	Reason string `json:"reason,omitempty"`
}

// listen prints messages until ctx or the socket ends.
func (p *program) listen(ctx context.Context, s *client.Socket) error {
	for {
		m, err := s.Receive(ctx)
		gap, missing := errors.AsType[*client.Gap](err)
		closed, over := errors.AsType[*client.Closed](err)
		switch {
		case err == nil:
			err = p.printMessage(m)
		case missing:
			err = p.printGap(gap)
		case over && (closed.Code == 1000 || closed.Code == 1001 || closed.Code == 1005):
			return p.printLeft(closed.Code, closed.Reason)
		case over:
			return closedBy(closed)
		case ctx.Err() != nil:
			return p.printLeft(1000, "")
		}
		if err != nil {
			return err
		}
	}
}

func (p *program) printMessage(m objects.Message) error {
	if !p.json {
		if len(m.Data) == 0 {
			m.Data = []byte{'\n'} // it has come
		}
		return p.show(m.Data)
	}
	if m.Binary {
		return p.print(heard{Base64: new(base64.StdEncoding.EncodeToString(m.Data))})
	}
	return p.print(heard{Text: new(string(m.Data))})
}

func (p *program) printGap(gap *client.Gap) error {
	if !p.json {
		fmt.Fprintf(p.stderr, "%s: %s\n", p.cfg.Name, gap)
		return nil
	}
	said := missed{New: gap.New, Unsure: gap.Unsure}
	if gap.Missed > 0 {
		said.Missed = &gap.Missed
	}
	return p.print(said)
}

func (p *program) printLeft(code int, reason string) error {
	if !p.json {
		return nil
	}
	return p.print(left{true, code, reason})
}

// closedBy returns the failure for a socket that was closed.
func closedBy(closed *client.Closed) error {
	code := objects.Conflict // an object's own: it has refused
	for _, known := range []objects.Code{
		objects.Invalid, objects.Unauthorized, objects.Forbidden, objects.NotFound, objects.TooLarge, objects.TooMany, objects.Overloaded,
		objects.Unavailable, objects.Internal,
	} {
		if closed.Code == known.CloseCode() {
			code = known
		}
	}
	if closed.Code == 1006 { // the socket was lost
		code = objects.Unavailable
	}
	return &failure{code: string(code), exit: exitOf(code), err: fmt.Errorf("the socket was closed: %d %s", closed.Code, shown(closed.Reason))}
}
