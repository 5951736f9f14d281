package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"onsale/internal/fault"
)

// body reads the JSON object of a request into dst. It is strict: one value, of
// the right types, without unknown fields, within the size limit. An empty body
// counts as {}. The Content-Type is not looked at: what keeps other sites' forms
// out is the check of the origin, and curl -d is welcome.
func body(c *gin.Context, dst any) error {
	// {} says nothing, and is what most say who join.
	var start [3]byte
	n, err := io.ReadFull(c.Request.Body, start[:])
	if n == 0 && errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) && string(start[:n]) == "{}" {
		return nil
	}
	dec := json.NewDecoder(io.MultiReader(bytes.NewReader(start[:n]), c.Request.Body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(dst); err != nil {
		if errors.Is(err, io.EOF) {
			return nil
		}
		return badJSON(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return badJSON(err)
		}
		return fault.New(fault.Invalid, "the body holds more than one JSON value")
	}
	return nil
}

// badJSON names what is wrong with a body without echoing it at length.
func badJSON(err error) error {
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return fault.New(fault.TooLarge, "the body is larger than %d bytes", e.Limit)
	}
	if f, ok := fault.Of(err); ok { // of a type that reads its own text
		return f
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if e.Field == "" {
			return fault.New(fault.Invalid, "the body must be a JSON object, not a %s", e.Value)
		}
		return fault.New(fault.Invalid, "field %q: %s is expected, not a %s", e.Field, jsonKind(e.Type), e.Value)
	}
	if e, ok := errors.AsType[*time.ParseError](err); ok {
		return fault.New(fault.Invalid, "%q is not a time such as 2027-03-01T19:00:00Z", clip(strings.Trim(e.Value, `"`)))
	}
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fault.New(fault.Invalid, "the body is not valid JSON at byte %d", e.Offset)
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return fault.New(fault.Invalid, "unknown field %s", clip(name))
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fault.New(fault.Invalid, "the body ends in the middle of a JSON value")
	}
	if strings.Contains(err.Error(), "Time.UnmarshalJSON") { // has no type of its own
		return fault.New(fault.Invalid, "a time must be a string such as \"2027-03-01T19:00:00Z\"")
	}
	return fault.Wrap(err, fault.Invalid, "the body cannot be read")
}

// jsonKind names what JSON has for values of t.
func jsonKind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return jsonKind(t.Elem())
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "an array"
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Float32, reflect.Float64:
		return "a number"
	default:
		return "a whole number"
	}
}

// id reads a path parameter that must be a UUID; anything else is not found.
func id(c *gin.Context, param string) (string, error) {
	v := c.Param(param)
	if u, err := uuid.Parse(v); err == nil && len(v) == 36 {
		return u.String(), nil
	}
	return "", fault.New(fault.NotFound, "%q in the path is not an id", clip(v))
}

// limitOf reads how many entries a page may have, or the default.
func limitOf(c *gin.Context, def, most int) (int, error) {
	v := c.Query("limit")
	if v == "" {
		return def, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > most {
		return 0, fault.New(fault.Invalid, "query parameter \"limit\" must be a whole number from 1 to %d", most)
	}
	return n, nil
}

// knownQuery refuses query parameters other than the named ones.
func knownQuery(c *gin.Context, names ...string) error {
next:
	for given := range c.Request.URL.Query() {
		for _, name := range names {
			if given == name {
				continue next
			}
		}
		return fault.New(fault.Invalid, "unknown query parameter %q; known are %s", clip(given), strings.Join(names, ", "))
	}
	return nil
}

// clip bounds what of the input goes into an answer.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return strings.ToValidUTF8(s, "")
}

// instant reads a query parameter that is a time, or nothing.
func instant(c *gin.Context, name string) (t time.Time, err error) {
	if v := c.Query(name); v != "" {
		if t, err = time.Parse(time.RFC3339, v); err != nil {
			err = fault.Wrap(err, fault.Invalid, "query parameter %q must be a time such as 2027-03-01T00:00:00Z", name)
		}
	}
	return t, err
}
