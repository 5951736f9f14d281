package catalog

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // an event's time zone must be known on any machine
	"unicode/utf8"
)

// NewEvent is an event to be created: the event itself, where its seats are and
// what they cost. ParseEvent reads one from a document; Compose lays out its
// tickets.
type NewEvent struct {
	ID          string // of an event that exists already; "" for a new one
	Name        string
	Type        string // concert, theatre, sport … lower case
	Description string
	Status      string // "" is on_sale
	StartsAt    time.Time
	DoorsAt     *time.Time
	Timezone    string // of the venue, an IANA name; "" is UTC
	Venue       Venue  // without id: name and city identify it
	Artists     []string
	Images      []Image
	Currency    string      // ISO 4217
	MaxPerBuyer int         // 0 is DefaultMaxPerBuyer
	SingleSeats SingleSeats // "" is AvoidSingles
	// RotatingCodes is whether the door takes only tickets whose codes change.
	RotatingCodes bool
	Terms         Terms

	Plan    *Plan  // the seats; nil with PlanRef or for general admission only
	PlanRef string // id or name of an imported plan, to be looked up
	Prices  []Price
	Areas   []StandingArea
	// Sections are named by the plan and the areas.
	Sections []SectionNote
	Room     RoomSettings // zero fields take DefaultRoom's

	Dates *Dates // of several events that are alike; nil for one

	said map[string]bool // what the document named; the rest are defaults
}

// Price is what the seats of one category cost.
type Price struct {
	Category string `json:"category"`
	Name     string `json:"name"`            // "" is the category's
	Type     string `json:"type"`            // of the tickets; "" is standard
	Color    string `json:"color,omitempty"` // "" is the category's, or one from the palette
	Amount   int64  `json:"amount"`          // minor units of the event's currency
}

// StandingArea is a general-admission section.
type StandingArea struct {
	Name     string    `json:"name"`
	Capacity int       `json:"capacity"`
	Amount   int64     `json:"amount"`             // minor units of the event's currency
	Type     string    `json:"type"`               // "" is standing
	Color    string    `json:"color,omitempty"`    // "" is one from the palette
	Position *Position `json:"position,omitempty"` // where it is drawn; nil: chosen
	Entrance string    `json:"entrance,omitempty"` // through which door; "" is any
}

// Position is a rectangle in plan pixels.
type Position struct {
	X      float64 `json:"x"`
	Y      float64 `json:"y"`
	Width  float64 `json:"width"`
	Height float64 `json:"height"`
}

// DefaultMaxPerBuyer is how many tickets of an event one buyer may have when
// nothing is said.
const DefaultMaxPerBuyer = 6

// RoomSettings is how the waiting room of an event starts: the row that the room
// is rebuilt from. States are those of the waiting room.
type RoomSettings struct {
	State         string // scheduled, lobby, open, paused, draining or closed
	Reason        string
	Message       string
	OpensAt       *time.Time
	LobbyOpensAt  *time.Time
	ClosesAt      *time.Time
	RatePerMinute int // admissions; 0 admits nobody
	Burst         int
	MaxShoppers   int
	Lease         time.Duration // whole seconds
	ClaimWindow   time.Duration // whole seconds
	Grace         time.Duration // whole seconds; after a missed turn, for coming back to it
	Order         string        // fifo, draw or random
	InviteOnly    bool
	Challenge     string // off or pow
	PublicSource  string // of the value that a draw waits for; "" for none
}

// Defaults are what an event document may leave to the site: how its room
// starts, how many tickets one buyer may have, and the tax by the country of its
// venue.
type Defaults struct {
	Room        RoomSettings
	MaxPerBuyer int
	Taxes       map[string]Tax
	// ImageOrigins are where the pictures on pages may come from.
	ImageOrigins []string
}

// DefaultRoom is an open room with a gentle throttle.
func DefaultRoom() RoomSettings {
	return RoomSettings{
		State: "open", RatePerMinute: 600, Burst: 100, MaxShoppers: 500,
		Lease: 10 * time.Minute, ClaimWindow: time.Minute, Grace: 2 * time.Minute,
		Order: "fifo", Challenge: "off",
	}
}

