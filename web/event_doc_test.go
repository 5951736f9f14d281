package web_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/andybalholm/brotli"

	"onsale/catalog"
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

// A crowd is answered from memory; headers and bytes are those of the long way.
func TestEventsFromMemory(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	path := "/v1/events/" + b.event.ID
	long := b.get(200, path, nil, header("Origin", "https://elsewhere.example")) // another origin is for the middleware
	quick := b.get(200, path, nil)
	if !bytes.Equal(long.Body.Bytes(), quick.Body.Bytes()) {
		t.Errorf("answered with\n%s\nand from memory with\n%s", long.Body, quick.Body)
	}
	for name := range long.Header() {
		if got, want := quick.Header()[name], long.Header()[name]; name != "X-Request-Id" && !slices.Equal(got, want) {
			t.Errorf("%s is %q, and from memory %q", name, want, got)
		}
	}
	if len(long.Header()) != len(quick.Header()) || quick.Header().Get("X-Request-ID") == long.Header().Get("X-Request-ID") {
		t.Errorf("headers are %v, and from memory %v", long.Header(), quick.Header())
	}
	if w := b.get(200, path, nil, header("X-Request-Id", "named-by-a-proxy")); w.Header().Get("X-Request-ID") != "named-by-a-proxy" {
		t.Errorf("the proxy's name of the request is lost: %v", w.Header())
	}
	for _, name := range []string{"max-age=1", "stale-while-revalidate=1", "stale-if-error="} {
		if !strings.Contains(quick.Header().Get("Cache-Control"), name) {
			t.Errorf("Cache-Control %q is without %s", quick.Header().Get("Cache-Control"), name)
		}
	}
	b.get(400, path+"?x=1", nil)
	if w := b.do("POST", path, ""); w.Code != 405 {
		t.Errorf("POST: %d", w.Code)
	}

	tags := make(map[string]string)
	for accepted, want := range map[string]string{"": "", "gzip": "gzip", "gzip, br": "br", "br;q=0": "", "zstd": ""} {
		w := b.get(200, path, nil, header("Accept-Encoding", accepted))
		if got := w.Header().Get("Content-Encoding"); got != want || w.Header().Get("Vary") != "Accept-Encoding" {
			t.Errorf("to who accepts %q: %v", accepted, w.Header())
		}
		tags[want] = w.Header().Get("ETag")
		var body io.Reader = w.Body
		switch want {
		case "br":
			body = brotli.NewReader(body)
		case "gzip":
			var err error
			if body, err = gzip.NewReader(body); err != nil {
				t.Fatal(err)
			}
		}
		if plain, err := io.ReadAll(body); err != nil || !bytes.Equal(plain, quick.Body.Bytes()) {
			t.Errorf("to who accepts %q another document is sent: %v", accepted, err)
		}
		for _, tag := range []string{tags[want], "W/" + tags[want], `"x", ` + tags[want], "*"} {
			n := b.get(304, path, nil, header("Accept-Encoding", accepted), header("If-None-Match", tag))
			if n.Body.Len() != 0 || n.Header().Get("ETag") != tags[want] || n.Header().Get("Vary") != "Accept-Encoding" || n.Header().Get("Cache-Control") == "" {
				t.Errorf("not modified, but %d bytes and %v", n.Body.Len(), n.Header())
			}
		}
	}
	if len(tags) != 3 || tags[""] == tags["br"] || tags["gzip"] == tags["br"] || tags[""] == tags["gzip"] {
		t.Errorf("codings share tags: %v", tags)
	}
}

// What is sold is seen within a second, also by who has asked before.
func TestEventsStockIsOfThisSecond(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	path := "/v1/events/" + s.event
	available := func() int {
		var e eventAnswer
		s.get(path).ok(200, &e)
		return e.Tickets.Available
	}
	before := available()
	m := s.admitted(s.event)
	s.held(s.event, m.Pass, s.tickets[0])
	within(t, "the held ticket is gone", 1500*time.Millisecond, available, func(n int) bool { return n == before-1 }) // with half a second for a busy server
}

// An id that somebody asked for before its event was there is no secret kept.
func TestNewEventsAreSeenByOtherNodes(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	var there struct{ ID string }
	w := b.do("POST", "/v1/admin/events", fmt.Sprintf(stageEvent, "New", "draft"), asOperator)
	if err := json.Unmarshal(w.Body.Bytes(), &there); w.Code != 201 || err != nil {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	path := "/v1/events/" + there.ID
	b.get(404, path, nil)
	if w := b.get(200, path, nil, asOperator); w.Header().Get("Cache-Control") != "private, no-store" {
		t.Errorf("a draft may be kept by caches: %v", w.Header())
	}
	b.get(404, path, nil) // also after an operator has seen it
	status := "on_sale"
	if _, _, err := b.store.UpdateEvent(t.Context(), there.ID, catalog.EventPatch{Status: &status}); err != nil { // as another node does
		t.Fatal(err)
	}
	within(t, "the event is on sale", 1500*time.Millisecond, func() int {
		r := httptest.NewRecorder()
		b.handler.ServeHTTP(r, httptest.NewRequest(http.MethodGet, path, nil))
		return r.Code
	}, func(code int) bool { return code == 200 })
}
