package web

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"onsale/catalog"
)

// catalogOf lists n events.
func catalogOf(n int) func(context.Context, catalog.Query) (catalog.Page, error) {
	return func(_ context.Context, q catalog.Query) (page catalog.Page, err error) {
		from, _ := strconv.Atoi(q.Cursor)
		for i := from; i < min(n, from+q.Limit); i++ {
			page.Events = append(page.Events, catalog.Event{ID: fmt.Sprint("event-", i), UpdatedAt: time.Date(2027, 1, 1, 0, 0, i%100, 0, time.FixedZone("", 3600))})
		}
		if from+q.Limit < n {
			page.Next = fmt.Sprint(from + q.Limit)
		}
		return page, nil
	}
}

func locations(t *testing.T, d *codedDocument) []string {
	t.Helper()
	var doc struct {
		URLs  []sitemapAddress `xml:"url"`
		Parts []sitemapAddress `xml:"sitemap"`
	}
	if err := xml.Unmarshal(d.codings[inPlain].body, &doc); err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, a := range append(doc.URLs, doc.Parts...) {
		list = append(list, a.Loc)
	}
	return list
}

func TestSitemapHasPartsOfABoundedSize(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, sitemapPart - 1, sitemapPart, 2*sitemapPart + 7} {
		s := &sitemaps{address: func(path string) string { return "https://tickets.example" + path }, events: catalogOf(n), clock: time.Now}
		m, err := s.get(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		seen := make(map[string]bool)
		for i, address := range locations(t, m.index) {
			if want := fmt.Sprintf("https://tickets.example/sitemaps/events-%d.xml", i+1); address != want {
				t.Errorf("part %d is at %s", i+1, address)
			}
			part, err := m.part(fmt.Sprintf("events-%d.xml", i+1))
			if err != nil {
				t.Fatal(err)
			}
			list := locations(t, part)
			if len(list) > sitemapPart || len(list) == 0 {
				t.Errorf("%d events: part %d has %d addresses", n, i+1, len(list))
			}
			for _, address := range list {
				seen[address] = true
			}
		}
		if len(seen) != n+1 || !seen["https://tickets.example/"] || n > 0 && !seen[fmt.Sprint("https://tickets.example/events/event-", n-1)] {
			t.Errorf("%d events: %d addresses", n, len(seen))
		}
		for _, name := range []string{"events-0.xml", "events-01.xml", "events--1.xml", "events-9.xml", "events-1", "1.xml", "events-+1.xml", ""} {
			if _, err := m.part(name); err == nil {
				t.Errorf("there is a part %q", name)
			}
		}
	}
}

// Nobody waits for a new one, and an old one is better than none.
func TestSitemapStaysWhileItIsMadeAnew(t *testing.T) {
	t.Parallel()
	now := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	asked := make(chan struct{}, 10)
	events, down := catalogOf(3), errors.New("down")
	s := &sitemaps{address: func(path string) string { return path }, clock: func() time.Time { return now }}
	s.events = func(context.Context, catalog.Query) (catalog.Page, error) { return catalog.Page{}, down }
	if _, err := s.get(t.Context()); !errors.Is(err, down) {
		t.Fatalf("without a catalog: %v", err)
	}
	s.events = events
	first, err := s.get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(sitemapFresh)
	open := make(chan struct{})
	s.events = func(ctx context.Context, q catalog.Query) (catalog.Page, error) {
		asked <- struct{}{}
		<-open
		return catalog.Page{}, down
	}
	for range 3 {
		if m, err := s.get(t.Context()); err != nil || m != first {
			t.Errorf("while a new one is made: %v", err)
		}
	}
	<-asked
	close(open)
	if m, err := s.get(t.Context()); err != nil || m != first {
		t.Errorf("after that failed: %v", err)
	}
}

// Crawlers are told when pages changed, and of each part when the last of its pages did.
func TestSitemapTellsChanges(t *testing.T) {
	t.Parallel()
	s := &sitemaps{address: func(path string) string { return path }, events: catalogOf(3), clock: time.Now}
	m, err := s.get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for d, want := range map[*codedDocument]string{
		m.index:    `<sitemap><loc>/sitemaps/events-1.xml</loc><lastmod>2026-12-31T23:00:02Z</lastmod></sitemap></sitemapindex>`,
		m.parts[0]: `<url><loc>/</loc></url><url><loc>/events/event-0</loc><lastmod>2026-12-31T23:00:00Z</lastmod></url><url><loc>/events/event-1</loc><lastmod>2026-12-31T23:00:01Z</lastmod></url>`,
	} {
		if text := string(d.codings[inPlain].body); !strings.Contains(text, want) {
			t.Errorf("%s\nis without %s", text, want)
		}
	}
}
