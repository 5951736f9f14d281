package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"onsale/internal/fault"
)

// Bounds of a document. They are far above what a real house needs and keep a
// hostile file from eating the memory.
const (
	mostDocumentBytes = 64 << 20
	mostDepth         = 32
	mostKeys          = 1000 // in one object
	mostText          = 200  // runes in a name
)

type kind byte

const (
	isNull kind = iota
	isBool
	isNumber
	isString
	isArray
	isObject
)

func (k kind) String() string {
	return [...]string{"null", "a boolean", "a number", "a string", "an array", "an object"}[k]
}

// node is a JSON value that knows where it stands. encoding/json alone stops at
// the first wrong type, forgets the order of keys and lets the last of two equal
// keys win silently; an importer has to name all of these.
type node struct {
	parent *node
	key    string // within an object
	index  int    // within an array, or -1
	kind   kind
	text   string  // of a string, number or boolean
	number float64 // of a number
	items  []*node // of an array or, in the order of the file, an object
}

// path is the JSON path of the value.
func (n *node) path() string {
	var parts []string
	for ; n.parent != nil; n = n.parent {
		switch {
		case n.index >= 0:
			parts = append(parts, "["+strconv.Itoa(n.index)+"]")
		case plainKey(n.key):
			parts = append(parts, "."+n.key)
		default:
			parts = append(parts, "["+strconv.Quote(clip(n.key))+"]")
		}
	}
	slices.Reverse(parts)
	return "$" + strings.Join(parts, "")
}

func plainKey(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i, r := range s {
		if r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return true
}

// clip bounds what of a document goes into a message.
func clip(s string) string {
	if len(s) <= 64 {
		return s
	}
	return strings.ToValidUTF8(s[:64], "") + "…"
}

// parseDocument reads one JSON value. Broken syntax, other encodings, numbers
// beyond float64 and too deep nesting are faults; equal keys in one object and
// NUL characters, which Postgres cannot store, are problems.
func parseDocument(doc []byte, what string, r *review) (*node, error) {
	if len(doc) > mostDocumentBytes {
		return nil, fault.New(fault.TooLarge, "%s is larger than %d MB", what, mostDocumentBytes>>20)
	}
	doc = bytes.TrimPrefix(doc, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(doc) {
		return nil, fault.New(fault.Invalid, "%s is not UTF-8 text", what)
	}
	var whole json.RawMessage
	if err := json.Unmarshal(doc, &whole); err != nil {
		if e, ok := errors.AsType[*json.SyntaxError](err); ok {
			line, column := lineColumn(doc, e.Offset)
			return nil, fault.New(fault.Invalid, "%s is not valid JSON at line %d, column %d: %s", what, line, column, e)
		}
		return nil, fault.New(fault.Invalid, "%s is not valid JSON: %s", what, err)
	}
	d := treeDecoder{dec: json.NewDecoder(bytes.NewReader(doc)), review: r}
	d.dec.UseNumber()
	root, err := d.value(nil, "", -1, 0)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%s: %s", what, err)
	}
	return root, nil
}

func lineColumn(doc []byte, offset int64) (line, column int) {
	before := doc[:min(max(offset-1, 0), int64(len(doc)))]
	return bytes.Count(before, []byte("\n")) + 1, len(before) - bytes.LastIndexByte(before, '\n')
}

type treeDecoder struct {
	dec    *json.Decoder
	review *review
}

func (d *treeDecoder) value(parent *node, key string, index, depth int) (*node, error) {
	n := &node{parent: parent, key: key, index: index}
	if depth > mostDepth {
		return nil, errors.New("nested deeper than " + strconv.Itoa(mostDepth) + " levels at " + n.path())
	}
	token, err := d.dec.Token()
	if err != nil {
		return nil, err
	}
	switch t := token.(type) {
	case nil:
		n.kind = isNull
	case bool:
		n.kind, n.text = isBool, strconv.FormatBool(t)
	case json.Number:
		n.kind, n.text = isNumber, t.String()
		if n.number, err = strconv.ParseFloat(n.text, 64); err != nil || math.IsInf(n.number, 0) {
			return nil, errors.New("the number at " + n.path() + " is out of range")
		}
	case string:
		n.kind, n.text = isString, t
		d.refuseNUL(n, t)
	case json.Delim:
		if t == '[' {
			n.kind = isArray
			for d.dec.More() {
				item, err := d.value(n, "", len(n.items), depth+1)
				if err != nil {
					return nil, err
				}
				n.items = append(n.items, item)
			}
		} else {
			n.kind = isObject
			if err := d.members(n, depth); err != nil {
				return nil, err
			}
		}
		if _, err := d.dec.Token(); err != nil { // the closing bracket
			return nil, err
		}
	}
	return n, nil
}

func (d *treeDecoder) members(n *node, depth int) error {
	for d.dec.More() {
		token, err := d.dec.Token()
		if err != nil {
			return err
		}
		if len(n.items) >= mostKeys {
			return errors.New("the object at " + n.path() + " has more than " + strconv.Itoa(mostKeys) + " keys")
		}
		key, _ := token.(string)
		item, err := d.value(n, key, -1, depth+1)
		if err != nil {
			return err
		}
		d.refuseNUL(item, key)
		if n.get(key) != nil {
			d.review.problemf(item, "this key stands twice in one object")
			continue
		}
		n.items = append(n.items, item)
	}
	return nil
}

func (d *treeDecoder) refuseNUL(at *node, s string) {
	if strings.ContainsRune(s, 0) {
		d.review.problemf(at, "contains a NUL character")
	}
}

// get is the member with this key, nil when there is none.
func (n *node) get(key string) *node {
	if n == nil || n.kind != isObject {
		return nil
	}
	for _, m := range n.items {
		if m.key == key {
			return m
		}
	}
	return nil
}

// given is like get, and treats null as absent.
func (n *node) given(key string) *node {
	m := n.get(key)
	if m == nil || m.kind == isNull {
		return nil
	}
	return m
}

// canonical encodes the value without insignificant space, keys in the order of
// the file. Equal documents in this sense are the same document.
func (n *node) canonical(b []byte) []byte {
	switch n.kind {
	case isString:
		return appendString(b, n.text)
	case isNumber, isBool:
		return append(b, n.text...)
	case isArray:
		b = append(b, '[')
		for i, item := range n.items {
			if i > 0 {
				b = append(b, ',')
			}
			b = item.canonical(b)
		}
		return append(b, ']')
	case isObject:
		b = append(b, '{')
		for i, item := range n.items {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendString(b, item.key), ':')
			b = item.canonical(b)
		}
		return append(b, '}')
	default:
		return append(b, "null"...)
	}
}

