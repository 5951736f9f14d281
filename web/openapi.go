package web

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/gin-gonic/gin"
	"go.yaml.in/yaml/v3"

	"onsale/internal/fault"
)

//go:embed openapi.yaml
var openapiSource []byte

// cacheDocument lets the document be kept for a while: it changes with releases.
const cacheDocument = "public, max-age=300"

// apiDocument is the OpenAPI document as it is served.
type apiDocument struct {
	json    []byte
	page    []byte // for people
	policy  string // Content-Security-Policy of page
	queries map[string][]string
}

// loadAPI reads the document once per process.
var loadAPI = sync.OnceValues(func() (*apiDocument, error) {
	d, err := newAPIDocument(openapiSource)
	if err != nil {
		return nil, fmt.Errorf("web: openapi.yaml: %w", err)
	}
	return d, nil
})

func newAPIDocument(source []byte) (*apiDocument, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(source, &root); err != nil {
		return nil, err
	}
	whole, err := fromYAML(&root)
	if err != nil {
		return nil, err
	}
	doc, ok := whole.(object)
	if !ok {
		return nil, fmt.Errorf("an object is expected, not %T", whole)
	}
	d := &apiDocument{queries: make(map[string][]string)}
	err = operations(doc, func(method, path string, op *object) error {
		if err := addProblems(op); err != nil {
			return fmt.Errorf("%s %s: %w", method, path, err)
		}
		if slices.Contains(op.texts("x-problems"), string(fault.Invalid)) {
			d.queries[method+" "+path] = queryNames(doc, op)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if d.json, err = encode(doc); err != nil {
		return nil, err
	}
	d.page, d.policy, err = renderDocs(doc)
	return d, err
}

// operations calls f for every operation, in the order of the document. What f
// sets in op stays in doc.
func operations(doc object, f func(method, path string, op *object) error) error {
	for _, path := range doc.object("paths") {
		methods, _ := path.value.(object)
		for i, m := range methods {
			op, ok := m.value.(object)
			if !ok {
				return fmt.Errorf("%s %s is no operation", m.name, path.name)
			}
			if err := f(strings.ToUpper(m.name), path.name, &op); err != nil {
				return err
			}
			methods[i].value = op
		}
	}
	return nil
}

// addProblems turns an operation's x-problems into responses, one per status
// with an example of each problem, and gives every response its X-Request-Id.
func addProblems(op *object) error {
	byStatus := make(map[int][]string)
	for _, code := range append(op.texts("x-problems"), string(fault.Internal)) {
		kind, known := kinds[fault.Code(code)]
		if !known {
			return fmt.Errorf("the problem %q is not known", code)
		}
		byStatus[kind.status] = append(byStatus[kind.status], code)
	}
	responses := op.object("responses")
	for _, status := range slices.Sorted(maps.Keys(byStatus)) {
		name := strconv.Itoa(status)
		response := responses.object(name) // there already where it has more to say
		var types []any
		var examples object
		var titles []string
		for _, code := range byStatus[status] {
			title := kinds[fault.Code(code)].title
			titles = append(titles, title)
			types = append(types, problemBase+code)
			examples.set(code, object{{"summary", title}, {"value", object{
				{"type", problemBase + code}, {"title", title}, {"status", status}, {"detail", "…"},
				{"instance", "/v1/…"}, {"request_id", "0190b0a0-8c3e-7a41-9d5e-3f1f6f1f0001"},
			}}})
		}
		if response.get("description") == nil {
			response.set("description", strings.Join(titles, "; "))
		}
		if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
			headers := response.object("headers")
			headers.set("Retry-After", reference("headers", "RetryAfter"))
			response.set("headers", headers)
		}
		content := response.object("content")
		content.set("application/problem+json", object{
			{"schema", object{{"allOf", []any{
				reference("schemas", "Problem"),
				object{{"type", "object"}, {"properties", object{{"type", object{{"enum", types}}}}}},
			}}}},
			{"examples", examples},
		})
		response.set("content", content)
		responses.set(name, response)
	}
	for i, r := range responses {
		response, _ := r.value.(object)
		if response.get("$ref") != nil {
			continue // NotModified, which has the header itself
		}
		headers := response.object("headers")
		headers.set("X-Request-Id", reference("headers", "RequestId"))
		response.set("headers", headers)
		responses[i].value = response
	}
	op.set("responses", responses)
	return nil
}

func reference(kind, name string) object {
	return object{{"$ref", "#/components/" + kind + "/" + name}}
}

// resolve follows the reference that o is, if it is one.
func resolve(doc, o object) object {
	path, ok := o.get("$ref").(string)
	if !ok {
		return o
	}
	at := doc
	for name := range strings.SplitSeq(strings.TrimPrefix(path, "#/"), "/") {
		at = at.object(name)
	}
	return resolve(doc, at)
}

func queryNames(doc object, op *object) []string {
	names := []string{}
	parameters, _ := op.get("parameters").([]any)
	for _, p := range parameters {
		o, _ := p.(object)
		if o = resolve(doc, o); o.get("in") == "query" {
			names = append(names, o.text("name"))
		}
	}
	return names
}

// openapiJSON serves the document to programs.
func (s *Server) openapiJSON(c *gin.Context) {
	etagged(c, s.api.json, jsonType, cacheDocument)
}

// docsHTML serves the document to people.
func (s *Server) docsHTML(c *gin.Context) {
	c.Header("Content-Security-Policy", s.api.policy)
	etagged(c, s.api.page, "text/html; charset=utf-8", cacheDocument)
}

// knownQueries refuses query parameters that the document does not have.
func (s *Server) knownQueries(c *gin.Context) {
	if c.Request.URL.RawQuery == "" {
		return
	}
	names, ok := s.api.queries[c.Request.Method+" "+documented(c.FullPath())]
	if !ok {
		return
	}
	if err := query(c, names...); err != nil {
		s.fail(c, err)
	}
}

// documented is the path of a route as the document has it.
func documented(route string) string {
	if route == "/reserve_ticket" || route == "/purchase_ticket" {
		return route + "/" // two spellings of one path
	}
	parts := strings.Split(route, "/")
	for i, part := range parts {
		if name, ok := strings.CutPrefix(part, ":"); ok {
			parts[i] = "{" + name + "}"
		}
	}
	return strings.Join(parts, "/")
}

// object is a JSON object that keeps the order of its members. Its values are
// of the types that fromYAML makes.
type object []member

type member struct {
	name  string
	value any
}

func (o object) get(name string) any {
	for i := range o {
		if o[i].name == name {
			return o[i].value
		}
	}
	return nil
}

// object is a member that is an object; nil if it is not.
func (o object) object(name string) object {
	member, _ := o.get(name).(object)
	return member
}

// text is a member that is a string; "" if it is not.
func (o object) text(name string) string {
	s, _ := o.get(name).(string)
	return s
}

// texts is a member that is an array of strings.
func (o object) texts(name string) []string {
	array, _ := o.get(name).([]any)
	var list []string
	for _, item := range array {
		if s, ok := item.(string); ok {
			list = append(list, s)
		}
	}
	return list
}

func (o *object) set(name string, value any) {
	for i := range *o {
		if (*o)[i].name == name {
			(*o)[i].value = value
			return
		}
	}
	*o = append(*o, member{name, value})
}

// MarshalJSON implements json.Marshaler.
func (o object) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, m := range o {
		if i > 0 {
			b = append(b, ',')
		}
		name, err := encode(m.name)
		if err != nil {
			return nil, err
		}
		value, err := encode(m.value)
		if err != nil {
			return nil, err
		}
		b = append(append(append(b, name...), ':'), value...)
	}
	return append(b, '}'), nil
}

// encode is json.Marshal without HTML's escapes.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// fromYAML returns nil, a bool, int, float64 or string, an []any or an object.
// Every use of an anchor gets a value of its own.
func fromYAML(n *yaml.Node) (any, error) {
	switch n.Kind {
	case yaml.DocumentNode:
		return fromYAML(n.Content[0])
	case yaml.AliasNode:
		return fromYAML(n.Alias)
	case yaml.SequenceNode:
		array := make([]any, len(n.Content))
		for i, item := range n.Content {
			var err error
			if array[i], err = fromYAML(item); err != nil {
				return nil, err
			}
		}
		return array, nil
	case yaml.MappingNode:
		var o object
		for i := 0; i < len(n.Content); i += 2 {
			value, err := fromYAML(n.Content[i+1])
			if err != nil {
				return nil, err
			}
			if merged, ok := value.(object); ok && n.Content[i].Tag == "!!merge" {
				o = append(o, merged...) // stands first; what follows replaces
				continue
			}
			o.set(n.Content[i].Value, value)
		}
		return o, nil
	}
	if n.ShortTag() == "!!timestamp" {
		return n.Value, nil // a date in quotes or not
	}
	var v any
	err := n.Decode(&v)
	return v, err
}
