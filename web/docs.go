package web

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"regexp"
	"strings"

	"onsale/internal/fault"
)

//go:embed docs.html
var docsPage string

//go:embed docs.css
var docsStyle string

// docs is what the page shows.
type docs struct {
	Title, Version, Summary string
	Style                   template.CSS
	Intro                   template.HTML
	Groups                  []docsGroup
	Credentials             []docsCredential
	Schemas                 []docsSchema
	Problems                []docsProblem
}

type docsGroup struct {
	Name, Anchor string
	About        template.HTML
	Operations   []docsOperation
}

type docsOperation struct {
	ID, Method, Path, Summary string
	WebSocket                 bool
	About                     template.HTML
	Credentials               []string
	Parameters                []docsField
	Body                      *docsContent
	Answers                   []docsContent
	Frames                    []docsContent
	Problems                  []docsProblem
}

// docsContent is a body: of a request or an answer.
type docsContent struct {
	Status, Kind, Example string
	About, Type           template.HTML
	Fields                []docsField // of a schema without a name
	Headers               []string
}

type docsField struct {
	Name, In string
	Required bool
	Type     template.HTML
	About    template.HTML
}

type docsSchema struct {
	Name, Example string
	About, Type   template.HTML
	Fields        []docsField
}

type docsCredential struct {
	Name, Kind string
	About      template.HTML
}

type docsProblem struct {
	Code, Title string
	Status      int
	About       template.HTML
}

// renderDocs writes the document as a page, and the policy it needs.
func renderDocs(doc object) (page []byte, policy string, err error) {
	t, err := template.New("docs").Parse(docsPage)
	if err != nil {
		return nil, "", err
	}
	info := doc.object("info")
	d := docs{
		Title: info.text("title"), Version: info.text("version"), Summary: info.text("summary"),
		Style: template.CSS(docsStyle), //nolint:gosec // our own file
		Intro: prose(info.text("description")),
	}
	r := docsWriter{doc: doc, groups: make(map[string]int)}
	tags, _ := doc.get("tags").([]any)
	for i, tag := range tags {
		o, _ := tag.(object)
		name := o.text("name")
		r.groups[name] = i
		d.Groups = append(d.Groups, docsGroup{
			Name: name, Anchor: strings.ReplaceAll(strings.ToLower(name), " ", "-"), About: prose(o.text("description")),
		})
	}
	err = operations(doc, func(method, path string, op *object) error {
		tags := op.texts("tags")
		if len(tags) != 1 {
			return fmt.Errorf("%s %s: one tag is expected", method, path)
		}
		group, ok := r.groups[tags[0]]
		if !ok {
			return fmt.Errorf("%s %s: the tag %q is not known", method, path, tags[0])
		}
		d.Groups[group].Operations = append(d.Groups[group].Operations, r.operation(method, path, *op))
		return nil
	})
	if err != nil {
		return nil, "", err
	}
	components := doc.object("components")
	for _, m := range components.object("securitySchemes") {
		o, _ := m.value.(object)
		kind := "Bearer token"
		if o.text("in") == "cookie" {
			kind = "Cookie " + o.text("name")
		}
		d.Credentials = append(d.Credentials, docsCredential{m.name, kind, prose(o.text("description"))})
	}
	for _, m := range components.object("schemas") {
		o, _ := m.value.(object)
		d.Schemas = append(d.Schemas, docsSchema{
			Name: m.name, About: prose(o.text("description")), Type: typeOf(o), Fields: r.fields("", o), Example: example(o),
		})
	}
	for _, m := range doc.object("x-problem-types") {
		d.Problems = append(d.Problems, r.problem(m.name))
	}
	var b bytes.Buffer
	if err := t.Execute(&b, d); err != nil {
		return nil, "", err
	}
	sum := sha256.Sum256([]byte(docsStyle))
	policy = "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	return b.Bytes(), policy, nil
}

// docsWriter turns parts of the document into what the page shows.
type docsWriter struct {
	doc    object
	groups map[string]int
}

