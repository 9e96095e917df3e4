package objects

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"unicode/utf8"
)

var errText = errors.New("a text is not valid UTF-8")

// fromJSON is json.Unmarshal, with a short way for what counters are made of, and
// without its habit of mending text that is not UTF-8.
func fromJSON(data []byte, v any) error {
	switch v := v.(type) {
	case *None:
		if string(data) == "null" || string(data) == "{}" {
			*v = nil
			return nil
		}
	case *int:
		if n, ok := smallInt(data); ok {
			*v = n
			return nil
		}
	}
	if !utf8.Valid(data) {
		return errText
	}
	return json.Unmarshal(data, v)
}

// toJSON is json.Marshal, likewise.
func toJSON(v any) ([]byte, error) {
	switch v := v.(type) {
	case None:
		return []byte("null"), nil
	case int:
		return strconv.AppendInt(nil, int64(v), 10), nil
	}
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	// What package json has mended shows as an escape, which it writes for nothing else. One may also come from a value
	// that encodes itself, so the value is looked at before it is refused.
	if bytes.Contains(data, []byte(`\ufffd`)) && !validText(reflect.ValueOf(v)) {
		return nil, errText
	}
	return data, nil
}

var marshaler = reflect.TypeFor[json.Marshaler]()

// validText reports whether all strings that package json finds in v are UTF-8.
func validText(v reflect.Value) bool {
	if !v.IsValid() || v.Type().Implements(marshaler) {
		return true
	}
	switch v.Kind() {
	case reflect.String:
		return utf8.ValidString(v.String())
	case reflect.Pointer, reflect.Interface:
		return validText(v.Elem())
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if !validText(v.Index(i)) {
				return false
			}
		}
	case reflect.Map:
		for key, value := range v.Seq2() {
			if !validText(key) || !validText(value) {
				return false
			}
		}
	case reflect.Struct:
		for f, value := range v.Fields() {
			if (f.IsExported() || f.Anonymous) && !validText(value) {
				return false
			}
		}
	}
	return true
}

// smallInt reads a JSON number without a sign that certainly is an int.
func smallInt(data []byte) (n int, ok bool) {
	if len(data) == 0 || len(data) > 18 || data[0] == '0' && len(data) > 1 {
		return 0, false
	}
	for _, digit := range data {
		if digit < '0' || digit > '9' {
			return 0, false
		}
		n = 10*n + int(digit-'0')
	}
	return n, true
}
