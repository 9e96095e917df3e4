package objects

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"strconv"
	"unicode/utf8"
)

var errText = errors.New("a text is not valid UTF-8")

// fromJSON is json.Unmarshal with a fast path for small integers. Unlike json.Unmarshal it
// refuses text that is not UTF-8, and integers in interfaces that would be rounded.
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
	if err := json.Unmarshal(data, v); err != nil {
		return err
	}
	if longNumber(data) {
		return exact(data, v)
	}
	return nil
}

// longNumber reports whether data, which is valid JSON, may hold an integer that a float64 cannot: one of 16 digits or more.
// It ignores digits in texts.
func longNumber(data []byte) bool {
	digits, text := 0, false
	for i := 0; i < len(data); i++ {
		switch b := data[i]; {
		case b == '"':
			text, digits = !text, 0
		case text && b == '\\':
			i++ // the escaped byte may be a quote
		case text:
		case '0' > b || b > '9':
			digits = 0
		default:
			if digits++; digits == 16 {
				return true
			}
		}
	}
	return false
}

// exact refuses numbers that were decoded into an interface within *v, as float64s, and have lost digits.
func exact(data []byte, v any) error {
	again := reflect.New(reflect.TypeOf(v).Elem())
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(again.Interface()); err != nil {
		return err
	}
	return exactNumbers(again.Elem())
}

func exactNumbers(v reflect.Value) error {
	if !v.IsValid() || reflect.PointerTo(v.Type()).Implements(unmarshaler) {
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		return exactNumbers(v.Elem())
	case reflect.Interface:
		n, ok := reflect.TypeAssert[json.Number](v)
		if !ok {
			return exactNumbers(v.Elem())
		}
		f, err := n.Float64()
		if whole, isInt := new(big.Int).SetString(n.String(), 10); err == nil && isInt {
			if kept, _ := new(big.Float).SetFloat64(f).Int(nil); kept.Cmp(whole) != 0 {
				return fmt.Errorf("the number %s loses digits in an interface: give it an integer type", n)
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if err := exactNumbers(v.Index(i)); err != nil {
				return err
			}
		}
	case reflect.Map:
		for _, value := range v.Seq2() {
			if err := exactNumbers(value); err != nil {
				return err
			}
		}
	case reflect.Struct:
		for f, value := range v.Fields() {
			if f.IsExported() || f.Anonymous {
				if err := exactNumbers(value); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

// toJSON is json.Marshal with a fast path for small integers. It refuses text that is not UTF-8.
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
	// Package json writes this escape only for text that it has mended. A value that encodes itself may also write it, so
	// the value is checked before it is refused.
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
