package catalog

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"
)

// Document writes the event as the JSON document that ParseEvent reads, with the
// plan inside if e has it, else by its id or name. Times are those of the event's
// time zone. What the room has at zero, so that it admits nobody for now, or the rooms
// of a series do not have in common, is left out.
func (e NewEvent) Document() ([]byte, error) {
	zone, err := time.LoadLocation(e.Timezone)
	if err != nil {
		return nil, err
	}
	at := func(t *time.Time) string {
		if t == nil {
			return ""
		}
		return t.In(zone).Format(time.RFC3339Nano)
	}
	doc := eventOut{
		ID: e.ID, Name: e.Name, Type: e.Type, Description: e.Description, Status: e.Status,
		StartsAt: at(&e.StartsAt), DoorsAt: at(e.DoorsAt), Timezone: e.Timezone, Artists: e.Artists, Images: e.Images, Currency: e.Currency,
		MaxPerBuyer: e.MaxPerBuyer, SingleSeats: e.SingleSeats, RotatingCodes: e.RotatingCodes,
		Fees: feesOut{e.Terms.FeePerTicket, e.Terms.FeePerOrder},
		Tax:  taxOut(e.Terms.Tax), Cancel: e.Terms.Cancel,
		Venue: venueOut{e.Venue.Name, e.Venue.Address, e.Venue.City, e.Venue.Country},
		Room: roomOut{
			State: e.Room.State, Message: e.Room.Message,
			OpensAt: at(e.Room.OpensAt), LobbyOpensAt: at(e.Room.LobbyOpensAt), ClosesAt: at(e.Room.ClosesAt),
			RatePerMinute: e.Room.RatePerMinute, Burst: e.Room.Burst, MaxShoppers: e.Room.MaxShoppers,
			Lease: int(e.Room.Lease / time.Second), ClaimWindow: int(e.Room.ClaimWindow / time.Second), Grace: int(e.Room.Grace / time.Second),
			Order: e.Room.Order, InviteOnly: e.Room.InviteOnly, Challenge: e.Room.Challenge, PublicSource: e.Room.PublicSource,
		},
	}
	if e.Dates != nil {
		doc.ID, doc.StartsAt, doc.DoorsAt = e.Dates.Series, "", ""
		for _, d := range e.Dates.All {
			doc.Dates = append(doc.Dates, dateOut{
				d.Event, at(&d.StartsAt), at(d.DoorsAt), d.Status, dateRoomOut{at(d.OpensAt), at(d.LobbyOpensAt), at(d.ClosesAt)},
			})
		}
	}
	switch {
	case e.Plan != nil:
		doc.Plan = json.RawMessage(e.Plan.Document)
	case e.PlanRef != "":
		doc.Plan = e.PlanRef
	}
	for _, p := range e.Prices {
		doc.Prices = append(doc.Prices, priceMember{p.Category, priceOut{p.Amount, p.Name, p.Type, p.Color}})
	}
	for _, a := range e.Areas {
		doc.Areas = append(doc.Areas, areaOut{a.Name, a.Capacity, a.Amount, a.Type, a.Color, a.Position, a.Entrance})
	}
	doc.Sections = sectionsOut(e.Sections)
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(doc); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(out.Bytes()), nil
}

// The event document, keys in the order in which people read them.
type eventOut struct {
	ID            string        `json:"id,omitempty"`
	Name          string        `json:"name"`
	Type          string        `json:"type"`
	Description   string        `json:"description,omitempty"`
	Status        string        `json:"status"`
	StartsAt      string        `json:"starts_at,omitempty"`
	Dates         []dateOut     `json:"dates,omitempty"`
	DoorsAt       string        `json:"doors_at,omitempty"`
	Timezone      string        `json:"timezone"`
	Venue         venueOut      `json:"venue"`
	Artists       []string      `json:"artists,omitempty"`
	Images        []Image       `json:"images,omitempty"`
	Currency      string        `json:"currency"`
	MaxPerBuyer   int           `json:"max_per_buyer"`
	SingleSeats   SingleSeats   `json:"single_seats"`
	RotatingCodes bool          `json:"rotating_codes"`
	Fees          feesOut       `json:"fees"`
	Tax           taxOut        `json:"tax"`
	Cancel        *CancelPolicy `json:"cancellation,omitempty"`
	Plan          any           `json:"plan,omitempty"`
	Prices        pricesOut     `json:"prices,omitempty"`
	Areas         []areaOut     `json:"areas,omitempty"`
	Sections      sectionsOut   `json:"sections,omitempty"`
	Room          roomOut       `json:"room"`
}

