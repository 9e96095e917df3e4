// Package ask lets a program that is no object ask objects: a gateway for its worker, and package client.
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

// Transport sends a request to the owner of an object and returns the reply. A reply with a code is an error,
// too. Transport implements objects.Transport.
type Transport func(ctx context.Context, to wire.Address, req *wire.Request) (*wire.Reply, error)

// Call runs a call of the object, at its owner.
func (t Transport) Call(ctx context.Context, to objects.Ref, call string, input []byte) ([]byte, error) {
	reply, err := t(ctx, AddressOf(to), &wire.Request{Kind: wire.Call, Call: call, Body: input})
	if err != nil {
		return nil, err
	}
	return reply.Body, nil
}

// Fetch sends the object an HTTP request, at its owner.
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

// rest is a body whose beginning is in memory.
type rest struct {
	io.Reader
	io.Closer
}

// bodyOf reads a request's body, up to the limit of an object.
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

// AddressOf returns the address of the object that a Ref names.
func AddressOf(to objects.Ref) wire.Address {
	return wire.Address{ID: to.ID(), Name: to.Name(), Near: to.Hint()}
}

// Identify adds the principal and the idempotency key to a request. client is the address of the HTTP
// request's sender; invalid if there is no HTTP request.
func Identify(ctx context.Context, client netip.Addr, to wire.Address, req *wire.Request) error {
	principal, err := Principal(ctx)
	if err != nil {
		return err
	}
	req.Principal = principal
	req.Key = scope.NextKey(ctx, objects.PrincipalOf(ctx).ID, client, to.Key(), req.Call)
	return nil
}

// Principal returns ctx's principal in the form that a request carries; empty if there is none.
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

// MaxKey is the length of the longest idempotency key, in bytes.
const MaxKey = 255

// CheckKey refuses an idempotency key that is too long, or that is not printable ASCII.
func CheckKey(key string) error {
	odd := func(r rune) bool { return r < ' ' || r > '~' }
	if len(key) > MaxKey || strings.ContainsFunc(key, odd) {
		return objects.Errorf(objects.Invalid, "an Idempotency-Key has at most %d characters, of printable ASCII", MaxKey)
	}
	return nil
}
