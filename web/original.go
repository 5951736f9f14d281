package web

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"onsale/checkout"
	"onsale/internal/fault"
	"onsale/waitroom"
)

// The paths of the original request: thin aliases on the same services, for
// clients that buy one ticket at a time and keep no order ids.

// anonymous is who an order of these paths is for, which name nobody.
var anonymous = checkout.Buyer{Name: "Guest", Email: "guest@onsale.invalid"}

func (s *Server) originalRoutes(r gin.IRouter) {
	r.GET("/event/:id", s.originalEvent)
	r.GET("/event/search", s.originalSearch)
	for _, slash := range []string{"", "/"} {
		r.POST("/reserve_ticket"+slash, s.reserveTicket)
		r.POST("/purchase_ticket"+slash, s.purchaseTicket)
	}
}

// owner finds the ticket's event and the one who asks: the holder of a pass
// for it, or of a session (visitor) token whose turn it is.
func (s *Server) owner(c *gin.Context, ticket string) (event, visitor string, ordinal int, err error) {
	token, err := bearer(c)
	if err != nil {
		return "", "", 0, err
	}
	if token == "" {
		return "", "", 0, fault.New(fault.PassRequired, "a pass or session token is needed")
	}
	session, serr := s.Keys.Visitor(token, s.Clock())
	p, perr := s.Keys.PassOfAnyEvent(token, s.Clock())
	if serr != nil && perr != nil {
		return "", "", 0, s.passFault(perr, "")
	}
	ctx := c.Request.Context()
	event, ordinal, err = s.Catalog.TicketEvent(ctx, strings.ToLower(ticket))
	if err != nil {
		return "", "", 0, err
	}
	if perr == nil {
		if p.Event != event {
			return "", "", 0, fault.New(fault.Forbidden, "the pass is for another event")
		}
		return event, p.Visitor, ordinal, nil
	}
	me, err := s.Rooms.Me(ctx, event, session)
	switch {
	case fault.Is(err, fault.UnknownVisitor), fault.Is(err, fault.NotFound):
		return "", "", 0, fault.New(fault.PassRequired, "join the queue of this event first").With("queue", s.queueURL(event))
	case err != nil:
		return "", "", 0, err
	case me.State != waitroom.Shopping:
		return "", "", 0, fault.New(fault.PassLapsed, "it is not your turn in the shop: you are %s", me.State)
	}
	return event, session, ordinal, nil
}

func (s *Server) reserveTicket(c *gin.Context) {
	var b struct {
		Ticket string `json:"ticket_id"`
	}
	if err := body(c, &b); err != nil {
		s.fail(c, err)
		return
	}
	event, visitor, ordinal, err := s.owner(c, b.Ticket)
	if err != nil {
		s.fail(c, err)
		return
	}
	ctx := c.Request.Context()
	hold, err := s.holdOf(c, event, visitor, ordinal)
	if fault.Is(err, fault.HoldLapsed) {
		hold, err = s.Shop.Hold(ctx, checkout.HoldRequest{Event: event, Visitor: visitor, Ordinals: []int{ordinal}})
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, gin.H{"ticket_id": b.Ticket, "reservation_expire_time": hold.ExpiresAt.Format(time.RFC3339)})
}

// holdOf finds the visitor's hold with the ticket; HoldLapsed if there is none.
func (s *Server) holdOf(c *gin.Context, event, visitor string, ordinal int) (checkout.Hold, error) {
	holds, err := s.Shop.Holds(c.Request.Context(), event, visitor)
	if err != nil {
		return checkout.Hold{}, err
	}
	for _, h := range holds {
		if slices.Contains(h.Ordinals, ordinal) {
			return h, nil
		}
	}
	return checkout.Hold{}, fault.New(fault.HoldLapsed, "reserve the ticket first, or again: there is no reservation of yours")
}

func (s *Server) purchaseTicket(c *gin.Context) {
	b := struct {
		Ticket string `json:"ticket_id"`
		Method string `json:"method"`
	}{}
	if err := body(c, &b); err != nil {
		s.fail(c, err)
		return
	}
	if b.Method == "" {
		if s.Sandbox == nil {
			s.fail(c, fault.New(fault.Invalid, "method is required"))
			return
		}
		b.Method = "tok_ok"
	}
	if err := s.Shop.CheckMethod(b.Method); err != nil { // before an order is made
		s.fail(c, err)
		return
	}
	event, visitor, ordinal, err := s.owner(c, b.Ticket)
	if err != nil {
		s.fail(c, err)
		return
	}
	o, err := s.orderOf(c, event, visitor, strings.ToLower(b.Ticket), ordinal)
	if err != nil {
		s.fail(c, err)
		return
	}
	if o.Status == checkout.AwaitingPayment || o.Status == checkout.Declined {
		// A fresh key: what makes this call idempotent is the order, which is
		// paid once however often it is called.
		key := checkout.Key{Scope: visitor + " purchase " + o.ID, Value: requestID(c) + "-" + s.Clock().Format(time.RFC3339Nano)}
		if o, err = s.Shop.Pay(c.Request.Context(), key, o.ID, b.Method); err != nil {
			s.fail(c, err)
			return
		}
	}
	s.bought(c, o)
	if o.Status.Terminal() && o.Status != checkout.Fulfilled {
		s.fail(c, fault.New(fault.Conflict, "the order for the ticket is %s", o.Status))
		return
	}
	status := "pending"
	switch o.Status {
	case checkout.Paid, checkout.Fulfilled:
		status = "purchased"
	case checkout.Declined:
		status = "declined"
	}
	private(c, http.StatusOK, gin.H{"ticket_id": b.Ticket, "purchase_status": status, "order": o.ID})
}

// orderOf finds or makes the visitor's order for a reserved ticket.
func (s *Server) orderOf(c *gin.Context, event, visitor, ticket string, ordinal int) (checkout.Order, error) {
	ctx := c.Request.Context()
	o, err := s.Shop.OpenOrderFor(ctx, ticket, visitor)
	if err == nil || !fault.Is(err, fault.NotFound) {
		return o, err
	}
	hold, err := s.holdOf(c, event, visitor, ordinal)
	if err != nil {
		return checkout.Order{}, err
	}
	o, err = s.Shop.CreateOrder(ctx, checkout.Key{Scope: visitor + " purchase", Value: hold.ID},
		checkout.OrderRequest{Event: event, Visitor: visitor, Hold: hold.ID, Buyer: anonymous})
	if fault.Is(err, fault.KeyInFlight) || errors.Is(err, ctx.Err()) {
		return s.Shop.OpenOrderFor(ctx, ticket, visitor)
	}
	return o, err
}
