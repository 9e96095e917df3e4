// Package crowd fills a room with people who do nothing: WebSocket clients of this process, over its own listener. A
// client is only a connection; one goroutine reads all of them in turn. So nearly all that a crowd costs is the
// server's half, which the demo shows.
package crowd

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// Half is the size in bytes of a socket's client end: a connection, and the bytes that Listen keeps.
const Half = 300

const (
	atATime  = 128              // people who enter at a time: those who enter together share a commit
	patience = 10 * time.Second // for one person to be let in
	tries    = 10               // of each person, while the room is busy
	glance   = 200 * time.Microsecond
	maxFrame = 256 << 10 // of a server; a connection with a larger frame is closed
)

// Room is the room that a crowd enters.
type Room struct {
	Addr string // of the listener
	Host string // of the HTTP request
	Path string
}

// Crowd is people in a room. One goroutine at a time may use it.
type Crowd struct {
	people []*person
	buffer []byte // for reading; all connections share it
}

// person is one client.
type person struct {
	conn net.Conn
	rest []byte // the beginning of a frame
}

// Enter makes up to n people enter, and returns when nobody is on the way any more. The error is that of the first
// person who could not enter, or ctx's if it has ended; others may be in. opened is called now and then with the number
// of people who are in.
func Enter(ctx context.Context, to Room, n int, opened func(int)) (*Crowd, error) {
	c := &Crowd{buffer: make([]byte, 64<<10)}
	var mu sync.Mutex // guards c.people
	var in atomic.Int64
	var entering errgroup.Group
	entering.SetLimit(atATime)
	told := 0
	for range n {
		if ctx.Err() != nil {
			break
		}
		entering.Go(func() error {
			conn, rest, err := enter(ctx, to)
			for again := 1; err != nil && !errors.Is(err, errRefused) && again < tries && pause(ctx, again); again++ {
				conn, rest, err = enter(ctx, to)
			}
			if err != nil {
				return err
			}
			in.Add(1)
			mu.Lock()
			defer mu.Unlock()
			c.people = append(c.people, &person{conn, rest})
			return nil
		})
		if k := int(in.Load()); k >= told+100 {
			told = k
			opened(k)
		}
	}
	err := entering.Wait()
	if err == nil && len(c.people) < n {
		err = context.Cause(ctx)
	}
	return c, err
}

// pause waits before another try, a little longer before each. It reports false if ctx has ended.
func pause(ctx context.Context, again int) bool {
	timer := time.NewTimer(time.Duration(again) * 100 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// errRefused is an answer that another try would get again.
var errRefused = errors.New("refused")

// enter opens one WebSocket. It returns the bytes that came after the handshake.
func enter(ctx context.Context, to Room) (net.Conn, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", to.Addr)
	if err != nil {
		if errors.Is(err, syscall.ECONNREFUSED) { // nobody listens
			err = fmt.Errorf("%w: %w", errRefused, err)
		}
		return nil, nil, fmt.Errorf("enter the room: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	rest, err := handshake(conn, to)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, nil, fmt.Errorf("enter the room: %w", err)
	}
	return conn, rest, nil
}

func handshake(conn net.Conn, to Room) (rest []byte, err error) {
	var key [16]byte
	rand.Read(key[:]) // never fails
	_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n",
		to.Path, to.Host, base64.StdEncoding.EncodeToString(key[:]))
	if err != nil {
		return nil, err
	}
	answer := make([]byte, 0, 1<<10)
	for {
		n, err := conn.Read(answer[len(answer):cap(answer)])
		answer = answer[:len(answer)+n]
		if head, rest, whole := bytes.Cut(answer, []byte("\r\n\r\n")); whole {
			status, _, _ := strings.Cut(string(head), "\r\n")
			switch {
			case strings.HasPrefix(status, "HTTP/1.1 101 "):
				return bytes.Clone(rest), nil
			case strings.HasPrefix(status, "HTTP/1.1 5"):
				return nil, fmt.Errorf("the answer is %.80q", status)
			}
			return nil, fmt.Errorf("the answer is %.80q: %w", status, errRefused)
		}
		if err != nil {
			return nil, err
		}
		if len(answer) == cap(answer) {
			return nil, errors.New("the answer has too long a head")
		}
	}
}

// People returns how many are in the room.
func (c *Crowd) People() int { return len(c.people) }

// Listen reads the messages of all people, answers pings, and returns the number of messages. A person whose connection
// has ended is removed from the crowd.
func (c *Crowd) Listen() (messages int) {
	stay := c.people[:0]
	for _, p := range c.people {
		n, err := p.listen(c.buffer)
		messages += n
		if err != nil {
			p.conn.Close()
			continue
		}
		stay = append(stay, p)
	}
	clear(c.people[len(stay):])
	c.people = stay
	return messages
}

// listen reads the messages of one person.
func (p *person) listen(buffer []byte) (messages int, err error) {
	for {
		had := copy(buffer, p.rest)
		p.conn.SetReadDeadline(time.Now().Add(glance))
		n, err := p.conn.Read(buffer[had:])
		over := errors.Is(err, os.ErrDeadlineExceeded)
		if err != nil && !over {
			return messages, err
		}
		heard, pings, rest, err := frames(buffer[:had+n])
		if messages += heard; err != nil {
			return messages, err
		}
		if p.rest = bytes.Clone(rest); len(p.rest) == 0 {
			p.rest = nil
		}
		for _, ping := range pings {
			if err := p.send(opPong, ping); err != nil {
				return messages, err
			}
		}
		if over || had+n < len(buffer) {
			return messages, nil
		}
	}
}

// The opcodes of frames that are not messages.
const (
	opClose = 8
	opPing  = 9
	opPong  = 10
)

// frames decodes bytes of a server: the number of messages, and the payloads of its pings. rest is the beginning of a
// frame that is not complete. The error says that the server closes, or that a frame is not valid.
func frames(data []byte) (messages int, pings [][]byte, rest []byte, err error) {
	for {
		if len(data) < 2 {
			return messages, pings, data, nil
		}
		op, size, head := data[0]&0x0f, int(data[1]), 2
		switch {
		case data[1] > 127:
			return messages, pings, nil, errors.New("a server masks nothing")
		case size == 126 && len(data) >= 4:
			size, head = int(binary.BigEndian.Uint16(data[2:])), 4
		case size == 127 && len(data) >= 10:
			size, head = int(min(binary.BigEndian.Uint64(data[2:]), maxFrame+1)), 10
		case size >= 126:
			return messages, pings, data, nil
		}
		if size > maxFrame {
			return messages, pings, nil, errors.New("a frame is too long")
		}
		if len(data) < head+size {
			return messages, pings, data, nil
		}
		switch op {
		case opClose:
			return messages, pings, nil, io.EOF
		case opPing:
			pings = append(pings, bytes.Clone(data[head:head+size]))
		case opPong:
		default:
			messages++
		}
		data = data[head+size:]
	}
}

// send sends a short frame, masked with zeros.
func (p *person) send(op byte, data []byte) error {
	data = data[:min(len(data), 125)]
	frame := append([]byte{0x80 | op, 0x80 | byte(len(data)), 0, 0, 0, 0}, data...)
	if err := p.conn.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	_, err := p.conn.Write(frame)
	return err
}

// Leave makes everybody leave.
func (c *Crowd) Leave() {
	for _, p := range c.people {
		_ = p.send(opClose, []byte{1000 >> 8, 1000 & 0xff}) // who has gone need not say so
		p.conn.Close()
	}
	c.people = nil
}
