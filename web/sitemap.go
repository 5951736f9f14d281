package web

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"golang.org/x/sync/singleflight"

	"onsale/catalog"
	"onsale/internal/fault"
)

const (
	sitemapFresh  = 10 * time.Minute
	sitemapBack   = 30        // days after which an event is not listed any more
	sitemapPart   = 50_000    // addresses in a part, as sitemaps.org has it
	sitemapMost   = 1_000_000 // addresses in all; the later events are left out
	sitemapWalk   = 2 * time.Minute
	sitemapFolder = "/sitemaps/"
	cacheRobots   = "public, max-age=3600, stale-while-revalidate=3600, stale-if-error=86400"
)

var (
	xmlType        = []string{"application/xml; charset=utf-8"}
	textType       = []string{"text/plain; charset=utf-8"}
	sitemapCaching = []string{"public, max-age=600, stale-while-revalidate=600, stale-if-error=86400"}
	robotsCaching  = []string{cacheRobots}
)

// sitemaps keeps the addresses of all events for search engines. It is made when
// it is first asked for, and anew after a while by one request, while all get the
// old one.
type sitemaps struct {
	address func(path string) string
	events  func(ctx context.Context, q catalog.Query) (catalog.Page, error)
	clock   func() time.Time

	made   atomic.Pointer[sitemap]
	flight singleflight.Group
}

// sitemap is an index and its parts. There is always one part.
type sitemap struct {
	at    time.Time
	index *codedDocument
	parts []*codedDocument
}

type (
	sitemapIndex struct {
		XMLName xml.Name         `xml:"http://www.sitemaps.org/schemas/sitemap/0.9 sitemapindex"`
		Parts   []sitemapAddress `xml:"sitemap"`
	}
	sitemapURLs struct {
		XMLName xml.Name         `xml:"http://www.sitemaps.org/schemas/sitemap/0.9 urlset"`
		URLs    []sitemapAddress `xml:"url"`
	}
	sitemapAddress struct {
		Loc     string `xml:"loc"`
		Changed string `xml:"lastmod,omitempty"`
	}
)

func (s *Server) robotRoutes(r gin.IRouter) {
	r.GET("/robots.txt", s.robots())
	if !s.Roles.Shop {
		return
	}
	maps := &sitemaps{address: s.publicAddress, events: s.Catalog.Events, clock: s.Clock}
	r.GET("/sitemap.xml", func(c *gin.Context) {
		s.answerSitemap(c, maps, func(m *sitemap) (*codedDocument, error) { return m.index, nil })
	})
	r.GET(sitemapFolder+":part", func(c *gin.Context) {
		s.answerSitemap(c, maps, func(m *sitemap) (*codedDocument, error) { return m.part(c.Param("part")) })
	})
}

func (s *Server) answerSitemap(c *gin.Context, maps *sitemaps, which func(*sitemap) (*codedDocument, error)) {
	err := query(c)
	var m *sitemap
	if err == nil {
		m, err = maps.get(c.Request.Context())
	}
	var doc *codedDocument
	if err == nil {
		doc, err = which(m)
	}
	if err == nil {
		err = doc.answer(c, xmlType, sitemapCaching)
	}
	if err != nil {
		s.fail(c, err)
	}
}

// robots tells crawlers what is theirs to read. What is somebody's own is closed to
// them anyway: it is a matter of not asking in vain, and of links with tokens that
// were posted somewhere. A node without a shop has nothing for them.
func (s *Server) robots() gin.HandlerFunc {
	text := "User-agent: *\nDisallow: /\n"
	if s.Roles.Shop {
		text = `User-agent: *
Allow: /v1/events
Disallow: /v1/
Disallow: /account
Disallow: /checkout/
Disallow: /console
Disallow: /event/
Disallow: /orders/
Disallow: /purchase_ticket
Disallow: /queue/
Disallow: /reserve_ticket
Disallow: /sandbox/
Disallow: /t/
Disallow: /*token=

Sitemap: ` + s.publicAddress("/sitemap.xml") + "\n"
	}
	doc := newCoded([]byte(text))
	return func(c *gin.Context) {
		err := query(c)
		if err == nil {
			err = doc.answer(c, textType, robotsCaching)
		}
		if err != nil {
			s.fail(c, err)
		}
	}
}

func (m *sitemap) part(name string) (*codedDocument, error) {
	number, ok := strings.CutPrefix(name, "events-")
	number, xml := strings.CutSuffix(number, ".xml")
	n, err := strconv.Atoi(number)
	if !ok || !xml || err != nil || n < 1 || n > len(m.parts) || strconv.Itoa(n) != number {
		return nil, fault.New(fault.NotFound, "there is no part of the sitemap called %q", clip(name))
	}
	return m.parts[n-1], nil
}

func sitemapPath(n int) string { return fmt.Sprintf("%sevents-%d.xml", sitemapFolder, n) }

// get returns the sitemap, which only the first who ask wait for.
func (s *sitemaps) get(ctx context.Context) (*sitemap, error) {
	old := s.made.Load()
	if old != nil && s.clock().Sub(old.at) < sitemapFresh {
		return old, nil
	}
	made := s.flight.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sitemapWalk)
		defer cancel()
		m, err := s.make(ctx)
		if err == nil {
			s.made.Store(m)
		}
		return m, err
	})
	if old != nil {
		return old, nil
	}
	select {
	case r := <-made:
		m, _ := r.Val.(*sitemap)
		return m, r.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// make reads all events, a page at a time.
func (s *sitemaps) make(ctx context.Context) (*sitemap, error) {
	m := &sitemap{at: s.clock()}
	urls := []sitemapAddress{{Loc: s.address("/")}}
	var newest time.Time // change of an event of the part
	var index sitemapIndex
	finish := func() error {
		doc, err := sitemapDocument(sitemapURLs{URLs: urls})
		m.parts = append(m.parts, doc)
		index.Parts = append(index.Parts, sitemapAddress{s.address(sitemapPath(len(m.parts))), lastChange(newest)})
		urls, newest = urls[:0], time.Time{}
		return err
	}
	q := catalog.Query{From: m.at.UTC().Truncate(24*time.Hour).AddDate(0, 0, -sitemapBack), Limit: catalog.MostEvents}
	for total := len(urls); ; {
		page, err := s.events(ctx, q)
		if err != nil {
			return nil, err
		}
		for i := range page.Events {
			if len(urls) == sitemapPart {
				if err := finish(); err != nil {
					return nil, err
				}
			}
			e := &page.Events[i]
			urls = append(urls, sitemapAddress{s.address("/events/" + e.ID), lastChange(e.UpdatedAt)})
			if e.UpdatedAt.After(newest) {
				newest = e.UpdatedAt
			}
			total++
		}
		if q.Cursor = page.Next; q.Cursor == "" || total+catalog.MostEvents > sitemapMost {
			break
		}
	}
	if err := finish(); err != nil {
		return nil, err
	}
	var err error
	m.index, err = sitemapDocument(index)
	return m, err
}

// lastChange is when a page changed, "" when that is not known.
func lastChange(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func sitemapDocument(v any) (*codedDocument, error) {
	var b bytes.Buffer
	b.WriteString(xml.Header)
	if err := xml.NewEncoder(&b).Encode(v); err != nil {
		return nil, err
	}
	return newCoded(b.Bytes()), nil
}
