package catalog

import (
	"encoding/base64"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"onsale/internal/fault"
)

// What organisers keep beside events.

// VenueRecord is a venue with what only organisers see of it.
type VenueRecord struct {
	Venue

	Timezone string `json:"timezone"` // IANA name
	Events   int    `json:"events"`   // how many take place there, drafts and past ones included
}

// ArtistRecord is an artist likewise.
type ArtistRecord struct {
	Artist

	URL    string `json:"url"`
	Events int    `json:"events"`
}

// PlanRecord is an imported seating plan without its document.
type PlanRecord struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Version string    `json:"version"` // SHA-256 of the document, hex
	Number  int       `json:"number"`  // which of the plans of this name, from 1, by when they were imported
	Seats   int       `json:"seats"`
	Events  int       `json:"events"`
	Created time.Time `json:"created_at"`
}

// ListQuery selects venues, artists or plans whose name has this part; venues also by
// their city. They come by name.
type ListQuery struct {
	Text   string
	Limit  int    // 0 is DefaultEvents; at most MostEvents
	Cursor string // NameCursor of the last one before
}

// Check bounds the query and fills in the limit.
func (q *ListQuery) Check() error {
	if utf8.RuneCountInString(q.Text) > mostText || !storable(q.Text) {
		return fault.New(fault.Invalid, "q must be plain text of at most %d characters", mostText)
	}
	if q.Limit == 0 {
		q.Limit = DefaultEvents
	}
	if q.Limit < 1 || q.Limit > MostEvents {
		return fault.New(fault.Invalid, "limit must be from 1 to %d", MostEvents)
	}
	return nil
}

// NameCursor names a place in a list by name.
func NameCursor(name, id string) string {
	return base64.RawURLEncoding.EncodeToString([]byte("n1." + id + name))
}

// ParseNameCursor decodes a NameCursor, "" too. Anything else is fault.Invalid.
func ParseNameCursor(token string) (name, id string, err error) {
	if token == "" {
		return "", "", nil
	}
	const most = 4 * (mostText*utf8.UTFMax + 64) / 3
	if raw, err := base64.RawURLEncoding.DecodeString(token); err == nil && len(token) <= most {
		if s, ok := strings.CutPrefix(string(raw), "n1."); ok && len(s) > 36 && IsID(s[:36]) && storable(s) {
			return s[36:], s[:36], nil
		}
	}
	return "", "", badCursor()
}

// VenuePatch changes a venue, or is one to be created. Nil fields stay as they are.
type VenuePatch struct {
	Name     *string `json:"name,omitempty"`
	Address  *string `json:"address,omitempty"`
	City     *string `json:"city,omitempty"`
	Country  *string `json:"country,omitempty"`
	Timezone *string `json:"timezone,omitempty"`
}

// Check says what is wrong with the patch, as fault.Invalid.
func (p VenuePatch) Check() error {
	var r review
	if p.Name != nil {
		r.nameAt("$.name", *p.Name)
	}
	for _, t := range [...]struct {
		name  string
		value *string
	}{{"address", p.Address}, {"city", p.City}} {
		if t.value != nil && (utf8.RuneCountInString(*t.value) > mostText || !storable(*t.value)) {
			r.problemAtf("$."+t.name, "must be text of at most %d characters", mostText)
		}
	}
	if p.Country != nil && *p.Country != "" && !countryPattern.MatchString(*p.Country) {
		r.problemAtf("$.country", "must be two capital letters (ISO 3166-1)")
	}
	if z := p.Timezone; z != nil {
		if _, err := time.LoadLocation(*z); err != nil || *z == "Local" || *z == "" {
			r.problemAtf("$.timezone", "is not a known time zone such as Europe/Berlin")
		}
	}
	return r.err("the venue")
}

// ArtistPatch changes an artist likewise.
type ArtistPatch struct {
	Name *string `json:"name,omitempty"`
	URL  *string `json:"url,omitempty"`
}

// Check says what is wrong with the patch, as fault.Invalid.
func (p ArtistPatch) Check() error {
	var r review
	if p.Name != nil {
		r.nameAt("$.name", *p.Name)
	}
	if p.URL != nil && *p.URL != "" {
		u, err := url.Parse(*p.URL)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || len(*p.URL) > 500 || !storable(*p.URL) {
			r.problemAtf("$.url", "must be an address such as https://example.org of at most 500 bytes")
		}
	}
	return r.err("the artist")
}

// TierPatch changes a price tier of an event.
type TierPatch struct {
	Name   *string `json:"name,omitempty"`
	Color  *string `json:"color,omitempty"`
	Amount *int64  `json:"amount,omitempty"` // minor units
}

// Check says what is wrong with the patch, as fault.Invalid.
func (p TierPatch) Check() error {
	var r review
	if p.Name != nil {
		r.nameAt("$.name", *p.Name)
	}
	if p.Color != nil && !colorPattern.MatchString(*p.Color) {
		r.problemAtf("$.color", "must be of the form #rrggbb")
	}
	if p.Amount != nil {
		r.amountAt("$.amount", *p.Amount)
	}
	return r.err("the tier")
}

// WithTier is the event's document with one of its tiers changed: what Revise then
// says about it is what it would say about the document. An unknown tier is
// fault.NotFound.
func (e Existing) WithTier(id string, p TierPatch) (NewEvent, error) {
	tier := slices.IndexFunc(e.Tiers, func(t Tier) bool { return t.ID == id })
	if tier < 0 {
		return NewEvent{}, fault.New(fault.NotFound, "the event has no price tier %q", clip(id))
	}
	doc := e.NewEvent
	doc.Prices, doc.Areas = slices.Clone(e.Prices), slices.Clone(e.Areas)
	doc.said = map[string]bool{"prices": true, "areas": true}
	for i, o := range e.Offer.Prices {
		if o.Tier != tier {
			continue
		}
		price := &doc.Prices[i]
		if p.Name != nil {
			price.Name, doc.said["prices."+price.Category+".name"] = *p.Name, true
		}
		if p.Color != nil {
			price.Color, doc.said["prices."+price.Category+".color"] = *p.Color, true
		}
		if p.Amount != nil {
			price.Amount = *p.Amount
		}
	}
	for i, o := range e.Offer.Areas {
		if o.Tier != tier {
			continue
		}
		area := &doc.Areas[i]
		if p.Name != nil && *p.Name != area.Name {
			return NewEvent{}, fault.New(fault.Invalid, "name: is that of the area %q, which its tickets keep", clip(area.Name))
		}
		if p.Color != nil {
			area.Color, doc.said["areas."+area.Name+".color"] = *p.Color, true
		}
		if p.Amount != nil {
			area.Amount = *p.Amount
		}
	}
	return doc, nil
}

// Says reports whether the document that e was read from has this member, such as
// "room" or "room.burst".
func (e *NewEvent) Says(member string) bool { return e.said[member] }

// Without is e as if its document did not have this member.
func (e NewEvent) Without(member string) NewEvent {
	e.said = maps.Clone(e.said)
	delete(e.said, member)
	return e
}
