package web

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"onsale/catalog"
	"onsale/checkout"
	"onsale/internal/fault"
)

// mostNamed bounds the tickets that one request may name.
const mostNamed = 100

type holdBody struct {
	Tickets  []string   `json:"tickets"`
	Ordinals []int      `json:"ordinals"`
	Areas    []areaBody `json:"areas"`
	Best     *bestBody  `json:"best_available"`
}

type areaBody struct {
	Section  string `json:"section"` // id or name
	Quantity int    `json:"quantity"`
	Channel  string `json:"channel"` // id or name
}

type bestBody struct {
	Quantity        int    `json:"quantity"`
	Tier            string `json:"tier"`    // id or name; "" for any
	Section         string `json:"section"` // id or name; "" for any
	MinPrice        int64  `json:"min_price"`
	MaxPrice        int64  `json:"max_price"`
	Accessible      bool   `json:"accessible"`
	AccessibleSeats int    `json:"accessible_seats"` // 0 with accessible is 1
	Split           bool   `json:"split"`
	Channel         string `json:"channel"` // id or name
}

// eventShopper is the event that the path names, and who shops there.
func (s *Server) eventShopper(c *gin.Context) (event, visitor string, err error) {
	if event, err = id(c, "id"); err != nil {
		return "", "", err
	}
	visitor, err = s.shopper(c, event)
	return event, visitor, err
}

