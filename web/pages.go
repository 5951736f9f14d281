package web

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html/template"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/gin-gonic/gin"
	"golang.org/x/sync/singleflight"
	"golang.org/x/text/language"

	"onsale/internal/fault"
)

// UI is the folder of built browser pages: html shells with placeholders,
// hashed assets with .br and .gz beside them, csp.json.
type UI fs.FS

const (
	pageFresh = time.Second // how old a rendered page may be
	mostPages = 64 << 20    // bytes of rendered pages kept
	noPages   = "The browser pages are not part of this build. Build them with: make ui build\n"
)

// How long caches may keep pages. Browsers ask every time: a page names the
// scripts of one build. Caches that all share may keep what all see for a second.
const (
	cacheShell = "no-cache"
	cachePage  = "public, max-age=0, s-maxage=1, stale-while-revalidate=1, stale-if-error=600"
)

var pageType = []string{"text/html; charset=utf-8"}

// pages renders shells and keeps the results for a moment: in a surge everybody
// asks for the same page.
type pages struct {
	shells map[string]string // by file name
	csp    map[string]string // Content-Security-Policy, by file name
	flight singleflight.Group
	kept   *keep[*rendered]
}

type rendered struct {
	doc     *codedDocument
	caching []string
	at      time.Time
}

// loadPages reads the shells. Without a build there are none, and pages answer
// with how to make one.
func loadPages(ui UI, images []string) (*pages, error) {
	p := &pages{shells: make(map[string]string), csp: make(map[string]string), kept: newKeep[*rendered](mostPages)}
	if ui == nil {
		return p, nil
	}
	raw, err := fs.ReadFile(ui, "csp.json")
	if err != nil {
		return p, nil //nolint:nilerr // not built
	}
	var inline map[string]struct{ Script, Style []string }
	if err := json.Unmarshal(raw, &inline); err != nil {
		return nil, fmt.Errorf("web: csp.json: %w", err)
	}
	for name, hashes := range inline {
		shell, err := fs.ReadFile(ui, name)
		if err != nil {
			return nil, fmt.Errorf("web: %w", err)
		}
		p.shells[name] = string(shell)
		p.csp[name] = policy(hashes.Script, hashes.Style)
		if slices.Contains(pagesWithImages, name) {
			p.csp[name] = withImages(p.csp[name], images)
		}
	}
	return p, nil
}

// policy is the strict Content-Security-Policy of a page: nothing from outside,
// nothing inline but what the build has hashed.
func policy(scripts, styles []string) string {
	source := func(hashes []string) string {
		var s strings.Builder
		s.WriteString("'self'")
		for _, h := range hashes {
			s.WriteString(" '" + h + "'")
		}
		return s.String()
	}
	return "default-src 'none'; script-src " + source(scripts) + "; style-src " + source(styles) +
		"; img-src 'self' data:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
}

func (s *Server) pageRoutes(r gin.IRouter) {
	if s.Roles.Waitroom {
		r.GET("/queue/:id", s.queuePage)
	}
	if s.Roles.Shop {
		r.GET("/", s.indexPage)
		r.GET("/events/:id", s.eventPage)
		r.GET("/checkout/:id", s.checkoutPage())
		r.GET("/orders/:id", s.plainPage("order.html", "Your order"))
		r.GET("/t/:id", s.plainPage("ticket.html", "Your ticket"))
		if s.Accounts != nil {
			r.GET("/account", s.accountPage)
		}
		r.GET("/console", s.plainPage("console.html", "Console"))
	}
	r.GET("/assets/*file", s.asset)
	r.GET("/favicon.ico", func(c *gin.Context) { c.Status(http.StatusNoContent) })
}

// content is what goes into the placeholders of a shell.
type content struct {
	Title      string
	Head       template.HTML
	Essentials template.HTML
	Data       any
	Stock      bool // it tells all the same, which changes by the second
}