// WithDefaults fills what a NewEvent may leave out.
func (e NewEvent) WithDefaults() NewEvent {
	if e.Type == "" {
		e.Type = "concert"
	}
	if e.Status == "" {
		e.Status = "on_sale"
	}
	if e.Timezone == "" {
		e.Timezone = "UTC"
	}
	if e.MaxPerBuyer == 0 {
		e.MaxPerBuyer = DefaultMaxPerBuyer
	}
	if e.SingleSeats == "" {
		e.SingleSeats = AvoidSingles
	}
	e.Prices = slices.Clone(e.Prices)
	for i := range e.Prices {
		p := &e.Prices[i]
		if p.Name == "" {
			p.Name = p.Category
		}
		if p.Type == "" {
			p.Type = "standard"
		}
	}
	e.Areas = slices.Clone(e.Areas)
	for i := range e.Areas {
		if e.Areas[i].Type == "" {
			e.Areas[i].Type = "standing"
		}
	}
	d := DefaultRoom()
	r := &e.Room
	if r.State == "" {
		r.State = d.State
		if r.OpensAt != nil {
			r.State = "scheduled"
		}
	}
	if r.RatePerMinute == 0 {
		r.RatePerMinute = d.RatePerMinute
	}
	if r.Burst == 0 {
		r.Burst = d.Burst
	}
	if r.MaxShoppers == 0 {
		r.MaxShoppers = d.MaxShoppers
	}
	if r.Lease == 0 {
		r.Lease = d.Lease
	}
	if r.ClaimWindow == 0 {
		r.ClaimWindow = d.ClaimWindow
	}
	if r.Grace == 0 {
		r.Grace = d.Grace
	}
	if r.Order == "" {
		r.Order = d.Order
	}
	if r.Challenge == "" {
		r.Challenge = d.Challenge
	}
	return e
}

var (
	typePattern     = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)
	currencyPattern = regexp.MustCompile(`^[A-Z]{3}$`)
	countryPattern  = regexp.MustCompile(`^[A-Z]{2}$`)

	singleSeats   = []SingleSeats{AllowSingles, AvoidSingles, RefuseSingles}
	eventStatuses = []string{"draft", "on_sale", "postponed", "cancelled", "ended"}
	roomStates    = []string{"scheduled", "lobby", "open", "paused", "draining", "closed"}

	roomOrders     = []string{"fifo", "draw", "random"}
	roomChallenges = []string{"off", "pow"}
)

// Bounds of an event.
const (
	mostAmount      = 1_000_000_000_000
	mostStanding    = 250_000
	mostPerBuyer    = 100
	mostDescription = 10_000
	mostArtists     = 50
	mostTiers       = 64
	mostRate        = 1_000_000
	mostBurst       = 100_000
	mostShoppers    = 1_000_000
)

// check reports everything that keeps e from being sold. It expects defaults to
// be filled in.
func (e *NewEvent) check(r *review) {
	r.nameAt("$.name", e.Name)
	if utf8.RuneCountInString(e.Description) > mostDescription || !storable(e.Description) {
		r.problemAtf("$.description", "must be text of at most %d characters", mostDescription)
	}
	if !typePattern.MatchString(e.Type) {
		r.problemAtf("$.type", "must be a lower-case word such as concert")
	}
	if !slices.Contains(eventStatuses, e.Status) {
		r.problemAtf("$.status", "must be one of %s", strings.Join(eventStatuses, ", "))
	}
	switch year := e.StartsAt.Year(); {
	case e.StartsAt.IsZero():
		r.problemAtf("$.starts_at", "is missing")
	case year < 2000 || year > 2200:
		r.problemAtf("$.starts_at", "is not a plausible year")
	case e.DoorsAt != nil && e.DoorsAt.After(e.StartsAt):
		r.problemAtf("$.doors_at", "is after starts_at")
	}
	if _, err := time.LoadLocation(e.Timezone); err != nil || e.Timezone == "Local" {
		r.problemAtf("$.timezone", "is not a known time zone such as Europe/Berlin")
	}
	r.nameAt("$.venue.name", e.Venue.Name)
	for _, p := range [...]struct{ name, value string }{{"address", e.Venue.Address}, {"city", e.Venue.City}} {
		if utf8.RuneCountInString(p.value) > mostText || !storable(p.value) {
			r.problemAtf("$.venue."+p.name, "must be text of at most %d characters", mostText)
		}
	}
	if e.Venue.Country != "" && !countryPattern.MatchString(e.Venue.Country) {
		r.problemAtf("$.venue.country", "must be two capital letters (ISO 3166-1)")
	}
	if len(e.Artists) > mostArtists {
		r.problemAtf("$.artists", "are more than %d", mostArtists)
	}
	seen := make(map[string]bool)
	for i, a := range e.Artists {
		path := "$.artists[" + strconv.Itoa(i) + "]"
		r.nameAt(path, a)
		if seen[a] {
			r.problemAtf(path, "%q is named twice", clip(a))
		}
		seen[a] = true
	}
	if !currencyPattern.MatchString(e.Currency) {
		r.problemAtf("$.currency", "must be three capital letters (ISO 4217)")
	} else if _, known := CurrencyDecimals(e.Currency); !known {
		r.problemAtf("$.currency", "%s is not a currency in use (ISO 4217)", e.Currency)
	}
	if e.MaxPerBuyer < 1 || e.MaxPerBuyer > mostPerBuyer {
		r.problemAtf("$.max_per_buyer", "must be from 1 to %d", mostPerBuyer)
	}
	checkSingles(r, e.SingleSeats)
	e.Terms.check(r)
	checkImages(r, e.Images)
	e.checkInventory(r)
	e.checkSections(r)
	e.Room.check(r)
}