type dateOut struct {
	ID       string      `json:"id,omitempty"`
	StartsAt string      `json:"starts_at"`
	DoorsAt  string      `json:"doors_at,omitempty"`
	Status   string      `json:"status,omitempty"`
	Room     dateRoomOut `json:"room,omitzero"`
}

type dateRoomOut struct {
	OpensAt      string `json:"opens_at,omitempty"`
	LobbyOpensAt string `json:"lobby_opens_at,omitempty"`
	ClosesAt     string `json:"closes_at,omitempty"`
}

type venueOut struct {
	Name    string `json:"name"`
	Address string `json:"address,omitempty"`
	City    string `json:"city,omitempty"`
	Country string `json:"country,omitempty"`
}

type feesOut struct {
	PerTicket int64 `json:"per_ticket"`
	PerOrder  int64 `json:"per_order"`
}

type taxOut struct {
	Name     string `json:"name,omitempty"`
	Rate     Rate   `json:"percent"`
	Included bool   `json:"included"`
}

type priceOut struct {
	Amount int64  `json:"amount"`
	Name   string `json:"name,omitempty"`
	Type   string `json:"type,omitempty"`
	Color  string `json:"color,omitempty"`
}

type areaOut struct {
	Name     string    `json:"name"`
	Capacity int       `json:"capacity"`
	Price    int64     `json:"price"`
	Type     string    `json:"type,omitempty"`
	Color    string    `json:"color,omitempty"`
	Position *Position `json:"position,omitempty"`
	Entrance string    `json:"entrance,omitempty"`
}

type roomOut struct {
	State         string `json:"state,omitempty"`
	Message       string `json:"message,omitempty"`
	OpensAt       string `json:"opens_at,omitempty"`
	LobbyOpensAt  string `json:"lobby_opens_at,omitempty"`
	ClosesAt      string `json:"closes_at,omitempty"`
	RatePerMinute int    `json:"rate_per_minute,omitempty"`
	Burst         int    `json:"burst,omitempty"`
	MaxShoppers   int    `json:"max_shoppers,omitempty"`
	Lease         int    `json:"lease_s,omitempty"`
	ClaimWindow   int    `json:"claim_window_s,omitempty"`
	Grace         int    `json:"grace_s,omitempty"`
	Order         string `json:"order,omitempty"`
	InviteOnly    bool   `json:"invite_only,omitempty"`
	Challenge     string `json:"challenge,omitempty"`
	PublicSource  string `json:"public_source,omitempty"`
}

// pricesOut is an object whose members keep their order.
type pricesOut []priceMember

type priceMember struct {
	category string
	price    priceOut
}

// MarshalJSON writes one member per category.
func (p pricesOut) MarshalJSON() ([]byte, error) {
	var b strings.Builder
	b.WriteByte('{')
	for i, m := range p {
		if i > 0 {
			b.WriteByte(',')
		}
		price, err := json.Marshal(m.price)
		if err != nil {
			return nil, err
		}
		b.Write(appendString(nil, m.category))
		b.WriteByte(':')
		b.Write(price)
	}
	b.WriteByte('}')
	return []byte(b.String()), nil
}

// sectionsOut is an object with a member per section.
type sectionsOut []SectionNote

// MarshalJSON writes one member per section.
func (s sectionsOut) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, n := range s {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, n.Name), `:{"entrance":`...)
		b = append(appendString(b, n.Entrance), '}')
	}
	return append(b, '}'), nil
}