// page answers with a shell and its content. fill is called at most about once
// a second for each key.
func (s *Server) page(c *gin.Context, file, key string, fill func(ctx context.Context) (content, error)) {
	shell, ok := s.pages.shells[file]
	if !ok {
		c.Data(http.StatusServiceUnavailable, "text/plain; charset=utf-8", []byte(noPages))
		return
	}
	key = file + " " + key
	now := s.Clock()
	r, ok := s.pages.kept.get(key, now.Unix())
	if !ok || now.Sub(r.at) > pageFresh {
		got, err, _ := s.pages.flight.Do(key, func() (any, error) {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request.Context()), 5*time.Second)
			defer cancel()
			at := s.Clock()
			filled, err := fill(ctx)
			if err != nil {
				return nil, err
			}
			doc, err := render(shell, filled, r)
			if err != nil {
				return nil, err
			}
			fresh := &rendered{doc, []string{cacheShell}, at}
			if filled.Stock {
				fresh.caching = []string{cachePage}
			}
			s.pages.kept.put(key, fresh, doc.size(), at.Unix())
			return fresh, nil
		})
		if err != nil {
			s.failPage(c, err)
			return
		}
		r, _ = got.(*rendered)
	}
	c.Writer.Header().Set("Content-Security-Policy", s.pages.csp[file])
	if err := r.doc.answer(c, pageType, r.caching); err != nil {
		s.failPage(c, err)
	}
}

// render fills a shell, unless last says the same already.
func render(shell string, filled content, last *rendered) (*codedDocument, error) {
	data, err := json.Marshal(filled.Data) // escapes <, > and &: safe inside a script element
	if err != nil {
		return nil, err
	}
	html := []byte(strings.NewReplacer(
		"<!--onsale:title-->", template.HTMLEscapeString(filled.Title),
		"<!--onsale:head-->", string(filled.Head),
		"<!--onsale:essentials-->", string(filled.Essentials),
		"<!--onsale:data-->", `<script type="application/json" id="onsale-data">`+string(data)+`</script>`,
	).Replace(shell))
	doc := newCoded(html)
	if last != nil && doc.same(last.doc) {
		return last.doc, nil
	}
	if !filled.Stock { // else it is old before that pays
		doc.level = brotli.BestCompression
	}
	return doc, nil
}

// accepts reports whether an Accept-Encoding header lists a coding, other than
// to refuse it.
func accepts(header, coding string) bool {
	for part := range strings.SplitSeq(header, ",") {
		name, q, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(name), coding) {
			q = strings.ReplaceAll(q, " ", "")
			return q != "q=0" && q != "q=0.0" && q != "q=0.00" && q != "q=0.000"
		}
	}
	return false
}

// failPage shows a problem to a person.
func (s *Server) failPage(c *gin.Context, err error) {
	if !strings.Contains(c.GetHeader("Accept"), "text/html") {
		s.fail(c, err)
		return
	}
	status, title, detail := s.explain(c, err)
	c.Header("Cache-Control", "no-store")
	c.Header("Content-Security-Policy", policy(nil, nil))
	if status == http.StatusServiceUnavailable {
		c.Header("Retry-After", "2")
	}
	var b bytes.Buffer
	if err := problemPage.Execute(&b, map[string]any{"Title": title, "Detail": detail, "Request": requestID(c)}); err != nil {
		c.AbortWithStatus(http.StatusInternalServerError)
		return
	}
	c.Data(status, "text/html; charset=utf-8", b.Bytes())
}