func (r *docsWriter) operation(method, path string, op object) docsOperation {
	o := docsOperation{
		ID: op.text("operationId"), Method: method, Path: path, Summary: op.text("summary"), About: prose(op.text("description")),
	}
	security, given := op.get("security").([]any)
	if !given {
		security, _ = r.doc.get("security").([]any)
	}
	for _, s := range security {
		one, _ := s.(object)
		if len(one) > 0 {
			o.Credentials = append(o.Credentials, one[0].name)
		}
	}
	parameters, _ := op.get("parameters").([]any)
	for _, p := range parameters {
		p, _ := p.(object)
		p = resolve(r.doc, p)
		required, _ := p.get("required").(bool)
		o.Parameters = append(o.Parameters, docsField{
			Name: p.text("name"), In: p.text("in"), Required: required, Type: typeOf(p.object("schema")), About: prose(p.text("description")),
		})
	}
	if body := resolve(r.doc, op.object("requestBody")); body != nil {
		if contents := r.contents("", body); len(contents) > 0 {
			o.Body = &contents[0]
		}
	}
	for _, m := range op.object("responses") {
		response, _ := m.value.(object)
		response = resolve(r.doc, response)
		o.WebSocket = o.WebSocket || m.name == "101"
		switch contents := r.contents(m.name, response); {
		case len(contents) > 0:
			o.Answers = append(o.Answers, contents...)
		case response.object("content") == nil || m.name == "401" && response.object("headers").get("Location") != nil:
			o.Answers = append(o.Answers, docsContent{
				Status: m.name, About: prose(response.text("description")), Headers: headersOf(response),
			})
		}
	}
	for _, name := range op.texts("x-frames") {
		schema := reference("schemas", name)
		o.Frames = append(o.Frames, docsContent{Type: typeOf(schema), Example: example(resolve(r.doc, schema))})
	}
	for _, code := range op.texts("x-problems") {
		o.Problems = append(o.Problems, r.problem(code))
	}
	return o
}

// contents are the bodies of a request or an answer, but for problems.
func (r *docsWriter) contents(status string, of object) []docsContent {
	var list []docsContent
	for _, m := range of.object("content") {
		if m.name == "application/problem+json" {
			continue
		}
		media, _ := m.value.(object)
		schema := media.object("schema")
		c := docsContent{
			Status: status, Kind: m.name, About: prose(of.text("description")), Type: typeOf(schema), Headers: headersOf(of),
		}
		if schema.get("$ref") == nil {
			c.Fields = r.fields("", schema)
		}
		if v := media.get("example"); v != nil {
			c.Example = pretty(v)
		} else if examples := media.object("examples"); len(examples) > 0 {
			var all []string
			for _, e := range examples {
				one, _ := e.value.(object)
				all = append(all, pretty(one.get("value")))
			}
			c.Example = strings.Join(all, "\n\n")
		} else {
			c.Example = example(resolve(r.doc, schema))
		}
		list = append(list, c)
	}
	return list
}

// headersOf lists the headers of an answer but those that most answers have.
func headersOf(response object) []string {
	var names []string
	for _, m := range response.object("headers") {
		if m.name != "X-Request-Id" && m.name != "Cache-Control" {
			names = append(names, m.name)
		}
	}
	return names
}

// fields lists the members of a schema, and those of schemas without a name
// inside it under their path.
func (r *docsWriter) fields(prefix string, schema object) []docsField {
	if items := schema.object("items"); items != nil {
		return r.fields(prefix+"[]", items)
	}
	var list []docsField
	required := schema.texts("required")
	for _, m := range schema.object("properties") {
		property, _ := m.value.(object)
		path := strings.TrimPrefix(prefix+"."+m.name, ".")
		f := docsField{Name: path, Type: typeOf(property), About: prose(property.text("description"))}
		for _, name := range required {
			f.Required = f.Required || name == m.name
		}
		list = append(list, f)
		list = append(list, r.fields(path, property)...)
	}
	if each, ok := schema.get("additionalProperties").(object); ok {
		list = append(list, r.fields(strings.TrimPrefix(prefix+".<name>", "."), each)...)
	}
	return list
}