func (e *NewEvent) checkInventory(r *review) {
	priced := make(map[string]bool)
	for _, p := range e.Prices {
		path := "$.prices" + memberPath(p.Category)
		r.nameAt(path+".name", p.Name)
		r.typeAt(path+".type", p.Type)
		r.amountAt(path+".amount", p.Amount)
		r.colorAt(path+".color", p.Color)
		if priced[p.Category] {
			r.problemAtf(path, "the category is priced twice")
		}
		priced[p.Category] = true
	}
	e.checkAreas(r)
	if len(e.Prices)+len(e.Areas) > mostTiers {
		r.problemAtf("$.prices", "there are more than %d prices and areas", mostTiers)
	}
	if e.Plan == nil {
		if e.PlanRef == "" && len(e.Prices) > 0 {
			r.problemAtf("$.prices", "there is no plan that these prices belong to")
		}
		if e.PlanRef == "" && len(e.Areas) == 0 {
			r.problemAtf("$", "the event has neither a plan nor areas, so nothing to sell")
		}
		return
	}
	if e.Plan.Seats == 0 && len(e.Areas) == 0 {
		r.problemAtf("$.plan", "the plan has no seats and the event has no areas, so there is nothing to sell")
	}
	uses := e.Plan.used()
	for _, category := range slices.Sorted(maps.Keys(uses)) {
		if u := uses[category]; !priced[category] {
			r.problemAtf("$.prices", "%d seats have the category %q, which has no price; the first is at %s of the plan",
				u.seats, clip(category), u.first.path())
		}
	}
	for _, p := range e.Prices {
		listed := slices.ContainsFunc(e.Plan.Categories, func(c Category) bool { return c.Name == p.Category })
		if _, used := uses[p.Category]; !used && !listed {
			r.problemAtf("$.prices"+memberPath(p.Category), "the plan has no such category")
		}
	}
}

func (e *NewEvent) checkAreas(r *review) {
	names := make(map[string]bool)
	if e.Plan != nil {
		for _, z := range e.Plan.Zones {
			names[z.Name] = names[z.Name] || len(z.Rows) > 0
		}
	}
	standing := 0
	for i, a := range e.Areas {
		path := "$.areas[" + strconv.Itoa(i) + "]"
		r.nameAt(path+".name", a.Name)
		if names[a.Name] {
			r.problemAtf(path+".name", "there is another section called %q", clip(a.Name))
		}
		names[a.Name] = true
		if a.Capacity < 1 || a.Capacity > mostStanding {
			r.problemAtf(path+".capacity", "must be from 1 to %d", mostStanding)
		} else {
			standing += a.Capacity
		}
		r.amountAt(path+".price", a.Amount)
		r.typeAt(path+".type", a.Type)
		r.colorAt(path+".color", a.Color)
		if p := a.Position; p != nil && (p.Width <= 0 || p.Height <= 0 || math.Abs(p.X)+math.Abs(p.Y)+p.Width+p.Height > mostPixels) {
			r.problemAtf(path+".position", "must be a rectangle with a width and a height")
		}
	}
	if standing > mostStanding {
		r.problemAtf("$.areas", "hold %d people, more than %d", standing, mostStanding)
	}
}

func checkSingles(r *review, s SingleSeats) {
	if !slices.Contains(singleSeats, s) {
		r.problemAtf("$.single_seats", "must be one of allow, avoid, refuse")
	}
}

// Check says what is wrong with the settings, as fault.Invalid.
func (s RoomSettings) Check() error {
	var r review
	s.check(&r)
	return r.err("the room")
}

func (s RoomSettings) check(r *review) {
	if !slices.Contains(roomStates, s.State) {
		r.problemAtf("$.room.state", "must be one of %s", strings.Join(roomStates, ", "))
	}
	if s.State == "scheduled" && s.OpensAt == nil {
		r.problemAtf("$.room.opens_at", "is missing for a scheduled room")
	}
	within := func(name string, v, low, high int) {
		if v < low || v > high {
			r.problemAtf("$.room."+name, "must be from %d to %d", low, high)
		}
	}
	within("rate_per_minute", s.RatePerMinute, 0, mostRate)
	within("burst", s.Burst, 1, mostBurst)
	within("max_shoppers", s.MaxShoppers, 0, mostShoppers)
	within("lease_s", int(s.Lease/time.Second), 10, 86400)
	within("claim_window_s", int(s.ClaimWindow/time.Second), 5, 3600)
	within("grace_s", int(s.Grace/time.Second), 0, 86400)
	if s.Lease%time.Second != 0 || s.ClaimWindow%time.Second != 0 || s.Grace%time.Second != 0 {
		r.problemAtf("$.room", "lease, claim window and grace must be whole seconds")
	}
	if !slices.Contains(roomOrders, s.Order) {
		r.problemAtf("$.room.order", "must be one of %s", strings.Join(roomOrders, ", "))
	}
	if !slices.Contains(roomChallenges, s.Challenge) {
		r.problemAtf("$.room.challenge", "must be one of %s", strings.Join(roomChallenges, ", "))
	}
	if s.PublicSource != "" && s.Order != "draw" {
		r.problemAtf("$.room.public_source", "belongs to a room whose order is draw")
	}
	if utf8.RuneCountInString(s.PublicSource) > 300 || !storable(s.PublicSource) {
		r.problemAtf("$.room.public_source", "must be text of at most 300 characters")
	}
	for _, text := range [...]struct{ name, value string }{{"reason", s.Reason}, {"message", s.Message}} {
		if utf8.RuneCountInString(text.value) > 1000 {
			r.problemAtf("$.room."+text.name, "is longer than 1000 characters")
		}
	}
}

// problemAtf is problemf for a place given as a path. A place that was found wrong
// when it was read is not found wrong again.
func (r *review) problemAtf(path, format string, args ...any) {
	for _, p := range r.problems {
		if p.Path == path {
			return
		}
	}
	r.found++
	if len(r.problems) < mostProblems {
		r.problems = append(r.problems, Problem{path, fmt.Sprintf(format, args...)})
	}
}

func (r *review) nameAt(path, name string) {
	switch {
	case strings.TrimSpace(name) == "":
		r.problemAtf(path, "is missing")
	case utf8.RuneCountInString(name) > mostText:
		r.problemAtf(path, "is longer than %d characters", mostText)
	case !storable(name):
		r.problemAtf(path, "is not plain text")
	}
}

func (r *review) typeAt(path, name string) {
	if !typePattern.MatchString(name) {
		r.problemAtf(path, "must be a lower-case word such as standard")
	}
}

func (r *review) amountAt(path string, amount int64) {
	if amount < 0 || amount > mostAmount {
		r.problemAtf(path, "must be from 0 to %d minor units", int64(mostAmount))
	}
}

func (r *review) colorAt(path, color string) {
	if color != "" && !colorPattern.MatchString(color) {
		r.problemAtf(path, "must be of the form #rrggbb")
	}
}

func memberPath(key string) string {
	if plainKey(key) {
		return "." + key
	}
	return "[" + strconv.Quote(clip(key)) + "]"
}
