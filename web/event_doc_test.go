package web_test

import (
	"strings"
	"testing"
)

// The document of an event is kept encoded; what it says must not be.
func TestAnEventsPageFollowsEveryChange(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	path := "/v1/events/" + b.event.ID
	read := func() (e eventAnswer, tag string) {
		t.Helper()
		w := b.get(200, path, &e)
		if cache := w.Header().Get("Cache-Control"); !strings.Contains(cache, "max-age=1") || w.Header().Get("Content-Type") != "application/json; charset=utf-8" {
			t.Errorf("answered with %v", w.Header())
		}
		return e, w.Header().Get("ETag")
	}
	before, first := read()
	if _, again := read(); again != first {
		t.Errorf("nothing changed, but the ETag did: %s, %s", first, again)
	}
	seen := map[string]bool{first: true}
	fresh := func(what, tag string) {
		t.Helper()
		if seen[tag] {
			t.Errorf("%s, but the ETag is one from before", what)
		}
		seen[tag] = true
		b.get(304, path, nil, header("If-None-Match", tag))
		b.get(200, path, nil, header("If-None-Match", first))
	}

	if w := b.do("POST", "/v1/admin/rooms/"+b.event.ID+"/resume", "{}", asOperator); w.Code != 200 {
		t.Fatalf("resume: %d %s", w.Code, w.Body)
	}
	opened, tag := read()
	if before.Room.State != "paused" || opened.Room.State != "open" {
		t.Errorf("the room was %q and is %q", before.Room.State, opened.Room.State)
	}
	fresh("the room opened", tag)

	if w := b.do("PATCH", "/v1/admin/events/"+b.event.ID, `{"name": "Another name"}`, asOperator); w.Code != 200 {
		t.Fatalf("rename: %d %s", w.Code, w.Body)
	}
	renamed, tag := read()
	if renamed.Name != "Another name" {
		t.Errorf("the event is still called %q", renamed.Name)
	}
	fresh("the event got another name", tag)
}
