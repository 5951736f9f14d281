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
	"onsale/waitroom/pass"
)

// The paths of the original request: thin aliases on the same services, for
// clients that buy one ticket at a time and keep no order ids.

// anonymous is who an order of these paths is for, which name nobody.
var anonymous = checkout.Buyer{Name: "Guest", Email: "guest@onsale.invalid"}

func (s *Server) originalRoutes(r gin.IRouter) {
	few := s.atOnce.limit(s)
	r.GET("/event/:id", s.originalEvent)
	r.GET("/event/search", s.originalSearch)
	for _, slash := range []string{"", "/"} {
		r.POST("/reserve_ticket"+slash, few, s.reserveTicket)
		r.POST("/purchase_ticket"+slash, few, s.purchaseTicket)
	}
}

// asker is who asks for a ticket: the holder of a pass for its event, or of a
// session (visitor) token.
type asker struct {
	event, visitor string
	ordinal        int
	turn           error // why they may not shop now, nil if they may
}

// asker finds the ticket's event and the one who asks.
func (s *Server) asker(c *gin.Context, ticket string) (asker, error) {
	token, err := bearer(c)
	if err != nil {
		return asker{}, err
	}
	if token == "" {
		return asker{}, fault.New(fault.PassRequired, "a pass or session token is needed")
	}
	session, serr := s.Keys.Visitor(token, s.Clock())
	p, perr := s.Keys.PassOfAnyEvent(token, s.Clock())
	if serr != nil && perr != nil && !errors.Is(perr, pass.ErrExpired) {
		return asker{}, s.passFault(perr, "")
	}
	ctx := c.Request.Context()
	event, ordinal, err := s.Catalog.TicketEvent(ctx, strings.ToLower(ticket))
	if err != nil {
		return asker{}, err
	}
	if serr != nil {
		if p.Event != event {
			return asker{}, fault.New(fault.Forbidden, "the pass is for another event")
		}
		a := asker{event: event, visitor: p.Visitor, ordinal: ordinal}
		if perr != nil {
			a.turn = s.passFault(perr, event)
		}
		return a, nil
	}
	a := asker{event: event, visitor: session, ordinal: ordinal}
	me, err := s.Rooms.Me(ctx, event, session)
	switch {
	case fault.Is(err, fault.UnknownVisitor), fault.Is(err, fault.NotFound):
		a.turn = fault.New(fault.PassRequired, "join the queue of this event first").With("queue", s.queueURL(event))
	case err != nil:
		a.turn = err
	case me.State != waitroom.Shopping:
		a.turn = fault.New(fault.PassLapsed, "it is not your turn in the shop: you are %s", me.State)
	}
	return a, nil
}

func (s *Server) reserveTicket(c *gin.Context) {
	var b struct {
		Ticket string `json:"ticket_id"`
	}
	if err := body(c, &b); err != nil {
		s.fail(c, err)
		return
	}
	a, err := s.asker(c, b.Ticket)
	if err == nil {
		err = a.turn
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	ctx := c.Request.Context()
	hold, err := s.holdOf(c, a)
	if fault.Is(err, fault.HoldLapsed) {
		hold, err = s.Shop.Hold(ctx, checkout.HoldRequest{Event: a.event, Visitor: a.visitor, Ordinals: []int{a.ordinal}})
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, gin.H{"ticket_id": b.Ticket, "reservation_expire_time": hold.ExpiresAt.Format(time.RFC3339)})
}

// holdOf finds the asker's hold with the ticket; HoldLapsed if there is none.
func (s *Server) holdOf(c *gin.Context, a asker) (checkout.Hold, error) {
	holds, err := s.Shop.Holds(c.Request.Context(), a.event, a.visitor)
	if err != nil {
		return checkout.Hold{}, err
	}
	for _, h := range holds {
		if slices.Contains(h.Ordinals, a.ordinal) {
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
	a, err := s.asker(c, b.Ticket)
	if err != nil {
		s.fail(c, err)
		return
	}
	o, err := s.orderOf(c, a, strings.ToLower(b.Ticket))
	if err != nil {
		s.fail(c, err)
		return
	}
	if o.Status == checkout.AwaitingPayment || o.Status == checkout.Declined {
		// A fresh key: what makes this call idempotent is the order, which is
		// paid once however often it is called.
		key := checkout.Key{Scope: a.visitor + " purchase " + o.ID, Value: requestID(c) + "-" + s.Clock().Format(time.RFC3339Nano)}
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

// orderOf finds or makes the asker's order for a reserved ticket. Only making
// one needs a turn in the shop: who has an order has its time, and is told of a
// purchase whose answer was lost.
func (s *Server) orderOf(c *gin.Context, a asker, ticket string) (checkout.Order, error) {
	ctx := c.Request.Context()
	o, err := s.Shop.OpenOrderFor(ctx, ticket, a.visitor)
	if !fault.Is(err, fault.NotFound) {
		return o, err
	}
	if a.turn != nil {
		return checkout.Order{}, a.turn
	}
	hold, err := s.holdOf(c, a)
	if err != nil {
		return checkout.Order{}, err
	}
	_, err = s.Shop.CreateOrder(ctx, checkout.Key{Scope: a.visitor + " purchase", Value: hold.ID},
		checkout.OrderRequest{Event: a.event, Visitor: a.visitor, Hold: hold.ID, Buyer: anonymous})
	if err != nil && !fault.Is(err, fault.KeyInFlight) {
		return checkout.Order{}, err
	}
	// Not the order that came back: an answer stored under the key may be old.
	return s.Shop.OpenOrderFor(ctx, ticket, a.visitor)
}
