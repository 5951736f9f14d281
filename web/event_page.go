package web

import (
	"context"
	"encoding/json"
	"fmt"
	"html/template"
	"strings"
	"time"

	"onsale/catalog"
	"onsale/checkout"
)

// eventContent is the event's page before any script runs: what people without
// scripts read, what search engines index and what previews of links show.
func (s *Server) eventContent(ctx context.Context, e catalog.Event) (content, error) {
	view := s.fullEventView(ctx, e)
	other := s.otherDates(ctx, e)
	essentials, err := execute(eventEssentials, s.essentialsOf(e, view, other))
	if err != nil {
		return content{}, err
	}
	address := s.publicAddress("/events/" + e.ID)
	described, err := structured(e, view, other, address)
	if err != nil {
		return content{}, err
	}
	head, err := execute(eventHead, map[string]any{"Title": e.Name, "About": aboutEvent(e, view), "URL": address, "Image": firstImage(e)})
	return content{
		Title: e.Name + " · " + e.Venue.Name, Stock: true, Essentials: essentials,
		Head: head + `<script type="application/ld+json">` + described + `</script>`,
		Data: map[string]any{"event": view, "series": other, "now": s.Clock(), "image_origins": s.imageOrigins()},
	}, err
}

// publicAddress is where browsers reach a path.
func (s *Server) publicAddress(path string) string {
	return strings.TrimSuffix(s.PublicURL.String(), "/") + path
}

// The vocabulary of schema.org, as far as an event needs it.
type (
	ldEvent struct {
		Context     string   `json:"@context"`
		Type        string   `json:"@type"`
		ID          string   `json:"@id"`
		Name        string   `json:"name"`
		Description string   `json:"description,omitempty"`
		URL         string   `json:"url"`
		Image       []string `json:"image,omitempty"`
		Start       string   `json:"startDate"`
		Doors       string   `json:"doorTime,omitempty"`
		Status      string   `json:"eventStatus"`
		Attendance  string   `json:"eventAttendanceMode"`
		Location    ldPlace  `json:"location"`
		Performers  []ldName `json:"performer,omitempty"`
		Offers      []any    `json:"offers,omitempty"`
		Super       *ldSuper `json:"superEvent,omitempty"`
	}
	ldSuper struct {
		Type  string `json:"@type"`
		ID    string `json:"@id"`
		Name  string `json:"name"`
		Start string `json:"startDate"`
		End   string `json:"endDate"` // when the last of them starts
	}
	ldPlace struct {
		Type    string    `json:"@type"`
		Name    string    `json:"name"`
		Address ldAddress `json:"address"`
	}
	ldAddress struct {
		Type    string `json:"@type"`
		Street  string `json:"streetAddress,omitempty"`
		City    string `json:"addressLocality,omitempty"`
		Country string `json:"addressCountry,omitempty"`
	}
	ldName struct {
		Type string `json:"@type"`
		Name string `json:"name"`
	}
	ldOffer struct {
		Type         string `json:"@type"`
		Name         string `json:"name"`
		Price        string `json:"price"`
		Currency     string `json:"priceCurrency"`
		Availability string `json:"availability,omitempty"` // not known now
		From         string `json:"validFrom,omitempty"`
		URL          string `json:"url"`
	}
)

const schemaOrg = "https://schema.org/"

var (
	// ldTypes are the types of events that have a word of their own.
	ldTypes = map[string]string{
		"concert": "MusicEvent", "festival": "Festival", "theatre": "TheaterEvent", "theater": "TheaterEvent", "dance": "DanceEvent",
		"comedy": "ComedyEvent", "sports": "SportsEvent", "sport": "SportsEvent", "exhibition": "ExhibitionEvent", "screening": "ScreeningEvent",
	}
	ldStatus = map[string]string{"postponed": "EventPostponed", "cancelled": "EventCancelled"}
	ldStock  = map[checkout.Availability]string{
		checkout.Plenty: schemaOrg + "InStock", checkout.FewLeft: schemaOrg + "LimitedAvailability", checkout.SoldOut: schemaOrg + "SoldOut",
	}
)

