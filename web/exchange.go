package web

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"onsale/checkout"
)

// exchangeTerms says which tickets of an order its buyer may exchange.
func (s *Server) exchangeTerms(c *gin.Context) {
	o, err := s.order(c)
	var t checkout.ExchangeTerms
	if err == nil {
		t, err = s.Shop.ExchangeTerms(c.Request.Context(), o)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, t)
}

// holdToExchange holds other tickets for an order's buyer, and says what goes back.
func (s *Server) holdToExchange(c *gin.Context) {
	o, err := s.order(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	var b struct {
		Tickets  []string   `json:"tickets"`
		To       []string   `json:"to"`
		Ordinals []int      `json:"ordinals"`
		Areas    []areaBody `json:"areas"`
	}
	if err = body(c, &b); err == nil {
		err = namesTickets("tickets", b.Tickets)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	ctx := c.Request.Context()
	layout, err := s.Catalog.Layout(ctx, o.Event)
	if err != nil {
		s.fail(c, err)
		return
	}
	named := holdBody{Tickets: b.To, Ordinals: b.Ordinals, Areas: b.Areas}
	r, err := named.request(layout)
	if err == nil {
		err = s.recordOperator(c, "order.exchange.hold", o.ID, b)
	}
	var h checkout.ExchangeHold
	if err == nil {
		r.ID = exchangeHold(o.ID)
		h, err = s.Shop.HoldToExchange(ctx, checkout.ExchangeHoldRequest{Order: o, Tickets: b.Tickets, HoldRequest: r})
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, h)
}

// releaseToExchange gives up what is held for an order to be exchanged for.
func (s *Server) releaseToExchange(c *gin.Context) {
	o, err := s.order(c)
	if err == nil {
		err = s.recordOperator(c, "order.exchange.release", o.ID, nil)
	}
	if err == nil {
		err = s.Shop.ReleaseToExchange(c.Request.Context(), o, exchangeHold(o.ID))
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Status(http.StatusNoContent)
}

// exchangeHold is the id of the one hold that an order may have to exchange tickets.
func exchangeHold(order string) string { return derivedID("exchange", order) }