func (r *docsWriter) problem(code string) docsProblem {
	kind := kinds[fault.Code(code)]
	return docsProblem{code, kind.title, kind.status, prose(r.doc.object("x-problem-types").text(code))}
}

func example(schema object) string {
	examples, _ := schema.get("examples").([]any)
	if len(examples) == 0 {
		return ""
	}
	if _, ok := examples[0].(object); !ok {
		return "" // a scalar says nothing
	}
	return pretty(examples[0])
}

func pretty(v any) string {
	compact, err := encode(v)
	if err != nil {
		return ""
	}
	var b bytes.Buffer
	if json.Indent(&b, compact, "", "  ") != nil {
		return ""
	}
	return b.String()
}

// typeOf says in a few words what a schema takes.
func typeOf(schema object) template.HTML {
	text := template.HTMLEscapeString
	var words string
	switch {
	case schema == nil:
		return ""
	case schema.get("$ref") != nil:
		path := strings.Split(schema.text("$ref"), "/")
		name := path[len(path)-1]
		if len(path) > 4 { // a part of another schema
			name = path[3]
		}
		words = `<a href="#schema-` + text(name) + `">` + text(name) + `</a>`
	case schema.get("const") != nil:
		words = "<code>" + text(fmt.Sprint(schema.get("const"))) + "</code>"
	case schema.get("enum") != nil:
		words = "<code>" + strings.Join(schema.texts("enum"), "</code> <code>") + "</code>"
	case schema.get("anyOf") != nil:
		options, _ := schema.get("anyOf").([]any)
		var names []string
		for _, option := range options {
			o, _ := option.(object)
			names = append(names, string(typeOf(o)))
		}
		words = strings.Join(names, " or ")
	default:
		names := schema.texts("type")
		if len(names) == 0 {
			names = []string{schema.text("type")}
		}
		words = text(strings.Join(names, " or "))
		if items := schema.object("items"); items != nil {
			words = strings.Replace(words, "array", "array of "+string(typeOf(items)), 1)
		}
		if format := schema.text("format"); format != "" {
			words += " (" + text(format) + ")"
		}
	}
	return template.HTML(words + text(boundsOf(schema))) //nolint:gosec // escaped above
}

// boundsOf says what a value must lie within.
func boundsOf(schema object) string {
	var b strings.Builder
	for _, bound := range [...]struct{ name, words string }{
		{"minimum", "from %v"}, {"maximum", "to %v"}, {"maxLength", "at most %v characters"},
		{"maxItems", "at most %v"}, {"pattern", "matching %v"}, {"default", "else %v"},
	} {
		if v := schema.get(bound.name); v != nil {
			fmt.Fprintf(&b, ", "+bound.words, v)
		}
	}
	return strings.Replace(b.String(), ", from 0", "", 1)
}

var (
	codeSpan   = regexp.MustCompile("`([^`]+)`")
	strongSpan = regexp.MustCompile(`\*\*([^*]+)\*\*`)
)

// prose turns the little Markdown that the document uses into HTML: paragraphs,
// headings (##), fenced code, and spans of `code` and **strong** text.
func prose(text string) template.HTML {
	var b strings.Builder
	fenced := false
	for paragraph := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		for i, part := range strings.Split(paragraph, "```") {
			part = template.HTMLEscapeString(strings.Trim(part, "\n"))
			if i > 0 {
				fenced = !fenced
			}
			if part == "" {
				continue
			}
			if fenced {
				b.WriteString("<pre tabindex=\"0\">" + part + "</pre>\n")
				continue
			}
			if heading, rest, ok := strings.Cut(part, "\n"); strings.HasPrefix(heading, "## ") && ok {
				b.WriteString("<h2>" + strings.TrimPrefix(heading, "## ") + "</h2>\n")
				part = rest
			}
			part = codeSpan.ReplaceAllString(part, "<code>$1</code>")
			b.WriteString("<p>" + strongSpan.ReplaceAllString(part, "<strong>$1</strong>") + "</p>\n")
		}
	}
	return template.HTML(b.String()) //nolint:gosec // escaped above, and our own text
}
