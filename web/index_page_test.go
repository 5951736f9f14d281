package web_test

import (
	"bytes"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// indexRead is what people without scripts read of the list of events.
type indexRead struct {
	text   string
	events []string // names
	next   string
	fields map[string]string
	action string
}

func (s *stage) readIndex(path string) (p indexRead, r reply) {
	s.t.Helper()
	r = s.get(path, header("Accept", "text/html")).ok(200, nil)
	root, err := html.Parse(bytes.NewReader(r.body))
	must(s.t, err)
	p.fields = make(map[string]string)
	for n := range root.Descendants() {
		attr := make(map[string]string)
		for _, a := range n.Attr {
			attr[a.Key] = a.Val
		}
		switch {
		case n.Data == "form":
			p.action = attr["method"] + " " + attr["action"]
		case n.Data == "input":
			p.fields[attr["name"]] = attr["value"]
		case n.Data == "a" && strings.HasPrefix(attr["href"], "/events/"):
			p.events = append(p.events, n.FirstChild.Data+" "+attr["href"])
		case n.Data == "a" && attr["rel"] == "next":
			p.next = attr["href"]
		case n.Data == "img" || n.Data == "script" && attr["src"] == "" && attr["type"] != "application/json":
			s.t.Errorf("a %s came in: %v", n.Data, attr)
		case n.Type == html.TextNode && n.Parent.Data != "script":
			p.text += n.Data + " "
		}
	}
	p.text = strings.Join(strings.Fields(p.text), " ")
	return p, r
}

// TestListIsSearchedWithoutScripts by a form, and read to the end by links.
func TestListIsSearchedWithoutScripts(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	s.newSeries("Evening", "FREQ=DAILY;COUNT=52")
	s.newSeries("Weekly", "FREQ=WEEKLY;COUNT=2")
	s.newEvent("Secret evening", "draft")

	whole, plain := s.readIndex("/")
	if whole.action != "get /" || len(whole.fields) != 3 || len(whole.events) != 50 || whole.next == "" || plain.header.Get("X-Robots-Tag") != "" {
		t.Errorf("the list is %+v", whole)
	}
	if cache := plain.header.Get("Cache-Control"); !strings.Contains(cache, "s-maxage=1") || !strings.Contains(plain.header.Get("Content-Security-Policy"), "form-action 'self'") {
		t.Errorf("answered with %v", plain.header)
	}
	// A form that is sent empty, and what campaigns add, change nothing.
	same, _ := s.readIndex("/?q=&type=&city=+&utm_source=mail")
	if len(same.events) != 50 {
		t.Errorf("an empty form finds %d events", len(same.events))
	}

	found := make(map[string]bool)
	pages := 0
	for path := "/?q=evening&city=k%C3%B6ln&type=concert"; path != ""; pages++ {
		p, r := s.readIndex(path)
		if p.fields["q"] != "evening" || p.fields["city"] != "köln" || p.fields["type"] != "concert" || r.header.Get("X-Robots-Tag") != "noindex" {
			t.Errorf("%s: the form has %v, headers are %v", path, p.fields, r.header)
		}
		for _, name := range p.events {
			if found[name] || !strings.HasPrefix(name, "Evening /events/") {
				t.Errorf("%s: %q is found", path, name)
			}
			found[name] = true
		}
		path = p.next
	}
	if len(found) != 52 || pages != 2 {
		t.Errorf("%d events are found on %d pages", len(found), pages)
	}
	if p, _ := s.readIndex("/?q=weekly"); len(p.events) != 2 || !strings.Contains(p.text, "(several dates)") {
		t.Errorf("a series is listed as %q", p.text)
	}
	if p, _ := s.readIndex("/?name=weekly"); len(p.events) != 2 || p.fields["q"] != "weekly" {
		t.Errorf("a link of before finds %+v", p)
	}
	if p, _ := s.readIndex("/?q=zzzzqqqq"); !strings.Contains(p.text, "No event fits") {
		t.Errorf("nothing is found as %q", p.text)
	}
	// What cannot be looked for is said in place; no words get out of theirs.
	if p, _ := s.readIndex("/?q=-evening"); !strings.Contains(p.text, "q must name something to find") || p.fields["q"] != "-evening" {
		t.Errorf("a bad search says %q", p.text)
	}
	const evil = `"><img src=x onerror=alert(1)></script><script>alert(1)</script>`
	if p, _ := s.readIndex("/?q=" + url.QueryEscape(evil) + "&city=" + url.QueryEscape(evil)); p.fields["q"] != evil || p.fields["city"] != evil {
		t.Errorf("the form came back as %v", p.fields)
	}
	for _, path := range []string{
		"/?q=" + strings.Repeat("x", 201), "/?q=%ff", "/?city=%00", "/?cursor=x", "/?from=2027-01-01T00:00:00Z", "/?from=soon&cursor=x", "/?from=2027-01-01T00:00:00Z&cursor=x",
		regexp.MustCompile(`(\?|&)q=evening`).ReplaceAllString(strings.Replace(whole.next, "?", "?q=other&", 1), "$1"),
	} {
		r := s.get(path, header("Accept", "text/html"))
		if r.status != http.StatusBadRequest || r.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%.60s: %d %v", path, r.status, r.header)
		}
	}
}
