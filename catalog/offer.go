package catalog

import (
	"reflect"
	"slices"
)

// Offer is what the document of an event said of its prices and areas, with where
// each of them is among the tiers: what the tiers alone do not tell any more. The
// tiers decide about names and amounts.
type Offer struct {
	Prices []OfferedPrice `json:"prices"`
	Areas  []OfferedArea  `json:"areas"`

	Sections []SectionNote `json:"sections,omitempty"`
}

// OfferedPrice is the price of a category.
type OfferedPrice struct {
	Price

	Tier int `json:"tier"` // index into the tiers, or -1: no seat has the category
}

// OfferedArea is a standing area.
type OfferedArea struct {
	StandingArea

	Tier int `json:"tier"` // index into the tiers
}

// offer is what the laid out event says.
func (h *house) offer() *Offer {
	o := &Offer{Prices: make([]OfferedPrice, 0, len(h.event.Prices)), Areas: make([]OfferedArea, 0, len(h.event.Areas))}
	for _, p := range h.event.Prices {
		tier, sold := h.tierOf[p.Category]
		if !sold {
			tier = -1
		}
		o.Prices = append(o.Prices, OfferedPrice{p, tier})
	}
	for i, a := range h.event.Areas {
		o.Areas = append(o.Areas, OfferedArea{a, h.areaOf[i]})
	}
	o.Sections = h.event.Sections
	return o
}

// Existing is an event as it is now, written like a new one.
type Existing struct {
	NewEvent

	Offer Offer  // where its prices and areas are among the tiers
	Tiers []Tier // by position
}

// NewExisting completes e with what o and the tiers say.
func NewExisting(e NewEvent, o Offer, tiers []Tier) Existing {
	known := func(i int) bool { return i >= 0 && i < len(tiers) }
	for i := range o.Prices {
		if p := &o.Prices[i]; known(p.Tier) {
			p.Name, p.Type, p.Amount = tiers[p.Tier].Name, tiers[p.Tier].Type, tiers[p.Tier].Price.Amount
		}
		e.Prices = append(e.Prices, o.Prices[i].Price)
	}
	for i := range o.Areas {
		if a := &o.Areas[i]; known(a.Tier) {
			a.Type, a.Capacity, a.Amount = tiers[a.Tier].Type, tiers[a.Tier].Total, tiers[a.Tier].Price.Amount
		}
		e.Areas = append(e.Areas, o.Areas[i].StandingArea)
	}
	e.Sections = o.Sections
	return Existing{e, o, tiers}
}

// CategoryOf finds the category of a seat by what is printed on its ticket.
func (p *Plan) CategoryOf(section, row, seat string) (string, bool) {
	for _, z := range p.Zones {
		if z.Name != section {
			continue
		}
		for _, r := range z.Rows {
			if r.Name != row {
				continue
			}
			for _, s := range r.Seats {
				if s.Number == seat {
					return s.Category, true
				}
			}
		}
	}
	return "", false
}

// Same reports whether two plans have the same seats in the same places and draw
// the same around them, whatever the order of keys in their documents.
func (p *Plan) Same(as *Plan) bool {
	if p == nil || as == nil {
		return p == as
	}
	if p.Version == as.Version {
		return true
	}
	return reflect.DeepEqual(p.bare(), as.bare())
}

// bare is a copy of the plan without its document.
func (p *Plan) bare() Plan {
	b := *p
	b.Version, b.Document = "", nil
	b.Zones = slices.Clone(b.Zones)
	for i := range b.Zones {
		z := &b.Zones[i]
		z.Rows = slices.Clone(z.Rows)
		for k := range z.Rows {
			z.Rows[k].Seats = slices.Clone(z.Rows[k].Seats)
			for n := range z.Rows[k].Seats {
				z.Rows[k].Seats[n].at = nil
			}
		}
	}
	return b
}
