package web

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"onsale/catalog"
	"onsale/checkout"
	"onsale/internal/fault"
)

// Prices: what a hold costs, and the codes that make it cheaper.

func (s *Server) promoRoutes(admin gin.IRouter) {
	admin.GET("/events/:id/promos", s.adminPromos)
	admin.POST("/events/:id/promos", s.adminCreatePromos)
	admin.PATCH("/events/:id/promos/:promo", s.adminUpdatePromo)
}

// priceHold tells what a hold costs, with a promo code if one is given.
func (s *Server) priceHold(c *gin.Context) {
	var b struct {
		Promo string `json:"promo"`
	}
	if err := body(c, &b); err != nil {
		s.fail(c, err)
		return
	}
	s.hold(c, func(event, visitor, hold string) error {
		if len(b.Promo) > mostCode {
			return fault.New(fault.Invalid, "promo is longer than %d characters", mostCode)
		}
		price, err := s.Shop.Price(c.Request.Context(), event, visitor, hold, b.Promo)
		if err == nil {
			private(c, http.StatusOK, price)
		}
		return err
	})
}

// mostCode bounds what is taken for a promo code.
const mostCode = 64

func (s *Server) adminPromos(c *gin.Context) {
	event, err := id(c, "id")
	if err == nil {
		err = knownQuery(c, "code", "limit", "cursor")
	}
	q := checkout.PromoQuery{Event: event, Code: c.Query("code"), Cursor: c.Query("cursor")}
	if err == nil {
		q.Limit, err = limitOf(c, 100, 1000)
	}
	if err == nil && (len(q.Code) > mostCode || hasControl(q.Code)) {
		err = fault.New(fault.Invalid, "query parameter \"code\" is too long or has control characters")
	}
	var page checkout.PromoPage
	if err == nil {
		page, err = s.Shop.Promos(c.Request.Context(), q)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	if page.Promos == nil {
		page.Promos = []checkout.PromoCode{}
	}
	private(c, http.StatusOK, gin.H{"promos": page.Promos, "next_cursor": orNull(page.Next)})
}

// promoBody is one code, or as many random ones as the quantity says.
type promoBody struct {
	Code     string        `json:"code,omitempty"`
	Quantity *int          `json:"quantity,omitempty"`
	Prefix   string        `json:"prefix,omitempty"`
	Percent  *catalog.Rate `json:"percent,omitempty"`
	Amount   *int64        `json:"amount,omitempty"`
	MaxUses  *int          `json:"max_uses,omitempty"`
	PerBuyer *int          `json:"per_buyer,omitempty"`
	StartsAt *time.Time    `json:"starts_at,omitempty"`
	EndsAt   *time.Time    `json:"ends_at,omitempty"`
	Active   *bool         `json:"active,omitempty"`
	Note     string        `json:"note,omitempty"`
}

func (s *Server) adminCreatePromos(c *gin.Context) {
	ctx := c.Request.Context()
	event, err := id(c, "id")
	var b promoBody
	if err == nil {
		err = body(c, &b)
	}
	p := checkout.NewPromo{
		Code: b.Code, Prefix: b.Prefix, Percent: b.Percent, Amount: b.Amount, MaxUses: b.MaxUses, PerBuyer: b.PerBuyer,
		StartsAt: b.StartsAt, EndsAt: b.EndsAt, Inactive: b.Active != nil && !*b.Active, Note: b.Note,
	}
	if err == nil && b.Quantity != nil {
		if p.Quantity = *b.Quantity; p.Quantity < 1 {
			err = fault.New(fault.Invalid, "quantity must be from 1 to %d", checkout.MostPromos)
		}
	}
	if err == nil {
		err = p.Check()
	}
	if err == nil { // what cannot be leaves no trace in the audit log
		_, err = s.Catalog.Event(ctx, event)
	}
	if err == nil && p.Code != "" {
		var had checkout.PromoPage
		had, err = s.Shop.Promos(ctx, checkout.PromoQuery{Event: event, Code: p.Code, Limit: 1})
		if err == nil && len(had.Promos) > 0 {
			err = fault.New(fault.Conflict, "the event has a promo code of this name already")
		}
	}
	if err == nil {
		err = s.record(c, "promo.create", event, b)
	}
	var made []checkout.PromoCode
	if err == nil {
		made, err = s.Shop.CreatePromos(ctx, event, p)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusCreated, gin.H{"promos": made})
}

func (s *Server) adminUpdatePromo(c *gin.Context) {
	ctx := c.Request.Context()
	event, err := id(c, "id")
	var promo string
	if err == nil {
		promo, err = id(c, "promo")
	}
	var p checkout.PromoPatch
	if err == nil {
		err = body(c, &p)
	}
	if err == nil {
		err = p.Check()
	}
	var had checkout.PromoCode
	if err == nil { // what cannot be leaves no trace in the audit log
		had, err = s.Shop.PromoCode(ctx, event, promo)
	}
	if err == nil {
		err = p.CheckOn(&had)
	}
	if err == nil {
		err = s.record(c, "promo.update", event, gin.H{"promo": promo, "change": p})
	}
	var changed checkout.PromoCode
	if err == nil {
		changed, err = s.Shop.UpdatePromo(ctx, event, promo, p)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, changed)
}
