package catalog

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"onsale/internal/fault"
)

// Bounds of one page.
const (
	DefaultEvents  = 50
	MostEvents     = 200
	DefaultTickets = 200
	MostTickets    = 1000
)

// Query selects events. Empty fields select everything. Name, Artist and City
// match any part, whatever the case; Type matches exactly. From is inclusive, To
// exclusive. Text is looked for by words, see ParseText.
type Query struct {
	Name, Artist, Type, City string
	Text                     string
	From, To                 time.Time
	Sort                     Sort   // "" is ByRelevance for a Text, else ByStart
	Series                   string `json:",omitempty"` // id; cursors of before it was there stay good
	Drafts                   bool   // also those that are not public yet
	Limit                    int    // 0 is DefaultEvents; at most MostEvents
	Cursor                   string // Page.Next of the page before; "" starts
}

// Page is a page of events in the order of the query. Next is "" on the last.
type Page struct {
	Events []Event
	Next   string
}

// TicketQuery selects tickets of an event, in order of their ordinals. Section
// and Tier are ids or names.
type TicketQuery struct {
	Event   string
	Section string
	Tier    string
	Status  string // available, reserved, purchased or ""
	// Attribute is one that the seats have; "" is any.
	Attribute string
	Limit     int // 0 is DefaultTickets; at most MostTickets
	Cursor    string
}

// TicketPage is a page of tickets. Next is "" on the last.
type TicketPage struct {
	Tickets []Ticket
	Next    string
}

// EventPatch changes an event. Nil fields stay as they are.
type EventPatch struct {
	Name        *string      `json:"name,omitempty"`
	Status      *string      `json:"status,omitempty"`
	Description *string      `json:"description,omitempty"`
	StartsAt    *time.Time   `json:"starts_at,omitempty"`
	DoorsAt     *time.Time   `json:"doors_at,omitempty"`
	MaxPerBuyer *int         `json:"max_per_buyer,omitempty"`
	SingleSeats *SingleSeats `json:"single_seats,omitempty"`
	// RotatingCodes is whether the door takes only tickets whose codes change.
	RotatingCodes *bool `json:"rotating_codes,omitempty"`
	// Images replace all that there are.
	Images *[]Image `json:"images,omitempty"`

	Fees   *FeesPatch          `json:"fees,omitempty"`
	Tax    Change[TaxPatch]    `json:"tax,omitzero"`
	Cancel Change[CancelPatch] `json:"cancellation,omitzero"`

	// Quiet tells nobody that the event takes place at another time.
	Quiet bool `json:"-"`
}

// TicketCursor is the ordinal of the last ticket of a page as a token.
func TicketCursor(ordinal int) string {
	return base64.RawURLEncoding.EncodeToString([]byte("t1." + strconv.Itoa(ordinal)))
}

// ParseTicketCursor decodes a TicketCursor. Anything else is fault.Invalid.
func ParseTicketCursor(token string) (int, error) {
	if len(token) <= 32 {
		if raw, err := base64.RawURLEncoding.DecodeString(token); err == nil {
			if s, ok := strings.CutPrefix(string(raw), "t1."); ok {
				if n, err := strconv.Atoi(s); err == nil && n >= 0 && n <= 1<<30 {
					return n, nil
				}
			}
		}
	}
	return 0, badCursor()
}

func badCursor() error {
	return fault.New(fault.Invalid, "the cursor is not one that a page before gave out")
}

// IsID reports whether s is a UUID in the usual lower-case form. Everything else
// cannot be the id of anything here.
func IsID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return false
			}
		} else if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// Check bounds the query and fills in the order and the limit. What it returns
