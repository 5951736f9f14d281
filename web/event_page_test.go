package web_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// eventPage is what search engines and previews read of the event's page.
type eventPage struct {
	title, canonical string
	meta             map[string]string
	essentials       string // its text
	scripts          int
	event            ldEvent
}

type ldEvent struct {
	Context     string `json:"@context"`
	Type        string `json:"@type"`
	ID          string `json:"@id"`
	Name        string
	Description string
	URL         string
	StartDate   time.Time
	DoorTime    time.Time
	EventStatus string
	Mode        string `json:"eventAttendanceMode"`
	Location    struct {
		Type    string `json:"@type"`
		Name    string
		Address map[string]string
	}
	Performer  []struct{ Name string }
	SuperEvent *struct {
		Type               string `json:"@type"`
		ID                 string `json:"@id"`
		Name               string
		StartDate, EndDate time.Time
	}
	Offers []struct{ Name, Price, PriceCurrency, Availability, ValidFrom, URL string }
}

// readPage reads the page as browsers do.
func (s *stage) readPage(event string) (p eventPage) {
	s.t.Helper()
	page := s.get("/events/"+event).ok(200, nil)
	root, err := html.Parse(bytes.NewReader(page.body))
	must(s.t, err)
	p.meta = make(map[string]string)
	var inside func(n *html.Node) string
	inside = func(n *html.Node) (text string) {
		if n.Type == html.TextNode {
			return n.Data
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			text += inside(c)
		}
		return text
	}
	for n := range root.Descendants() {
		attr := make(map[string]string)
		for _, a := range n.Attr {
			attr[a.Key] = a.Val
		}
		switch {
		case n.Data == "title" && n.Type == html.ElementNode:
			p.title = inside(n)
		case n.Data == "meta":
			p.meta[attr["name"]+attr["property"]] = attr["content"]
		case n.Data == "link" && attr["rel"] == "canonical":
			p.canonical = attr["href"]
		case attr["id"] == "essentials":
			p.essentials = strings.Join(strings.Fields(inside(n)), " ")
		case n.Data == "script":
			p.scripts++
			if attr["type"] == "application/ld+json" {
				must(s.t, json.Unmarshal([]byte(inside(n)), &p.event))
			}
		case n.Data == "img":
			s.t.Errorf("an image came in: %v", attr)
		}
	}
	return p
}

// newEventInBerlin is like stageEvent, in a house that is in another time zone.
func (s *stage) newEventInBerlin(name string) string {
	s.t.Helper()
	doc := strings.NewReplacer(`"The mill"`, `"The barn"`, `"currency": "EUR"`, `"currency": "EUR", "timezone": "Europe/Berlin"`).Replace(fmt.Sprintf(stageEvent, name, "on_sale"))
	var made struct{ ID string }
	s.post("/v1/admin/events", doc, asOperator).ok(201, &made)
	return made.ID
}

