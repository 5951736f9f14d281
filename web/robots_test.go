package web_test

import (
	"strings"
	"testing"
)

// disallowed reads robots.txt as RFC 9309 has it: the longest rule wins.
func disallowed(robots, path string) bool {
	longest, closed := -1, false
	for line := range strings.SplitSeq(robots, "\n") {
		rule, value, _ := strings.Cut(line, ": ")
		if rule != "Allow" && rule != "Disallow" {
			continue
		}
		prefix, rest, wild := strings.Cut(value, "*")
		hit := strings.HasPrefix(path, prefix) && (!wild || strings.Contains(path[len(prefix):], rest))
		if hit && len(value) > longest {
			longest, closed = len(value), rule == "Disallow"
		}
	}
	return closed
}

func TestCrawlersFindEventsAndNothingElse(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	draft := s.newEvent("Secret", "draft")
	robots := s.get("/robots.txt").ok(200, nil)
	text := string(robots.body)
	if robots.header.Get("Content-Type") != "text/plain; charset=utf-8" || !strings.Contains(text, "\nSitemap: "+s.url+"/sitemap.xml\n") {
		t.Errorf("%v\n%s", robots.header, text)
	}
	for path, want := range map[string]bool{
		"/": false, "/events/" + s.event: false, "/v1/events/" + s.event: false, "/v1/events.ics": false, "/assets/x.js": false, "/sitemap.xml": false, "/docs": false,
		"/orders/1?t=x": true, "/t/1": true, "/console": true, "/account": true, "/checkout/1": true, "/queue/1": true, "/v1/orders/1": true, "/v1/rooms/1/me": true,
		"/v1/admin/events": true, "/events/1?token=secret": true,
	} {
		if got := disallowed(text, path); got != want {
			t.Errorf("%s is closed to crawlers: %t", path, got)
		}
	}
	index := s.get("/sitemap.xml").ok(200, nil)
	if index.header.Get("Content-Type") != "application/xml; charset=utf-8" || index.header.Get("ETag") == "" || !strings.Contains(index.header.Get("Cache-Control"), "max-age=600") ||
		!strings.Contains(string(index.body), "<loc>"+s.url+"/sitemaps/events-1.xml</loc>") {
		t.Errorf("%v\n%s", index.header, index.body)
	}
	part := s.get("/sitemaps/events-1.xml").ok(200, nil)
	if !strings.Contains(string(part.body), "<loc>"+s.url+"/events/"+s.event+"</loc>") || strings.Contains(string(part.body), draft) {
		t.Errorf("the sitemap is\n%s", part.body)
	}
	s.get("/sitemap.xml", header("If-None-Match", index.header.Get("ETag"))).ok(304, nil)
	s.get("/sitemaps/events-2.xml").refused(404, "not-found")
}
