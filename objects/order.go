package objects

import (
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Keys of maps are kept as UTF-8 whose bytes have the order of the keys:
//
//	string      as it is; within a struct a zero byte ends it, and its bytes 0 and 1 are 1 1 and 1 2
//	integer     a letter for the number of digits, then the digits: 0 is a0, 41 is b41. For a negative number the letter is upper
//	            case, Z for one digit, Y for two, and each digit is its difference to 9: -1 is Z8
//	bool        0 or 1
//	time.Time   2030-01-01T00:00:00.5, in UTC, as a string
//	ID          class.hex, as a string
//	[n]byte     2n hex digits
//	struct      its fields, one behind the other

var (
	typeOfTime = reflect.TypeFor[time.Time]()
	typeOfID   = reflect.TypeFor[ID]()
)

// timeKey is the format of times: trailing zeros of the second's fraction are left out.
const timeKey = "2006-01-02T15:04:05.999999999"

// checkKey says why a type cannot be a map's key; nil if it can.
func checkKey(t reflect.Type) error {
	if t == typeOfTime || t == typeOfID {
		return nil
	}
	switch t.Kind() {
	case reflect.String, reflect.Bool,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return nil
	case reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return nil
		}
	case reflect.Struct:
		if t.NumField() == 0 {
			return fmt.Errorf("%v has no fields", t)
		}
		for f := range t.Fields() {
			if !f.IsExported() {
				return fmt.Errorf("field %s of %v is not exported", f.Name, t)
			}
			if err := checkKey(f.Type); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("%v has no order as bytes", t)
}

// appendKey appends v. inside: more may follow.
func appendKey(dst []byte, v reflect.Value, inside bool) ([]byte, error) {
	switch v.Type() {
	case typeOfTime:
		t := v.Interface().(time.Time).UTC()
		if t.Year() < 0 || t.Year() > 9999 {
			return dst, Errorf(Invalid, "a time in a key must be of the years 0 to 9999, not %d", t.Year())
		}
		return appendKeyText(dst, t.Format(timeKey), inside), nil
	case typeOfID:
		return appendKeyText(dst, v.Interface().(ID).key, inside), nil
	}
	switch v.Kind() {
	case reflect.String:
		return appendKeyText(dst, v.String(), inside), nil
	case reflect.Bool:
		if v.Bool() {
			return append(dst, '1'), nil
		}
		return append(dst, '0'), nil
	case reflect.Array:
		for i := range v.Len() {
			dst = hex.AppendEncode(dst, []byte{byte(v.Index(i).Uint())})
		}
		return dst, nil
	case reflect.Struct:
		for _, field := range v.Fields() {
			var err error
			if dst, err = appendKey(dst, field, true); err != nil {
				return dst, err
			}
		}
		return dst, nil
	}
	if v.CanUint() {
		return appendKeyNumber(dst, v.Uint(), false), nil
	}
	n := v.Int()
	if n < 0 {
		return appendKeyNumber(dst, -uint64(n), true), nil
	}
	return appendKeyNumber(dst, uint64(n), false), nil
}

func appendKeyText(dst []byte, s string, inside bool) []byte {
	if !inside {
		return append(dst, s...)
	}
	for i := range len(s) {
		if s[i] <= 1 {
			dst = append(dst, 1, s[i]+1)
		} else {
			dst = append(dst, s[i])
		}
	}
	return append(dst, 0)
}

func appendKeyNumber(dst []byte, n uint64, negative bool) []byte {
	var room [20]byte
	digits := strconv.AppendUint(room[:0], n, 10)
	if !negative {
		return append(append(dst, 'a'+byte(len(digits)-1)), digits...)
	}
	for i := range digits {
		digits[i] = '0' + '9' - digits[i]
	}
	return append(append(dst, 'Z'-byte(len(digits)-1)), digits...)
}

var errKey = errors.New("it is no key of the map")

// readKey decodes the form of appendKey, from any text, and returns the rest.
func readKey(s string, v reflect.Value, inside bool) (rest string, err error) {
	switch v.Type() {
	case typeOfTime:
		text, rest, err := readKeyText(s, inside)
		if err != nil {
			return "", err
		}
		t, err := time.Parse(timeKey, text)
		if err != nil || t.Format(timeKey) != text {
			return "", errKey
		}
		v.Set(reflect.ValueOf(t))
		return rest, nil
	case typeOfID:
		text, rest, err := readKeyText(s, inside)
		if err != nil {
			return "", err
		}
		return rest, v.Addr().Interface().(*ID).UnmarshalText([]byte(text))
	}
	switch v.Kind() {
	case reflect.String:
		text, rest, err := readKeyText(s, inside)
		v.SetString(text)
		return rest, err
	case reflect.Bool:
		if s == "" || s[0] != '0' && s[0] != '1' {
			return "", errKey
		}
		v.SetBool(s[0] == '1')
		return s[1:], nil
	case reflect.Array:
		n := 2 * v.Len()
		if len(s) < n {
			return "", errKey
		}
		bytes, err := hex.DecodeString(s[:n])
		if err != nil || hex.EncodeToString(bytes) != s[:n] {
			return "", errKey
		}
		for i, b := range bytes {
			v.Index(i).SetUint(uint64(b))
		}
		return s[n:], nil
	case reflect.Struct:
		for _, field := range v.Fields() {
			if s, err = readKey(s, field, true); err != nil {
				return "", err
			}
		}
		return s, nil
	}
	return readKeyNumber(s, v)
}

func readKeyText(s string, inside bool) (text, rest string, err error) {
	if !inside {
		return s, "", nil
	}
	text, rest, ended := strings.Cut(s, "\x00")
	if !ended {
		return "", "", errKey
	}
	if !strings.Contains(text, "\x01") {
		return text, rest, nil
	}
	var plain []byte
	for i := 0; i < len(text); i++ {
		b := text[i]
		if b == 1 {
			if i++; i == len(text) || text[i] != 1 && text[i] != 2 {
				return "", "", errKey
			}
			b = text[i] - 1
		}
		plain = append(plain, b)
	}
	return string(plain), rest, nil
}

func readKeyNumber(s string, v reflect.Value) (rest string, err error) {
	if s == "" {
		return "", errKey
	}
	n, negative := int(s[0])-'a'+1, false
	if s[0] <= 'Z' {
		n, negative = 'Z'-int(s[0])+1, true
	}
	if n < 1 || n > 20 || len(s) < 1+n {
		return "", errKey
	}
	digits := []byte(s[1 : 1+n])
	if negative {
		for i := range digits {
			digits[i] = '0' + '9' - digits[i]
		}
	}
	abs, err := strconv.ParseUint(string(digits), 10, 64)
	if err != nil || n > 1 && digits[0] == '0' || negative && abs == 0 {
		return "", errKey
	}
	switch {
	case v.CanUint():
		if negative || v.OverflowUint(abs) {
			return "", errKey
		}
		v.SetUint(abs)
	case negative:
		if abs > 1<<63 || v.OverflowInt(-int64(abs)) {
			return "", errKey
		}
		v.SetInt(-int64(abs))
	default:
		if abs > 1<<63-1 || v.OverflowInt(int64(abs)) {
			return "", errKey
		}
		v.SetInt(int64(abs))
	}
	return s[1+n:], nil
}
