package wire

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"

	"holdfast/objects"
)

// message is one of this package's types. fields names its fields to a coder, in
// the order of their numbers, which is how both writing and reading find them.
type message interface{ fields(c *coder) }

// scratch are pooled buffers for encoding.
var scratch = sync.Pool{New: func() any { return new(coder) }}

// Encode returns a message's payload.
func Encode(m message) []byte {
	c := scratch.Get().(*coder)
	defer c.release()
	m.fields(c)
	return slices.Clone(c.out)
}

// Publisher sends payloads. *nats.Conn is one. It must not keep data after it returns.
type Publisher interface {
	Publish(subject string, data []byte) error
	PublishRequest(subject, reply string, data []byte) error
}

// Publish sends a message. NATS has copied the payload when it returns.
func Publish(to Publisher, subject string, m message) error {
	c := scratch.Get().(*coder)
	defer c.release()
	m.fields(c)
	return to.Publish(subject, c.out)
}

// Ask is Publish for a message whose answer goes to the subject reply.
func Ask(to Publisher, subject, reply string, m message) error {
	c := scratch.Get().(*coder)
	defer c.release()
	m.fields(c)
	return to.PublishRequest(subject, reply, c.out)
}

// release returns a coder that writes to the pool.
func (c *coder) release() {
	const most = 64 << 10 // a buffer that was needed once is not kept
	if cap(c.out) <= most {
		c.out = c.out[:0]
		scratch.Put(c)
	}
}

// Decode reads a payload into a zero message. It refuses payloads that no peer of
// ours sends: fields out of order or doubled, lists that are too long. It skips
// unknown fields, which a newer peer may send. Text may be any bytes, because
// clients' text is. Bytes in the message share data's memory, which must not
// change any more.
func Decode(data []byte, m message) error {
	c := coder{in: data, reads: true}
	return c.read(m)
}

// read reads the rest of the payload as one message.
func (c *coder) read(m message) error {
	c.advance()
	m.fields(c)
	c.skipTo(protowire.MaxValidNumber)
	return c.err
}

// coder writes or reads the fields of one message, as Protocol Buffers encode
// them. A field that is zero is not written.
type coder struct {
	reads bool
	out   []byte // written so far

	in   []byte // left to read, from the value of the next field on
	next protowire.Number
	kind protowire.Type
	err  error // the first; nothing is read after it

	named int // slots read so far, in the whole message
}

var (
	errOrder = errors.New("fields out of order")
	errMany  = fmt.Errorf("more than %d of something", objects.MaxSockets)
)

func (c *coder) fail(err error) {
	if c.err == nil {
		c.err = err
	}
	c.in, c.next = nil, 0
}

// advance reads the number of the next field; it is 0 at the end.
func (c *coder) advance() {
	before := c.next
	if c.err != nil || len(c.in) == 0 {
		c.next = 0
		return
	}
	number, kind, n := protowire.ConsumeTag(c.in)
	switch {
	case n < 0:
		c.fail(protowire.ParseError(n))
	case number < before:
		c.fail(errOrder)
	default:
		c.in, c.next, c.kind = c.in[n:], number, kind
	}
}

// skipTo skips the fields before number. It reports whether number is next.
func (c *coder) skipTo(number protowire.Number) bool {
	for c.next != 0 && c.next < number {
		n := protowire.ConsumeFieldValue(c.next, c.kind, c.in)
		if n < 0 {
			c.fail(protowire.ParseError(n))
			return false
		}
		c.in = c.in[n:]
		c.advance()
	}
	return c.next == number
}

// once goes on to the next field, which must be another one.
func (c *coder) once(number protowire.Number) {
	c.advance()
	if c.next == number {
		c.fail(errOrder)
	}
}

// varint reads the next field, which must be a number.
func (c *coder) varint() uint64 {
	if c.kind != protowire.VarintType {
		c.fail(fmt.Errorf("field %d is no number", c.next))
		return 0
	}
	v, n := protowire.ConsumeVarint(c.in)
	if n < 0 {
		c.fail(protowire.ParseError(n))
		return 0
	}
	c.in = c.in[n:]
	return v
}

// raw reads the next field, which must be bytes. They share the payload's memory.
func (c *coder) raw() []byte {
	if c.kind != protowire.BytesType {
		c.fail(fmt.Errorf("field %d is a number", c.next))
		return nil
	}
	v, n := protowire.ConsumeBytes(c.in)
	if n < 0 {
		c.fail(protowire.ParseError(n))
		return nil
	}
	c.in = c.in[n:]
	return v
}