// is fault.Invalid and names the parameter.
func (q *Query) Check() error {
	for _, p := range [...]struct{ name, value string }{
		{"name", q.Name}, {"artist", q.Artist}, {"type", q.Type}, {"city", q.City}, {"q", q.Text},
	} {
		if utf8.RuneCountInString(p.value) > mostText || !utf8.ValidString(p.value) || strings.ContainsFunc(p.value, unicode.IsControl) {
			return fault.New(fault.Invalid, "%s must be plain text of at most %d characters", p.name, mostText)
		}
	}
	if q.Series != "" && !IsID(q.Series) {
		return fault.New(fault.Invalid, "series must be the id of a series")
	}
	for _, p := range [...]struct {
		name  string
		value time.Time
	}{{"from", q.From}, {"to", q.To}} {
		if y := p.value.Year(); !p.value.IsZero() && (y < 1 || y > 9999) {
			return fault.New(fault.Invalid, "%s must be a year from 1 to 9999", p.name)
		}
	}
	if !q.From.IsZero() && !q.To.IsZero() && q.To.Before(q.From) {
		return fault.New(fault.Invalid, "to is before from")
	}
	if q.Text != "" {
		if _, err := ParseText(q.Text); err != nil {
			return err
		}
	}
	switch {
	case q.Sort == "" && q.Text != "":
		q.Sort = ByRelevance
	case q.Sort == "":
		q.Sort = ByStart
	case q.Sort == ByRelevance && q.Text == "":
		return fault.New(fault.Invalid, "sort can be %s only with q", ByRelevance)
	case q.Sort != ByStart && q.Sort != ByName && q.Sort != ByRelevance:
		return fault.New(fault.Invalid, "sort must be %s, %s or %s", ByStart, ByName, ByRelevance)
	}
	if q.Limit == 0 {
		q.Limit = DefaultEvents
	}
	if q.Limit < 1 || q.Limit > MostEvents {
		return fault.New(fault.Invalid, "limit must be from 1 to %d", MostEvents)
	}
	return nil
}

// Check bounds the query and fills in the limit, like Query.Check.
func (q *TicketQuery) Check() error {
	for _, p := range [...]struct{ name, value string }{{"section", q.Section}, {"tier", q.Tier}} {
		if utf8.RuneCountInString(p.value) > mostText || !storable(p.value) {
			return fault.New(fault.Invalid, "%s must be plain text of at most %d characters", p.name, mostText)
		}
	}
	if err := checkAttribute(q.Attribute); err != nil {
		return err
	}
	switch q.Status {
	case "", "available", "reserved", "purchased":
	default:
		return fault.New(fault.Invalid, "status must be available, reserved or purchased")
	}
	if q.Limit == 0 {
		q.Limit = DefaultTickets
	}
	if q.Limit < 1 || q.Limit > MostTickets {
		return fault.New(fault.Invalid, "limit must be from 1 to %d", MostTickets)
	}
	return nil
}

// Check says what is wrong with the patch, as fault.Invalid.
func (p EventPatch) Check() error {
	var r review
	if p.Name != nil {
		r.nameAt("$.name", *p.Name)
		if !storable(*p.Name) {
			r.problemAtf("$.name", "contains characters that cannot be kept")
		}
	}
	if p.Description != nil && (utf8.RuneCountInString(*p.Description) > mostDescription || !storable(*p.Description)) {
		r.problemAtf("$.description", "must be text of at most %d characters", mostDescription)
	}
	if p.Status != nil && !slices.Contains(eventStatuses, *p.Status) {
		r.problemAtf("$.status", "must be one of %s", strings.Join(eventStatuses, ", "))
	}
	for _, t := range [...]struct {
		path  string
		value *time.Time
	}{{"$.starts_at", p.StartsAt}, {"$.doors_at", p.DoorsAt}} {
		if t.value != nil && (t.value.Year() < 2000 || t.value.Year() > 2200) {
			r.problemAtf(t.path, "is not a plausible year")
		}
	}
	if p.MaxPerBuyer != nil && (*p.MaxPerBuyer < 1 || *p.MaxPerBuyer > mostPerBuyer) {
		r.problemAtf("$.max_per_buyer", "must be from 1 to %d", mostPerBuyer)
	}
	if p.SingleSeats != nil {
		checkSingles(&r, *p.SingleSeats)
	}
	if p.Images != nil {
		checkImages(&r, *p.Images)
	}
	p.checkTerms(&r)
	return r.err("the change")
}

// storable reports whether Postgres can hold s as text.
func storable(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }
