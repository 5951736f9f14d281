package catalog

import (
	"slices"
	"strings"
	"time"
)

// Money is an amount in the minor unit of an ISO 4217 currency: 4500 EUR is
// forty-five euros, 4500 JPY is four thousand five hundred yen.
type Money struct {
	Amount   int64  `json:"amount"`
	Currency string `json:"currency"`
}

// Venue is where an event takes place. Country is an ISO 3166-1 alpha-2 code.
type Venue struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Address string `json:"address"`
	City    string `json:"city"`
	Country string `json:"country"`
}

// Artist performs at events.
type Artist struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Tier is a price of an event. Total counts the tickets that have it.
type Tier struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Type  string `json:"type"` // front_row, balcony, vip, standing …
	Color string `json:"color,omitempty"`
	Price Money  `json:"price"`
	Total int    `json:"total"`
}

// Event is one performance with tickets. It is the part that does not change
// from second to second; stock and the room's state are joined by the caller.
type Event struct {
	ID          string      `json:"id"`
	Name        string      `json:"name"`
	Type        string      `json:"type"`
	Description string      `json:"description,omitempty"`
	StartsAt    time.Time   `json:"starts_at"`
	DoorsAt     *time.Time  `json:"doors_at"`
	Timezone    string      `json:"timezone"` // of the venue, an IANA name
	Status      string      `json:"status"`   // draft, on_sale, postponed, cancelled, ended
	Venue       Venue       `json:"venue"`
	Artists     []Artist    `json:"artists"`
	Tiers       []Tier      `json:"tiers"`
	MaxPerBuyer int         `json:"max_per_buyer"`
	SingleSeats SingleSeats `json:"single_seats"`
	Images      []Image     `json:"images"`
	Terms       Terms       `json:"-"`
	Tickets     int         `json:"-"` // how many there are in all
	Series      *SeriesName `json:"series"`
	// UpdatedAt is when anything said here last changed, Sequence how often that was
	// when, where or whether the event takes place.
	UpdatedAt time.Time `json:"-"`
	Sequence  int       `json:"-"`
	Currency  string    `json:"-"`
	// LayoutRevision grows when what is said of its places changes.
	LayoutRevision int `json:"-"`
}

// Section is a part of the house. Its tickets have the ordinals
// First … First+Count-1.
type Section struct {
	ID    string
	Name  string
	GA    bool // general admission: no rows, no seats
	First int
	Count int

	Entrance string // through which door; "" is any
}

// Seat is what never changes about one ticket.
type Seat struct {
	ID      string
	Section int // index into Layout.Sections
	Tier    int // index into Layout.Tiers
	Row     string
	Name    string // seat number; "" for general admission
	Type    string

	Attributes Attributes
}

// Run is a stretch of adjacent tickets in one row: what a search for seats
// together may be cut from. In a GA section it is the whole section.
type Run struct {
	First, Count int
	GA           bool
}

// SingleSeats is what an event does about seats that would be left with no free
// neighbour.
type SingleSeats string

// The rules about single seats.
const (
	AllowSingles  SingleSeats = "allow"
	AvoidSingles  SingleSeats = "avoid"  // by choosing the best available seats so, where that is possible
	RefuseSingles SingleSeats = "refuse" // seats that are picked one by one, too
)

// Types of tickets that are kept for some people.
const (
	AccessibleType = "accessible" // for people who need such a seat
	CompanionType  = "companion"  // for who comes with them
)

// Layout is the unchanging inventory of one event, in ordinal order: row after
// row, best sections first.
type Layout struct {
	Event       string
	EventName   string
	Status      string
	Currency    string
	MaxPerBuyer int
	SingleSeats SingleSeats
	Terms       Terms
	Revision    int // of the event, at least
	Sections    []Section
	Tiers       []Tier
	Seats       []Seat // by ordinal
	Runs        []Run
	Offer       *Offer // of a layout that Compose made

	byID []int32 // ordinals in the order of the tickets' ids
}

// Index prepares Ordinal; it is called once by whoever loads a Layout. A map of
// large houses would give the garbage collector more to look at than all else.
func (l *Layout) Index() {
	l.byID = make([]int32, len(l.Seats))
	for i := range l.byID {
		l.byID[i] = int32(i)
	}
	slices.SortFunc(l.byID, func(a, b int32) int { return strings.Compare(l.Seats[a].ID, l.Seats[b].ID) })
}

// Ordinal finds a ticket by its id.
func (l *Layout) Ordinal(ticket string) (int, bool) {
	i, ok := slices.BinarySearchFunc(l.byID, ticket, func(o int32, id string) int { return strings.Compare(l.Seats[o].ID, id) })
	if !ok {
		return 0, false
	}
	return int(l.byID[i]), true
}

// Price of the ticket with this ordinal.
func (l *Layout) Price(ordinal int) Money { return l.Tiers[l.Seats[ordinal].Tier].Price }

// Ticket is one sellable unit as the API shows it.
type Ticket struct {
	ID      string `json:"id"`
	Ordinal int    `json:"ordinal"`
	Section string `json:"section"`
	Row     string `json:"row"`
	Seat    string `json:"seat"`
	Type    string `json:"type"`
	Tier    string `json:"tier"` // the tier's name
	Price   Money  `json:"price"`
	Status  string `json:"status,omitempty"` // available, reserved, purchased

	Attributes Attributes `json:"attributes,omitzero"`
	Entrance   string     `json:"entrance,omitempty"`
}

// Ticket describes the ticket with this ordinal, without a status.
func (l *Layout) Ticket(ordinal int) Ticket {
	s := l.Seats[ordinal]
	return Ticket{
		ID: s.ID, Ordinal: ordinal, Section: l.Sections[s.Section].Name,
		Row: s.Row, Seat: s.Name, Type: s.Type, Tier: l.Tiers[s.Tier].Name, Price: l.Tiers[s.Tier].Price,
		Attributes: s.Attributes, Entrance: l.Sections[s.Section].Entrance,
	}
}
