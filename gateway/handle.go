package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"reflect"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"

	"holdfast/objects"
)

// Namer returns the name of the object that a request is for.
type Namer func(c *fiber.Ctx) (string, error)

// Param returns a Namer that takes the name from a path parameter, decoded once.
func Param(name string) Namer {
	return func(c *fiber.Ctx) (string, error) {
		value, err := url.PathUnescape(c.Params(name))
		if err != nil {
			return "", objects.Errorf(objects.Invalid, "the path cannot be decoded: %v", err)
		}
		return utils.CopyString(value), nil
	}
}

// Fixed returns a Namer with one name for all requests.
func Fixed(name string) Namer {
	return func(*fiber.Ctx) (string, error) { return name, nil }
}

// Me returns a Namer that takes the id of the request's principal, so that each principal has an object of its own. A
// request without a principal is Unauthorized.
func Me() Namer {
	return func(c *fiber.Ctx) (string, error) {
		id := objects.PrincipalOf(c.UserContext()).ID
		if id == "" {
			return "", objects.Errorf(objects.Unauthorized, "log in first: the request has no principal")
		}
		return id, nil
	}
}

// Handle returns a route that makes a call:
//
//	r.Post("/ticket/:name", gateway.Handle(env, ticket.Claim, gateway.Param("name")))
//
// The input is the body, as JSON. For GET, HEAD and DELETE the input is the query, by the JSON names of the fields of
// In, or by the name "in" if In is no struct. A field that In does not have is Invalid. []byte is the raw body. The
// answer is JSON, a []byte as it is, and 204 for None; the answer to HEAD has no body. Handle panics if the program
// does not have the class.
func Handle[In, Out any](env *Env, call objects.Call[In, Out], name Namer) fiber.Handler {
	if err := env.mustHave(call.Class()); err != nil {
		panic(fmt.Sprintf("gateway: handle call %s: %v", call.Name(), err))
	}
	return func(c *fiber.Ctx) error {
		named, err := name(c)
		if err != nil {
			return err
		}
		in, err := inputOf[In](c)
		if err != nil {
			return err
		}
		out, err := call.Do(c.UserContext(), env.Object(call.Class(), named), in)
		if err != nil {
			return err
		}
		switch out := any(out).(type) {
		case objects.None:
			return c.SendStatus(fiber.StatusNoContent)
		case []byte:
			c.Set(fiber.HeaderContentType, fiber.MIMEOctetStream)
			return c.Send(out)
		default:
			return c.JSON(out)
		}
	}
}

// inputOf reads a call's input from a request.
func inputOf[In any](c *fiber.Ctx) (in In, err error) {
	data := c.BodyRaw()
	if raw, ok := any(&in).(*[]byte); ok {
		*raw = bytes.Clone(data)
		return in, nil
	}
	switch c.Method() {
	case fiber.MethodGet, fiber.MethodHead, fiber.MethodDelete:
		if data, err = queryJSON(reflect.TypeFor[In](), string(c.Request().URI().QueryString())); err != nil {
			return in, err
		}
	}
	if len(data) == 0 {
		return in, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&in); err != nil {
		return in, objects.Errorf(objects.Invalid, "the input cannot be read: %v", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return in, objects.Errorf(objects.Invalid, "the input cannot be read: something follows it")
	}
	return in, nil
}

// queryJSON returns a query as JSON for a type. A value is text where the type wants text, and JSON elsewhere.
func queryJSON(of reflect.Type, query string) ([]byte, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, objects.Errorf(objects.Invalid, "the query cannot be decoded")
	}
	if len(values) == 0 {
		return nil, nil
	}
	if of == reflect.TypeFor[objects.None]() {
		return nil, objects.Errorf(objects.Invalid, "the call takes no input, and the query has some")
	}
	if of = plain(of); of.Kind() != reflect.Struct {
		one, has := values["in"]
		if !has || len(values) > 1 || len(one) != 1 {
			return nil, objects.Errorf(objects.Invalid, `the query has one parameter, "in"`)
		}
		return valueJSON(of, one[0]), nil
	}
	fields := make(map[string]json.RawMessage, len(values))
	for name, all := range values {
		field, known := fieldOf(of, name)
		switch {
		case !known:
			return nil, objects.Errorf(objects.Invalid, "the query has a parameter that is not known, %.80q", name)
		case field.Kind() == reflect.Slice && field.Elem().Kind() != reflect.Uint8:
			list := make([]json.RawMessage, len(all))
			for i, one := range all {
				list[i] = valueJSON(plain(field.Elem()), one)
			}
			fields[name], err = json.Marshal(list)
		case len(all) > 1:
			err = errors.New("more than one value")
		default:
			fields[name] = valueJSON(field, all[0])
		}
		if err != nil {
			return nil, objects.Errorf(objects.Invalid, "the parameter %.80q cannot be read", name)
		}
	}
	data, err := json.Marshal(fields)
	if err != nil {
		return nil, objects.Errorf(objects.Invalid, "the query cannot be read: %v", err)
	}
	return data, nil
}

// plain returns a type without its pointers.
func plain(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// valueJSON returns a parameter's value as JSON: as a JSON text if text is wanted or the value is no JSON.
func valueJSON(of reflect.Type, value string) json.RawMessage {
	if of.Kind() != reflect.String && of.Kind() != reflect.Slice && json.Valid([]byte(value)) {
		return json.RawMessage(value)
	}
	text, err := json.Marshal(value)
	if err != nil {
		return nil // text always has a JSON form
	}
	return text
}

// fieldOf returns the type of a struct's field by its name in JSON.
func fieldOf(t reflect.Type, name string) (reflect.Type, bool) {
	for _, field := range reflect.VisibleFields(t) {
		tag, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if tag == "" {
			tag = field.Name
		}
		if field.IsExported() && (!field.Anonymous || tag != field.Name) && strings.EqualFold(tag, name) {
			return plain(field.Type), true
		}
	}
	return nil, false
}