// uint is a number, at most most.
func (c *coder) uint(number protowire.Number, v *uint64, most uint64) {
	switch {
	case !c.reads && *v != 0:
		c.out = protowire.AppendVarint(protowire.AppendTag(c.out, number, protowire.VarintType), *v)
	case c.reads && c.skipTo(number):
		if *v = c.varint(); *v > most {
			c.fail(fmt.Errorf("field %d is %d, at most %d is known", number, *v, most))
		}
		c.once(number)
	}
}

func number[N ~uint8 | ~uint32 | ~uint64 | ~int | ~int64](c *coder, number protowire.Number, v *N) {
	most := uint64(1<<63 - 1) // of what has a sign; none of ours is below zero
	if N(0)-1 > 0 {
		most = uint64(N(0) - 1)
	}
	wide := uint64(*v)
	c.uint(number, &wide, most)
	*v = N(wide)
}

func (c *coder) bool(number protowire.Number, v *bool) {
	var wide uint64
	if *v {
		wide = 1
	}
	c.uint(number, &wide, 1)
	*v = wide == 1
}

func text[S ~string](c *coder, number protowire.Number, v *S) {
	switch {
	case !c.reads && *v != "":
		c.out = protowire.AppendString(protowire.AppendTag(c.out, number, protowire.BytesType), string(*v))
	case c.reads && c.skipTo(number):
		*v = S(string(c.raw()))
		c.once(number)
	}
}

func (c *coder) bytes(number protowire.Number, v *[]byte) {
	switch {
	case !c.reads && len(*v) > 0:
		c.out = protowire.AppendBytes(protowire.AppendTag(c.out, number, protowire.BytesType), *v)
	case c.reads && c.skipTo(number):
		*v = slices.Clip(c.raw())
		c.once(number)
	}
}

func (c *coder) texts(number protowire.Number, list *[]string) {
	if !c.reads {
		for _, v := range *list {
			c.out = protowire.AppendString(protowire.AppendTag(c.out, number, protowire.BytesType), v)
		}
		return
	}
	for c.skipTo(number) && c.room(len(*list)) {
		*list = append(*list, string(c.raw()))
		c.advance()
	}
}

// room fails if a list of n is full.
func (c *coder) room(n int) bool {
	if n >= objects.MaxSockets {
		c.fail(errMany)
	}
	return n < objects.MaxSockets
}

// part is a message within a message. It is written even if it is empty.
func (c *coder) part(number protowire.Number, m message) {
	if c.reads {
		if c.skipTo(number) {
			c.inner(m)
			c.once(number)
		}
		return
	}
	inner := scratch.Get().(*coder)
	defer inner.release()
	m.fields(inner)
	c.out = protowire.AppendBytes(protowire.AppendTag(c.out, number, protowire.BytesType), inner.out)
}

// inner reads a message within the message.
func (c *coder) inner(m message) {
	part := coder{in: c.raw(), reads: true, named: c.named}
	if err := part.read(m); err != nil {
		c.fail(err)
	}
	c.named = part.named
}

// parts are messages of one kind.
func parts[M any, P interface {
	*M
	message
}](c *coder, number protowire.Number, list *[]M) {
	if !c.reads {
		for i := range *list {
			c.part(number, P(&(*list)[i]))
		}
		return
	}
	for c.skipTo(number) && c.room(len(*list)) {
		*list = append(*list, *new(M))
		c.inner(P(&(*list)[len(*list)-1]))
		c.advance()
	}
}

// optional is a message that may be nil.
func optional[M any, P interface {
	*M
	message
}](c *coder, number protowire.Number, m **M) {
	switch {
	case !c.reads && *m != nil:
		c.part(number, P(*m))
	case c.reads && c.skipTo(number):
		*m = new(M)
		c.inner(P(*m))
		c.once(number)
	}
}

// field is one name of a header.
type field struct {
	name   string
	values []string
}

func (f *field) fields(c *coder) {
	text(c, 1, &f.name)
	c.texts(2, &f.values)
}

// header is a header's names and their values, sorted by name.
func (c *coder) header(number protowire.Number, h *map[string][]string) {
	if !c.reads {
		if len(*h) == 0 {
			return // most messages have no header
		}
		for _, name := range slices.Sorted(maps.Keys(*h)) {
			c.part(number, &field{name, (*h)[name]})
		}
		return
	}
	var f field
	for n := 0; c.skipTo(number) && c.room(n); n++ {
		f = field{}
		c.inner(&f)
		if *h == nil {
			*h = make(map[string][]string)
		}
		(*h)[f.name] = f.values
		c.advance()
	}
}
