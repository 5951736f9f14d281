package web_test

import (
	"encoding/json"
	"maps"
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