// TestEventPageIsReadByMachines: what it says in its head is the event, in the
// event's own time, whatever its names are.
func TestEventPageIsReadByMachines(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	berlin := s.newEventInBerlin("Duo at the barn")
	p := s.readPage(berlin)
	address := s.url + "/events/" + berlin
	about := p.meta["description"]
	if p.title != "Duo at the barn · The barn" || p.canonical != address || p.meta["og:url"] != address || p.meta["og:title"] != "Duo at the barn" ||
		p.meta["og:description"] != about || about != "Thursday, 1 May 2031, 21:00, The barn, Köln. Tickets from 10.00 EUR." {
		t.Errorf("the head says %q %q %v", p.title, p.canonical, p.meta)
	}
	if want := "Duo at the barn Thursday, 1 May 2031, 21:00 CEST, doors open at 20:00 CEST The barn, Mill Lane 1, Köln With Mill Trio"; !strings.HasPrefix(p.essentials, want) ||
		!strings.Contains(p.essentials, "Stalls: 45.00 EUR, 20 available") || !strings.Contains(p.essentials, "Floor: 10.00 EUR, 20 available") {
		t.Errorf("without scripts the page says %q", p.essentials)
	}
	e := p.event
	if e.Context != "https://schema.org" || e.Type != "MusicEvent" || e.ID != address || e.Name != "Duo at the barn" || e.URL != address ||
		e.EventStatus != "https://schema.org/EventScheduled" || e.Mode != "https://schema.org/OfflineEventAttendanceMode" ||
		e.Location.Type != "Place" || e.Location.Name != "The barn" || len(e.Performer) != 1 || e.Performer[0].Name != "Mill Trio" {
		t.Errorf("structured as %+v", e)
	}
	if got := e.Location.Address; got["streetAddress"] != "Mill Lane 1" || got["addressLocality"] != "Köln" || got["addressCountry"] != "DE" || got["@type"] != "PostalAddress" {
		t.Errorf("the address is %v", got)
	}
	if got := e.StartDate.Format(time.RFC3339); got != "2031-05-01T21:00:00+02:00" {
		t.Errorf("it starts at %s", got)
	}
	if got := e.DoorTime.Format(time.RFC3339); got != "2031-05-01T20:00:00+02:00" {
		t.Errorf("doors open at %s", got)
	}
	prices := make(map[string]string)
	for _, o := range e.Offers {
		prices[o.Name] = o.Price + " " + o.PriceCurrency
		if o.Availability != "https://schema.org/InStock" || o.URL != address {
			t.Errorf("offered as %+v", o)
		}
	}
	if len(prices) != 3 || prices["Stalls"] != "45.00 EUR" || prices["Balcony"] != "25.00 EUR" || prices["Floor"] != "10.00 EUR" {
		t.Errorf("offers are %v", prices)
	}

	for status, want := range map[string]struct {
		status, said string
		offers       int
	}{
		"postponed": {"https://schema.org/EventPostponed", "This event is postponed.", 3},
		"cancelled": {"https://schema.org/EventCancelled", "This event is cancelled.", 0},
	} {
		event := s.newEvent("To be "+status, "on_sale")
		s.do("PATCH", "/v1/admin/events/"+event, `{"status":"`+status+`"}`, asOperator).ok(200, nil)
		p := s.readPage(event)
		if p.event.EventStatus != want.status || len(p.event.Offers) != want.offers || !strings.Contains(p.essentials, want.said) || !strings.Contains(p.meta["description"], want.said) {
			t.Errorf("%s: %+v, %q, %v", status, p.event, p.essentials, p.meta)
		}
	}
}

// TestEventPageHoldsHostileNames where they belong.
func TestEventPageHoldsHostileNames(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	ordinary := s.readPage(s.event).scripts
	const evil = "</script><script>alert(1)</script><!--<img src=x onerror=alert(1)>\"'&amp; \u2028{{.}}"
	quoted, err := json.Marshal(evil)
	must(t, err)
	doc := strings.NewReplacer(`"The mill"`, string(quoted), `"Mill Lane 1"`, string(quoted), `"Mill Trio"`, string(quoted), `"Köln"`, string(quoted),
		`"currency": "EUR"`, `"currency": "KWD", "description": `+string(quoted)).Replace(fmt.Sprintf(stageEvent, "name", "on_sale"))
	doc = strings.Replace(doc, `"name": "name"`, `"name": `+string(quoted), 1)
	var made struct{ ID string }
	s.post("/v1/admin/events", doc, asOperator).ok(201, &made)
	p := s.readPage(made.ID)
	e := p.event
	for what, got := range map[string]string{
		"name": e.Name, "description": e.Description, "venue": e.Location.Name, "street": e.Location.Address["streetAddress"],
		"city": e.Location.Address["addressLocality"], "performer": e.Performer[0].Name, "og:title": p.meta["og:title"],
	} {
		if got != evil {
			t.Errorf("the %s came back as %q", what, got)
		}
	}
	if p.scripts != ordinary {
		t.Errorf("the page has %d scripts, others have %d", p.scripts, ordinary)
	}
	if p.title != evil+" · "+evil || !strings.Contains(p.meta["description"], evil) || !strings.Contains(p.essentials, "alert(1)") {
		t.Errorf("the head says %q %v, the page %q", p.title, p.meta, p.essentials)
	}
	if e.Offers[0].Price != "4.500" || e.Offers[0].PriceCurrency != "KWD" {
		t.Errorf("offered for %+v", e.Offers[0])
	}
}