func (s *Server) makeHold(c *gin.Context) {
	event, visitor, err := s.eventShopper(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	var b holdBody
	if err := body(c, &b); err != nil {
		s.fail(c, err)
		return
	}
	ctx := c.Request.Context()
	layout, err := s.Catalog.Layout(ctx, event)
	if err != nil {
		s.fail(c, err)
		return
	}
	r, err := b.request(layout)
	if err != nil {
		s.fail(c, err)
		return
	}
	r.Event, r.Visitor = event, visitor
	if key := c.GetHeader("Idempotency-Key"); key != "" {
		if len(key) > 255 {
			s.fail(c, fault.New(fault.Invalid, "Idempotency-Key is longer than 255 bytes"))
			return
		}
		r.ID = derivedID("hold", event, visitor, key)
	}
	hold, err := s.Shop.Hold(ctx, r)
	if err == nil && r.ID != "" && !answers(hold, r) {
		err = fault.New(fault.KeyReused, "this Idempotency-Key was sent for other tickets; use a fresh key")
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Header("Location", "/v1/events/"+event+"/holds/"+hold.ID)
	private(c, http.StatusCreated, hold)
}

// request finds the named tickets in the layout.
func (b *holdBody) request(layout *catalog.Layout) (checkout.HoldRequest, error) {
	var r checkout.HoldRequest
	named := 0
	for _, given := range []bool{b.Tickets != nil, b.Ordinals != nil, b.Best != nil} {
		if given {
			named++
		}
	}
	if named > 1 || named == 0 && len(b.Areas) == 0 {
		return r, fault.New(fault.Invalid, "give exactly one of tickets, ordinals and best_available, or areas with or without one of them")
	}
	if len(b.Areas) > mostNamed {
		return r, tooManyNamed(layout)
	}
	for i, a := range b.Areas {
		n := sectionNamed(layout, a.Section)
		if n < 0 {
			return r, fault.New(fault.Invalid, "areas[%d].section: the event has no section %q", i, clip(a.Section))
		}
		r.Areas = append(r.Areas, checkout.AreaQuantity{Section: n, Quantity: a.Quantity, Channel: a.Channel})
	}
	var err error
	switch {
	case b.Best != nil:
		r.Best, err = b.Best.request(layout)
	case b.Ordinals != nil:
		r.Ordinals, err = someOrdinals(layout, "ordinals", b.Ordinals)
	case b.Tickets != nil:
		r.Ordinals, err = ordinalsOf(layout, "tickets", b.Tickets)
	}
	return r, err
}

func (b *bestBody) request(layout *catalog.Layout) (*checkout.BestAvailable, error) {
	best := checkout.BestAvailable{
		Quantity: b.Quantity, Tier: -1, Section: -1, MinPrice: b.MinPrice, MaxPrice: b.MaxPrice,
		Accessible: b.AccessibleSeats, Split: b.Split, Channel: b.Channel,
	}
	if b.Accessible && best.Accessible == 0 {
		best.Accessible = 1
	}
	if b.Tier != "" {
		if best.Tier = tierNamed(layout, b.Tier); best.Tier < 0 {
			return nil, fault.New(fault.Invalid, "best_available.tier: the event has no tier %q", clip(b.Tier))
		}
	}
	if b.Section != "" {
		if best.Section = sectionNamed(layout, b.Section); best.Section < 0 {
			return nil, fault.New(fault.Invalid, "best_available.section: the event has no section %q", clip(b.Section))
		}
	}
	return &best, nil
}

// tierNamed is the index of a tier by its id or name, -1 for none.
func tierNamed(layout *catalog.Layout, name string) int {
	return slices.IndexFunc(layout.Tiers, func(t catalog.Tier) bool { return t.ID == name || t.Name == name })
}

// sectionNamed is the index of a section by its id or name, -1 for none.
func sectionNamed(layout *catalog.Layout, name string) int {
	return slices.IndexFunc(layout.Sections, func(s catalog.Section) bool { return s.ID == name || s.Name == name })
}

func tooManyNamed(layout *catalog.Layout) error {
	return fault.New(fault.LimitReached, "one buyer may have at most %d tickets of this event", layout.MaxPerBuyer).
		With("limit", layout.MaxPerBuyer)
}

func someOrdinals(layout *catalog.Layout, field string, ordinals []int) ([]int, error) {
	switch n := len(ordinals); {
	case n == 0:
		return nil, fault.New(fault.Invalid, "%s names no ticket", field)
	case n > mostNamed:
		return nil, tooManyNamed(layout)
	}
	return ordinals, nil
}

// ordinalsOf finds tickets by their ids.
func ordinalsOf(layout *catalog.Layout, field string, tickets []string) ([]int, error) {
	switch n := len(tickets); {
	case n == 0:
		return nil, fault.New(fault.Invalid, "%s names no ticket", field)
	case n > mostNamed:
		return nil, tooManyNamed(layout)
	}
	ordinals := make([]int, len(tickets))
	for i, t := range tickets {
		o, ok := layout.Ordinal(strings.ToLower(t))
		if !ok {
			return nil, fault.New(fault.NotFound, "the event has no ticket %q", clip(t))
		}
		ordinals[i] = o
	}
	return ordinals, nil
}

// answers reports whether a hold, which may be one made before under the same
// key, has what is asked for.
func answers(h checkout.Hold, r checkout.HoldRequest) bool {
	if len(h.Ordinals) != r.Quantity() {
		return false
	}
	for _, o := range r.Ordinals {
		if !slices.Contains(h.Ordinals, o) {
			return false
		}
	}
	return true
}

type changeBody struct {
	Add          []string `json:"add"`
	Drop         []string `json:"drop"`
	AddOrdinals  []int    `json:"add_ordinals"`
	DropOrdinals []int    `json:"drop_ordinals"`
}

// changeHold adds tickets to a hold and drops others. Repeating it changes nothing
// more.
func (s *Server) changeHold(c *gin.Context) {
	var b changeBody
	if err := body(c, &b); err != nil {
		s.fail(c, err)
		return
	}
	s.hold(c, func(event, visitor, hold string) error {
		ctx := c.Request.Context()
		layout, err := s.Catalog.Layout(ctx, event)
		if err != nil {
			return err
		}
		change := checkout.HoldChange{Event: event, Visitor: visitor, Hold: hold}
		for _, list := range []struct {
			field    string
			into     *[]int
			tickets  []string
			ordinals []int
		}{
			{"add", &change.Add, b.Add, b.AddOrdinals},
			{"drop", &change.Drop, b.Drop, b.DropOrdinals},
		} {
			if list.tickets != nil && list.ordinals != nil {
				return fault.New(fault.Invalid, "give either %s or %s_ordinals", list.field, list.field)
			}
			if list.tickets != nil {
				*list.into, err = ordinalsOf(layout, list.field, list.tickets)
			} else if list.ordinals != nil {
				*list.into, err = someOrdinals(layout, list.field+"_ordinals", list.ordinals)
			}
			if err != nil {
				return err
			}
		}
		h, err := s.Shop.ChangeHold(ctx, change)
		if err == nil {
			private(c, http.StatusOK, h)
		}
		return err
	})
}

func (s *Server) listHolds(c *gin.Context) {
	event, visitor, err := s.eventShopper(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	holds, err := s.Shop.Holds(c.Request.Context(), event, visitor)
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, gin.H{"holds": holds})
}

// hold runs one of the calls about one hold of the asking shopper.
func (s *Server) hold(c *gin.Context, do func(event, visitor, hold string) error) {
	event, visitor, err := s.eventShopper(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	hold, err := id(c, "hold")
	if err != nil {
		s.fail(c, err)
		return
	}
	if err := do(event, visitor, hold); err != nil {
		if fault.Is(err, fault.HoldLapsed) {
			err = fault.New(fault.NotFound, "the hold has lapsed or was released")
		}
		s.fail(c, err)
	}
}

func (s *Server) getHold(c *gin.Context) {
	s.hold(c, func(event, visitor, hold string) error {
		h, err := s.Shop.GetHold(c.Request.Context(), event, visitor, hold)
		if err == nil {
			private(c, http.StatusOK, h)
		}
		return err
	})
}

func (s *Server) extendHold(c *gin.Context) {
	if err := noBody(c); err != nil {
		s.fail(c, err)
		return
	}
	s.hold(c, func(event, visitor, hold string) error {
		h, err := s.Shop.ExtendHold(c.Request.Context(), event, visitor, hold)
		if err == nil {
			private(c, http.StatusOK, h)
		}
		return err
	})
}

func (s *Server) releaseHold(c *gin.Context) {
	s.hold(c, func(event, visitor, hold string) error {
		err := s.Shop.ReleaseHold(c.Request.Context(), event, visitor, hold)
		if err == nil {
			c.Status(http.StatusNoContent)
		}
		return err
	})
}
