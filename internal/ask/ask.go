// Package ask is how a program that is no object asks objects: a gateway for its worker, and package client.
package ask

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"holdfast/internal/scope"
	"holdfast/internal/wire"
	"holdfast/objects"
)

// Transport has the owner of an object handle a request. A reply that carries a code is an error, too. It is an
// objects.Transport.
type Transport func(ctx context.Context, to wire.Address, req *wire.Request) (*wire.Reply, error)

// Call has the object's owner run a call.
func (t Transport) Call(ctx context.Context, to objects.Ref, call string, input []byte) ([]byte, error) {
	reply, err := t(ctx, AddressOf(to), &wire.Request{Kind: wire.Call, Call: call, Body: input})
	if err != nil {
		return nil, err
	}
	return reply.Body, nil
}

// Fetch has the object's owner answer an HTTP request.
func (t Transport) Fetch(to objects.Ref, r *http.Request) (*http.Response, error) {
	body, err := bodyOf(r)
	if err != nil {
		return nil, err
	}
	reply, err := t(r.Context(), AddressOf(to), &wire.Request{
		Kind: wire.Fetch, Method: cmp.Or(r.Method, http.MethodGet), URL: r.URL.RequestURI(), Host: cmp.Or(r.Host, r.URL.Host), Header: r.Header, Body: body, Takes: wire.TakesStream,
	})
	if err != nil {
		return nil, err
	}
	response := &http.Response{
		Status: strconv.Itoa(reply.Status) + " " + http.StatusText(reply.Status), StatusCode: reply.Status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: reply.Header, Request: r,
		Body: io.NopCloser(bytes.NewReader(reply.Body)), ContentLength: int64(len(reply.Body)),
	}
	if reply.Rest != nil {
		response.Body, response.ContentLength = rest{io.MultiReader(bytes.NewReader(reply.Body), reply.Rest), reply.Rest}, -1
	}
	return response, nil
}

// rest is a body of which some is there.
type rest struct {
	io.Reader
	io.Closer
}

// bodyOf reads a request's body, as much as an object takes.
func bodyOf(r *http.Request) ([]byte, error) {
	if r.Body == nil {
		return nil, nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, objects.MaxBody))
	if _, long := errors.AsType[*http.MaxBytesError](err); long {
		return nil, objects.Errorf(objects.TooLarge, "the request's body has more than %d bytes", objects.MaxBody)
	}
	if err != nil {
		return nil, objects.Errorf(objects.Invalid, "read the request's body: %w", err)
	}
	return body, nil
}

// AddressOf returns the object that a Ref names.
func AddressOf(to objects.Ref) wire.Address {
	return wire.Address{ID: to.ID(), Name: to.Name(), Near: to.Hint()}
}

// Identify says in a request who asks, and under which idempotency key. The client is whose HTTP request is served; it is
// invalid if none is.
func Identify(ctx context.Context, client netip.Addr, to wire.Address, req *wire.Request) error {
	principal, err := Principal(ctx)
	if err != nil {
		return err
	}
	req.Principal = principal
	req.Key = scope.NextKey(ctx, objects.PrincipalOf(ctx).ID, client, to.Key(), req.Call)
	return nil
}

// Principal returns ctx's principal as a request carries it; empty: nobody in particular.
func Principal(ctx context.Context) ([]byte, error) {
	who := objects.PrincipalOf(ctx)
	if who.ID == "" && who.Claims == nil {
		return nil, nil
	}
	principal, err := json.Marshal(who)
	if err != nil || len(principal) > objects.MaxPrincipal {
		return nil, objects.Errorf(objects.TooLarge, "a principal has more than %d bytes", objects.MaxPrincipal)
	}
	return principal, nil
}

// MaxKey is the most that an idempotency key has, in bytes.
const MaxKey = 255

// CheckKey refuses an idempotency key that is too long, or that is not printable ASCII.
func CheckKey(key string) error {
	odd := func(r rune) bool { return r < ' ' || r > '~' }
	if len(key) > MaxKey || strings.ContainsFunc(key, odd) {
		return objects.Errorf(objects.Invalid, "an Idempotency-Key has at most %d characters, of printable ASCII", MaxKey)
	}
	return nil
}