func appendString(b []byte, s string) []byte {
	q, err := json.Marshal(s)
	if err != nil { // cannot happen for a string
		return append(b, `""`...)
	}
	return append(b, q...)
}

// object checks the kind and names unknown keys through unknown.
func (r *review) object(n *node, unknown func(*node), known ...string) bool {
	if n.kind != isObject {
		r.problemf(n, "an object is expected, not %s", n.kind)
		return false
	}
	for _, m := range n.items {
		if !slices.Contains(known, m.key) {
			unknown(m)
		}
	}
	return true
}

// array returns the items of a member that must be an array; absent is empty.
func (r *review) array(n *node, key string) []*node {
	m := n.given(key)
	if m == nil {
		return nil
	}
	if m.kind != isArray {
		r.problemf(m, "an array is expected, not %s", m.kind)
		return nil
	}
	return m.items
}

// text returns a member that must be a short text, without the space around it.
// Numbers are taken as they are written: some editors number seats like that.
func (r *review) text(n *node, key string) string {
	m := n.given(key)
	if m == nil {
		return ""
	}
	return r.textOf(m, mostText)
}

func (r *review) textOf(m *node, most int) string {
	if m.kind != isString && m.kind != isNumber {
		r.problemf(m, "a string is expected, not %s", m.kind)
		return ""
	}
	s := strings.TrimSpace(m.text)
	if utf8.RuneCountInString(s) > most {
		r.problemf(m, "is longer than %d characters", most)
		return ""
	}
	if i := strings.IndexFunc(s, func(c rune) bool { return unicode.IsControl(c) && c != '\n' && c != '\t' }); i >= 0 {
		r.problemf(m, "contains a control character")
		return ""
	}
	return s
}

// integer returns a member that must be a whole number within bounds, or def.
func (r *review) integer(n *node, key string, def, low, high int64) int64 {
	m := n.given(key)
	if m == nil {
		return def
	}
	if m.kind != isNumber {
		r.problemf(m, "a whole number is expected, not %s", m.kind)
		return def
	}
	v, err := strconv.ParseInt(m.text, 10, 64)
	if err != nil || v < low || v > high {
		r.problemf(m, "must be a whole number from %d to %d", low, high)
		return def
	}
	return v
}

// yes reads true or false; absent is false.
func (r *review) yes(n *node, key string) bool {
	m := n.given(key)
	if m == nil {
		return false
	}
	if m.kind != isBool {
		r.problemf(m, "true or false is expected, not %s", m.kind)
	}
	return m.text == "true"
}

// float returns a member that must be a number of moderate size, or 0.
func (r *review) float(n *node, key string) float64 {
	m := n.given(key)
	if m == nil {
		return 0
	}
	if m.kind != isNumber {
		r.problemf(m, "a number is expected, not %s", m.kind)
		return 0
	}
	if math.Abs(m.number) > mostPixels {
		r.problemf(m, "is beyond ±%d", int(mostPixels))
		return 0
	}
	return m.number
}
