package web

import (
	"context"
	"html/template"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"onsale/catalog"
	"onsale/internal/fault"
)

// indexSearch is what the list of events was asked for. Who has no scripts asks by a
// form, and goes on by a link; whatever else stands in the address is not looked at.
type indexSearch struct {
	Text, Type, City string
	From, Cursor     string // of the page before
}

func indexSearchOf(c *gin.Context) (indexSearch, error) {
	s := indexSearch{c.Query("q"), c.Query("type"), c.Query("city"), c.Query("from"), c.Query("cursor")}
	if s.Text == "" {
		s.Text = c.Query("name") // links of before
	}
	for _, p := range [...]*string{&s.Text, &s.Type, &s.City} {
		*p = strings.TrimSpace(*p)
		if utf8.RuneCountInString(*p) > 200 || !utf8.ValidString(*p) || hasControl(*p) {
			return s, fault.New(fault.Invalid, "what is looked for must be plain text of at most 200 characters")
		}
	}
	if (s.From == "") != (s.Cursor == "") || len(s.Cursor) > 4096 {
		return s, fault.New(fault.Invalid, "the link to the next events is not complete")
	}
	return s, nil
}

// Any tells whether it is a search, and not the list as everybody gets it.
func (s indexSearch) Any() bool { return s.Text+s.Type+s.City+s.Cursor != "" }

// values are the parameters that ask for the same, from there on.
func (s indexSearch) values() url.Values {
	v := url.Values{}
	for name, value := range map[string]string{"q": s.Text, "type": s.Type, "city": s.City, "from": s.From, "cursor": s.Cursor} {
		if value != "" {
			v.Set(name, value)
		}
	}
	return v
}

func (s *Server) indexPage(c *gin.Context) {
	search, err := indexSearchOf(c)
	var since time.Time
	if err == nil && search.From != "" {
		if since, err = time.Parse(time.RFC3339, search.From); err != nil {
			err = fault.Wrap(err, fault.Invalid, "the link to the next events is not complete")
		}
	}
	if err != nil {
		s.failPage(c, err)
		return
	}
	if search.Any() { // there is no end of them
		c.Header("X-Robots-Tag", "noindex")
	}
	s.page(c, "index.html", search.values().Encode(), func(ctx context.Context) (content, error) {
		from := since
		if from.IsZero() {
			from = s.Clock().UTC().Truncate(time.Minute) // the page goes on with it, and asks for the same as others do
		}
		page, err := s.Catalog.Events(ctx, catalog.Query{
			Text: search.Text, Type: search.Type, City: search.City, From: from.UTC(), Cursor: search.Cursor,
		})
		shown := indexEssentials{Search: search, Events: s.listed(page.Events)}
		if f, ok := fault.Of(err); ok && f.Code == fault.Invalid && search.Cursor == "" {
			shown.Problem = f.Detail // while it is typed, the page's own search says so in place
		} else if err != nil {
			return content{}, err
		}
		if page.Next != "" {
			next := search
			next.From, next.Cursor = from.UTC().Format(time.RFC3339), page.Next
			shown.Next = "/?" + next.values().Encode()
		}
		essentials, err := execute(listEssentials, shown)
		data := map[string]any{"from": from.UTC(), "now": s.Clock(), "image_origins": s.imageOrigins()}
		if shown.Problem == "" {
			data["events"], data["next_cursor"] = s.eventViews(ctx, page.Events), orNull(page.Next)
			data["search"] = map[string]string{"q": search.Text, "type": search.Type, "city": search.City}
		}
		return content{Title: "Events on sale", Stock: true, Essentials: essentials, Data: data}, err
	})
}

type indexEssentials struct {
	Search  indexSearch
	Events  []listedEvent
	Problem string // why there is nothing
	Next    string // where it goes on; "" on the last page
}

var listEssentials = template.Must(template.New("list").Funcs(funcs).Parse(pictureTemplate + `<h1>Events on sale</h1>
<form class="search" role="search" action="/" method="get">
<label class="field">Event, artist or place<input type="search" name="q" maxlength="200" value="{{.Search.Text}}"></label>
<label class="field">Kind<input type="text" name="type" maxlength="200" value="{{.Search.Type}}"></label>
<label class="field">City<input type="search" name="city" maxlength="200" value="{{.Search.City}}"></label>
<button>Search</button>
</form>
{{with .Problem}}<p class="notice" role="alert">{{.}}</p>
{{else}}<ul>{{range .Events}}<li>{{template "picture" .Picture}}<a href="/events/{{.ID}}">{{.Name}}</a>, <time datetime="{{stamp .StartsAt .Timezone}}">{{day .StartsAt .Timezone}}</time>, {{.Venue.Name}}, {{.Venue.City}}{{if .Series}} (several dates){{end}}</li>
{{else}}<li>{{if .Search.Any}}No event fits. Try fewer words.{{else}}Nothing is on sale.{{end}}</li>{{end}}</ul>
{{with .Next}}<p><a href="{{.}}" rel="next">More events</a></p>
{{end}}{{end}}`))
