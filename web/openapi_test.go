package web_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"

	"onsale/web"
)

func TestDocumentIsValid(t *testing.T) {
	t.Parallel()
	doc, err := libopenapi.NewDocument(api(t).raw)
	must(t, err)
	v, errs := validator.NewValidator(doc)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if ok, wrong := v.ValidateDocument(); !ok {
		t.Error(complaints(wrong))
	}
}

// TestDocumentHasAllRoutes, and no others.
func TestDocumentHasAllRoutes(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	routes := make(map[string]bool)
	for _, r := range s.server.Routes() {
		if !slices.Contains(pages, r.Path) {
			routes[r.Method+" "+web.Documented(r.Path)] = true
		}
	}
	documented := make(map[string]bool)
	for path, item := range api(t).model.Paths.PathItems.FromOldest() {
		for method := range item.GetOperations().FromOldest() {
			documented[strings.ToUpper(method)+" "+path] = true
		}
	}
	for route := range routes {
		if !documented[route] {
			t.Errorf("%s is not in the document", route)
		}
	}
	for path := range documented {
		if !routes[path] {
			t.Errorf("%s is documented, but there is no such route", path)
		}
	}
}

// TestDocumentHasAllProblems with the same codes as the server's table.
func TestDocumentHasAllProblems(t *testing.T) {
	t.Parallel()
	var doc struct {
		Types map[string]string `json:"x-problem-types"`
	}
	must(t, json.Unmarshal(api(t).raw, &doc))
	want, got := slices.Sorted(maps.Keys(web.Problems())), slices.Sorted(maps.Keys(doc.Types))
	if !slices.Equal(want, got) {
		t.Errorf("problems: documented are\n%v, the server knows\n%v", got, want)
	}
}

// TestExamplesAreTrue holds every example of the document against its schema.
func TestExamplesAreTrue(t *testing.T) {
	t.Parallel()
	d := api(t)
	seen := 0
	for name, proxy := range d.model.Components.Schemas.FromOldest() {
		schema := proxy.Schema()
		for _, example := range schema.Examples {
			var v any
			must(t, example.Decode(&v))
			b, err := json.Marshal(v)
			must(t, err)
			if wrong := d.value(schema, b); wrong != "" {
				t.Errorf("example of %s: %s\n%s", name, b, wrong)
			}
			seen++
		}
	}
	for path, item := range d.model.Paths.PathItems.FromOldest() {
		for method, op := range item.GetOperations().FromOldest() {
			if op.RequestBody == nil {
				continue
			}
			for _, media := range op.RequestBody.Content.FromOldest() {
				if media.Example == nil {
					continue
				}
				var v any
				must(t, media.Example.Decode(&v))
				b, err := json.Marshal(v)
				must(t, err)
				if wrong := d.value(media.Schema.Schema(), b); wrong != "" {
					t.Errorf("example of %s %s: %s\n%s", method, path, b, wrong)
				}
				seen++
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d examples were found", seen)
	}
}

// TestDocsShowTheWholeDocument, with links that lead somewhere and a style that
// the policy allows.
func TestDocsShowTheWholeDocument(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	page := s.get("/docs").ok(200, nil)
	html := string(page.body)
	ids := make(map[string]bool)
	for _, m := range regexp.MustCompile(` id="([^"]*)"`).FindAllStringSubmatch(html, -1) {
		if ids[m[1]] {
			t.Errorf("the id %q is there twice", m[1])
		}
		ids[m[1]] = true
	}
	for _, m := range regexp.MustCompile(` href="#([^"]*)"`).FindAllStringSubmatch(html, -1) {
		if !ids[m[1]] {
			t.Errorf("a link leads to #%s, which is not there", m[1])
		}
	}
	for path, item := range api(t).model.Paths.PathItems.FromOldest() {
		for method, op := range item.GetOperations().FromOldest() {
			if !ids[op.OperationId] || !strings.Contains(html, "<code>"+path+"</code>") {
				t.Errorf("%s %s is not shown", method, path)
			}
		}
	}
	for name := range api(t).model.Components.Schemas.FromOldest() {
		if !ids["schema-"+name] {
			t.Errorf("the schema %s is not shown", name)
		}
	}
	for code := range web.Problems() {
		if !ids["problem-"+code] {
			t.Errorf("the problem %s is not shown", code)
		}
	}
	style := regexp.MustCompile(`(?s)<style>(.*?)</style>`).FindStringSubmatch(html)
	sum := sha256.Sum256([]byte(style[1]))
	if policy := page.header.Get("Content-Security-Policy"); !strings.Contains(policy, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") {
		t.Errorf("the style is not in the policy %s", policy)
	}
	if strings.Contains(html, "<script") || strings.Contains(html, "ZgotmplZ") || strings.Contains(html, "&lt;a href") || strings.Contains(html, "&lt;p&gt;") {
		t.Error("the page has a script, or text that was escaped twice")
	}
}

// TestHeadAndNotModified: what caches ask.
func TestHeadAndNotModified(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	event := "/v1/events/" + s.event
	for _, path := range []string{"/openapi.json", "/docs", "/v1/events", event, event + "/tickets", event + "/plan", event + "/availability", "/event/" + s.event, "/event/search"} {
		full := s.get(path).ok(200, nil)
		tag := full.header.Get("ETag")
		if tag == "" || full.header.Get("Cache-Control") == "" {
			t.Errorf("%s: headers %v", path, full.header)
		}
		// What changes from second to second may have changed meanwhile.
		again := eventually(t, path+" is not modified", func() reply { return s.get(path, header("If-None-Match", tag)) }, func(r reply) bool {
			tag = r.header.Get("ETag")
			return r.status == http.StatusNotModified
		})
		if len(again.body) != 0 {
			t.Errorf("%s: 304 with %d bytes", path, len(again.body))
		}
		head := s.do(http.MethodHead, path, "").ok(200, nil)
		if len(head.body) != 0 || head.header.Get("ETag") == "" {
			t.Errorf("HEAD %s: %d bytes, %v", path, len(head.body), head.header)
		}
	}
	s.do(http.MethodHead, "/v1/events/1", "").ok(404, nil)
	s.do(http.MethodHead, "/v1/orders", "").ok(405, nil)
}