// structured is the event as JSON-LD. The encoder escapes <, > and &, so that no
// name ends the script element that it stands in.
func structured(e catalog.Event, v eventView, other *otherDates, address string) (template.HTML, error) {
	at := func(t time.Time) string { return local(t, e.Timezone).Format(time.RFC3339) }
	doc := ldEvent{
		Context: "https://schema.org", Type: "Event", ID: address, Name: e.Name, Description: e.Description, URL: address, Start: at(e.StartsAt),
		Status: schemaOrg + "EventScheduled", Attendance: schemaOrg + "OfflineEventAttendanceMode",
		Location: ldPlace{"Place", e.Venue.Name, ldAddress{"PostalAddress", e.Venue.Address, e.Venue.City, e.Venue.Country}},
	}
	if kind, known := ldTypes[strings.ToLower(e.Type)]; known {
		doc.Type = kind
	}
	if status, special := ldStatus[e.Status]; special {
		doc.Status = schemaOrg + status
	}
	for _, i := range e.Images {
		doc.Image = append(doc.Image, i.URL)
	}
	if e.DoorsAt != nil {
		doc.Doors = at(*e.DoorsAt)
	}
	for _, a := range e.Artists {
		doc.Performers = append(doc.Performers, ldName{"PerformingGroup", a.Name})
	}
	if other != nil {
		doc.Super = &ldSuper{"EventSeries", "urn:uuid:" + other.ID, other.Name, at(other.first), at(other.last)}
	}
	if onOffer(e.Status) {
		from := ""
		if v.Room != nil && v.Room.OpensAt != nil {
			from = at(*v.Room.OpensAt)
		}
		for _, t := range v.Tiers {
			doc.Offers = append(doc.Offers, ldOffer{"Offer", t.Name, decimal(t.Price), t.Price.Currency, ldStock[t.Availability], from, address})
		}
	}
	b, err := json.Marshal(doc)
	return template.HTML(b), err //nolint:gosec // see above
}

// onOffer tells whether tickets of an event in this state may be sold at some time.
func onOffer(status string) bool { return status == "on_sale" || status == "postponed" }

// aboutEvent is an event in a sentence or two.
func aboutEvent(e catalog.Event, v eventView) string {
	about := fmt.Sprintf("%s, %s, %s", local(e.StartsAt, e.Timezone).Format("Monday, 2 January 2006, 15:04"), e.Venue.Name, e.Venue.City)
	if special := statusText(e.Status); special != "" {
		return about + ". " + special
	}
	if len(v.Tiers) == 0 {
		return about + "."
	}
	cheapest := v.Tiers[0].Price
	for _, t := range v.Tiers {
		if t.Price.Amount < cheapest.Amount {
			cheapest = t.Price
		}
	}
	about += ". Tickets from " + formatMoney(cheapest) + "."
	if v.Tickets != nil && v.Tickets.Availability == checkout.SoldOut {
		about += " Sold out."
	}
	return about
}

// statusText is what is to be known of an event that does not take its course.
func statusText(status string) string {
	switch status {
	case "postponed":
		return "This event is postponed."
	case "cancelled":
		return "This event is cancelled."
	case "ended":
		return "This event is over."
	}
	return ""
}

var eventHead = template.Must(template.New("head").Parse(`<meta name="description" content="{{.About}}">
<meta property="og:type" content="website"><meta property="og:site_name" content="onsale"><meta property="og:title" content="{{.Title}}">
<meta property="og:description" content="{{.About}}"><meta property="og:url" content="{{.URL}}">
{{with .Image}}<meta property="og:image" content="{{.URL}}"><meta property="og:image:width" content="{{.Width}}"><meta property="og:image:height" content="{{.Height}}"><meta property="og:image:alt" content="{{.Alt}}">
<meta name="twitter:card" content="summary_large_image">{{else}}<meta name="twitter:card" content="summary">{{end}}
<link rel="canonical" href="{{.URL}}">
`))