var problemPage = template.Must(template.New("problem").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}}</title></head><body><main><h1>{{.Title}}</h1><p>{{.Detail}}</p>
<p><a href="/">All events</a></p><p><small>{{.Request}}</small></p></main></body></html>
`))

func (s *Server) plainPage(file, title string) gin.HandlerFunc {
	return func(c *gin.Context) {
		if c.Param("id") != "" {
			if _, err := id(c, "id"); err != nil {
				s.failPage(c, err)
				return
			}
		}
		s.page(c, file, "", func(context.Context) (content, error) {
			return content{Title: title + " · onsale", Data: struct{}{}}, nil
		})
	}
}

func (s *Server) eventPage(c *gin.Context) {
	event, err := id(c, "id")
	if err != nil {
		s.failPage(c, err)
		return
	}
	s.page(c, "event.html", event, func(ctx context.Context) (content, error) {
		e, err := s.Catalog.Event(ctx, event)
		if err != nil {
			return content{}, err
		}
		if e.Status == "draft" {
			return content{}, fault.New(fault.NotFound, "no such event")
		}
		return s.eventContent(ctx, e)
	})
}

// queuePage needs nothing but the room, so that it works while the shop is down.
func (s *Server) queuePage(c *gin.Context) {
	event, err := id(c, "id")
	if err != nil {
		s.failPage(c, err)
		return
	}
	c.Header("X-Robots-Tag", "noindex")
	lang := queueLanguage(c)
	c.Header("Content-Language", lang)
	c.Writer.Header().Add("Vary", "Accept-Language")
	s.page(c, "queue."+lang+".html", event, func(ctx context.Context) (content, error) {
		if err := s.publicRoom(ctx, event); err != nil {
			return content{}, err
		}
		room, err := s.Rooms.Room(ctx, event)
		if err != nil {
			return content{}, err
		}
		// Nothing that changes by the second: the page asks for that itself, and
		// what everybody loads in the surge is compressed once.
		event := map[string]any{"name": room.Name}
		if s.Catalog != nil {
			if e, err := s.Catalog.Event(ctx, room.Event); err == nil {
				event["name"], event["starts_at"], event["timezone"] = e.Name, e.StartsAt, e.Timezone
				event["venue"] = map[string]any{"name": e.Venue.Name, "city": e.Venue.City}
			}
		}
		return content{Title: fmt.Sprint(event["name"]), Data: map[string]any{"event": event}}, nil
	})
}

// The queue page is built once for each language, so that nobody loads the
// words of another. The list in ui/scripts/build.mjs is the same.
var (
	queueLanguages = []string{"en", "de", "fr", "es", "ja"}
	queueMatcher   = language.NewMatcher([]language.Tag{
		language.English, language.German, language.French, language.Spanish, language.Japanese,
	})
)

// queueLanguage chooses by ?lang=, which the page's own menu sets, and by what
// the browser likes to read.
func queueLanguage(c *gin.Context) string {
	if asked := c.Query("lang"); slices.Contains(queueLanguages, asked) {
		return asked
	}
	header := c.GetHeader("Accept-Language")
	if len(header) > 200 {
		return queueLanguages[0]
	}
	likes, _, err := language.ParseAcceptLanguage(header)
	if err != nil {
		return queueLanguages[0]
	}
	_, n, _ := queueMatcher.Match(likes...)
	return queueLanguages[n]
}

func execute(t *template.Template, data any) (template.HTML, error) {
	var b bytes.Buffer
	err := t.Execute(&b, data)
	return template.HTML(b.String()), err //nolint:gosec // html/template has escaped it
}

// local is a time where the event takes place.
func local(t time.Time, zone string) time.Time {
	if place, err := time.LoadLocation(zone); err == nil {
		return t.In(place)
	}
	return t
}

var funcs = template.FuncMap{
	"day": func(t time.Time, zone string) string {
		return local(t, zone).Format("Monday, 2 January 2006, 15:04 MST")
	},
	"hour":  func(t time.Time, zone string) string { return local(t, zone).Format("15:04 MST") },
	"stamp": func(t time.Time, zone string) string { return local(t, zone).Format(time.RFC3339) },
	"money": formatMoney,
}

// asset serves a hashed file, compressed if the client likes.
func (s *Server) asset(c *gin.Context) {
	name := path.Clean("/" + c.Param("file"))
	full := "assets" + name
	if s.UI == nil || strings.HasSuffix(name, ".br") || strings.HasSuffix(name, ".gz") {
		s.noRoute(c)
		return
	}
	raw, err := fs.ReadFile(s.UI, full)
	if err != nil {
		s.noRoute(c)
		return
	}
	h := c.Writer.Header()
	if strings.HasPrefix(name, "/posters/") { // the demo's pictures, whose names stay
		h.Set("Cache-Control", "public, max-age=3600")
	} else {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	h.Add("Vary", "Accept-Encoding")
	kind := mime.TypeByExtension(path.Ext(name))
	if kind == "" {
		kind = "application/octet-stream"
	}
	accepted := c.GetHeader("Accept-Encoding")
	for _, coding := range []struct{ name, suffix string }{{"br", ".br"}, {"gzip", ".gz"}} {
		if !accepts(accepted, coding.name) {
			continue
		}
		if small, err := fs.ReadFile(s.UI, full+coding.suffix); err == nil {
			h.Set("Content-Encoding", coding.name)
			raw = small
			break
		}
	}
	c.Data(http.StatusOK, kind, raw)
}

// etagged answers with bytes that the client may have already.
func etagged(c *gin.Context, b []byte, kind, cache string) {
	sum := sha256.Sum256(b)
	etag := `"` + hex.EncodeToString(sum[:12]) + `"`
	c.Header("ETag", etag)
	c.Header("Cache-Control", cache)
	if matches(c, etag) {
		c.Status(http.StatusNotModified)
		return
	}
	c.Data(http.StatusOK, kind, b)
}
