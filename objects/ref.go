package objects

import (
	"context"
	"net/http"
)

// Ref is an object and the transport to it. Making a Ref does no I/O and cannot fail; a bad Ref is an error of its use.
type Ref struct {
	id   ID
	name string
	near string // the region that Near was given
	err  *Error
	via  Transport
}

// ID returns the object's id.
func (r Ref) ID() ID { return r.id }

// Name returns the name that the Ref was made with, "" for none.
func (r Ref) Name() string { return r.name }

// Near returns the Ref with a region whose hosts are asked first if nobody owns the object (as Cloudflare's locationHint). An
// object that has an owner stays where it is. A name that no region can have is an error of the Ref's use.
func (r Ref) Near(region string) Ref {
	r.near = region
	if r.err == nil && !validRegion(region) {
		r.err = Errorf(Invalid, "region %.40q: want 1 to 32 of a-z, 0-9 and -", region)
	}
	return r
}

func validRegion(name string) bool {
	for i := range len(name) {
		if b := name[i]; ('a' > b || b > 'z') && ('0' > b || b > '9') && b != '-' {
			return false
		}
	}
	return 1 <= len(name) && len(name) <= 32
}

// Hint returns the region that Near was given, "" for none.
func (r Ref) Hint() string { return r.near }

// Err returns the error of a bad Ref, which its use would return, nil for a good one.
func (r Ref) Err() error {
	if r.err == nil {
		return nil
	}
	return r.err
}

// Fetch has the object's ServeHTTP answer the request, as Call.Do asks; the URL's host is ignored. The request's body has
// at most MaxBody bytes. The response's body has to be closed.
func (r Ref) Fetch(req *http.Request) (*http.Response, error) {
	switch {
	case r.err != nil:
		return nil, r.err
	case r.via == nil:
		return nil, Errorf(Invalid, "fetch: the reference is empty")
	}
	return wayOf(req.Context(), r.via).Fetch(r, req)
}

// Caller makes Refs to objects: a worker's *gateway.Env, a program's *client.Client, a test's *objectstest.World, in an event
// its *Tx, and in a task its *Task.
type Caller interface {
	// Object returns a Ref to the object of this class and name.
	Object(class Class, name string) Ref
	// ObjectByID returns a Ref to the object with this id.
	ObjectByID(id ID) Ref

	caller() // others cannot implement it, so that it can grow
}

// Transport carries calls and requests to objects, and their answers back. A gateway has one; authors need none.
type Transport interface {
	Call(ctx context.Context, to Ref, call string, input []byte) (output []byte, err error)
	Fetch(to Ref, r *http.Request) (*http.Response, error)
}

// NewCaller returns a Caller over a transport. For authors of transports.
func NewCaller(t Transport) Caller { return way{t} }

type way struct{ t Transport }

func (w way) Object(class Class, name string) Ref {
	id, err := class.id(name)
	return Ref{id: id, name: name, err: err, via: w.t}
}

func (w way) ObjectByID(id ID) Ref {
	if id.key == "" {
		return Ref{err: Errorf(Invalid, "the object id is empty"), via: w.t}
	}
	return Ref{id: id, via: w.t}
}

func (way) caller() {}