var eventEssentials = template.Must(template.New("event").Funcs(funcs).Parse(pictureTemplate + `<h1>{{.Event.Name}}</h1>
{{template "picture" .Picture}}
{{with .Status}}<p><strong>{{.}}</strong></p>
{{end}}<p><time datetime="{{stamp .Event.StartsAt .Event.Timezone}}">{{day .Event.StartsAt .Event.Timezone}}</time>{{with .Event.DoorsAt}}, doors open at <time datetime="{{stamp . $.Event.Timezone}}">{{hour . $.Event.Timezone}}</time>{{end}}</p>
<p>{{.Event.Venue.Name}}, {{.Event.Venue.Address}}, {{.Event.Venue.City}}</p>
{{with .Event.Artists}}<p>With {{range $i, $a := .}}{{if $i}}, {{end}}{{$a.Name}}{{end}}</p>{{end}}
{{with .Event.Description}}<p>{{.}}</p>
{{end}}<ul>{{range .Tiers}}<li>{{.Name}}: {{money .Price}}{{if .Known}}, {{if .Available}}{{.Available}} available{{else if .SoldOut}}sold out{{else}}none available now{{end}}{{end}}</li>
{{end}}</ul>
{{with .Terms}}<p>{{.}}</p>
{{end}}<p><a href="/queue/{{.Event.ID}}">Join the queue</a></p>
<p><a href="/v1/events/{{.Event.ID}}/event.ics">Add to the calendar</a></p>
{{with .Dates}}<h2>Other dates</h2>
<ul>{{range .Dates}}<li><a href="/events/{{.Event}}"><time datetime="{{stamp .StartsAt .Timezone}}">{{day .StartsAt .Timezone}}</time></a>{{with .State}}, {{.}}{{end}}</li>
{{end}}{{with .More}}<li>and {{.}} more</li>{{end}}</ul>{{end}}`))

type tierEssentials struct {
	Name      string
	Price     catalog.Money
	Known     bool
	Available int
	SoldOut   bool // nothing can come back
}

type eventEssentialsData struct {
	Event   catalog.Event
	Picture *picture // nil: there is none to be shown
	Status  string   // what is out of the ordinary; "" for nothing
	Tiers   []tierEssentials
	Terms   string // what is paid besides the prices; "" if nothing is
	Dates   *otherDates
}

// essentialsOf is what the event's page says without scripts.
func (s *Server) essentialsOf(e catalog.Event, v eventView, other *otherDates) eventEssentialsData {
	data := eventEssentialsData{Event: e, Picture: s.pictureOf(e.Images, "100vw", false), Status: statusText(e.Status), Tiers: make([]tierEssentials, len(v.Tiers)), Terms: termsText(e.Terms, e.Currency)}
	if other != nil && len(other.Dates) > 0 {
		data.Dates = other
	}
	for i, t := range v.Tiers {
		data.Tiers[i] = tierEssentials{Name: t.Name, Price: t.Price, Known: t.Available != nil, SoldOut: t.Availability == checkout.SoldOut}
		if t.Available != nil {
			data.Tiers[i].Available = *t.Available
		}
	}
	return data
}

// decimal writes an amount with the decimals of its currency.
func decimal(m catalog.Money) string {
	digits, known := catalog.CurrencyDecimals(m.Currency)
	if !known {
		digits = 2
	}
	if digits == 0 {
		return fmt.Sprint(m.Amount)
	}
	unit := int64(1)
	for range digits {
		unit *= 10
	}
	return fmt.Sprintf("%d.%0*d", m.Amount/unit, digits, m.Amount%unit)
}

// formatMoney writes an amount for people; the pages' own code does it by locale.
func formatMoney(m catalog.Money) string { return decimal(m) + " " + m.Currency }
