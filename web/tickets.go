package web

import (
	"bytes"
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"onsale/catalog"
	"onsale/checkout"
	"onsale/checkout/ticket"
	"onsale/checkout/ticket/paper"
	"onsale/internal/fault"
	"onsale/waitroom/pass"
)

// Tickets in the hands of people: of who bought them, and of who they were passed
// on to.

func (s *Server) ticketRoutes(r gin.IRouter) {
	few := s.atOnce.limit(s)
	r.GET("/v1/orders/:id/tickets", s.orderTickets)
	r.GET("/v1/orders/:id/tickets.pdf", few, s.orderPDF)
	r.GET("/v1/orders/:id/tickets/:ticket/qr.png", s.ticketQR)
	r.GET("/v1/orders/:id/tickets/:ticket/ticket.pdf", few, s.ticketPDF)
	r.POST("/v1/orders/:id/tickets/:ticket/transfer", few, s.transferTicket)
	r.GET("/v1/admissions/:id", s.getAdmission)
	r.GET("/v1/admissions/:id/ticket.pdf", few, s.admissionPDF)
	r.POST("/v1/admissions/:id/transfer", few, s.transferAdmission)
}

// ticketView is a ticket as its holder sees it. What opens the door is left out
// once it does not.
type ticketView struct {
	Ticket    string        `json:"ticket"`
	Admission string        `json:"admission"`
	Code      string        `json:"code"`
	QRText    *string       `json:"qr_text"`
	Section   string        `json:"section"`
	Row       string        `json:"row"`
	Seat      string        `json:"seat"`
	Tier      string        `json:"tier"`
	Price     catalog.Money `json:"price"`
	// Attributes and Entrance are those of the seat and its section.
	Attributes catalog.Attributes `json:"attributes,omitzero"`
	Entrance   string             `json:"entrance,omitempty"`
	Holder     checkout.Buyer     `json:"holder"`
	State      string             `json:"state"`
	Valid      bool               `json:"valid"`
	ScannedAt  *time.Time         `json:"scanned_at"`
	Rotating   *rotatingView      `json:"rotating"`
	QR         string             `json:"qr"`
	PDF        string             `json:"pdf"`
	Link       string             `json:"link"`
}

// rotatingView is what a page needs to make the codes of the moment by itself.
type rotatingView struct {
	Secret *string `json:"secret"` // base64url; null for who only looks
	Step   int     `json:"step_s"`
	Digits int     `json:"digits"`
}

// The states of a ticket beside the reasons of its end.
const (
	ticketValid   = "valid"
	ticketScanned = "scanned"
)

// viewTicket shows an admission. path is where its pictures are; looking is for
// who may see it and not use it.
func (s *Server) viewTicket(a *checkout.Admission, path string, looking bool) (ticketView, error) {
	v := ticketView{
		Ticket: a.Ticket, Admission: a.ID, Section: a.Section, Row: a.Row, Seat: a.Seat, Tier: a.Tier, Price: a.Price,
		Attributes: a.Attributes, Entrance: a.Entrance,
		Holder: a.Holder, State: ticketValid, Valid: a.Live(), ScannedAt: a.Scanned,
	}
	switch {
	case a.Ended != nil:
		v.State = string(a.EndReason)
		if a.Next != nil {
			v.Holder = *a.Next
		}
		return v, nil
	case a.EventOff:
		v.State = string(checkout.EndCancelled)
	case a.Scanned != nil:
		v.State = ticketScanned
	}
	text, err := a.Signed(s.Keys)
	if err != nil {
		return v, err
	}
	v.Code, v.QRText = a.Code, &text
	_, v.Link = HolderLink(s.PublicURL, s.Keys, a)
	v.PDF = path + "/ticket.pdf"
	if strings.HasPrefix(path, "/v1/orders/") {
		v.QR = path + "/qr.png"
	}
	if a.Rotating {
		v.Rotating = &rotatingView{Step: int(ticket.Step / time.Second), Digits: ticket.Digits}
		if !looking {
			secret := base64.RawURLEncoding.EncodeToString(a.Secret)
			v.Rotating.Secret = &secret
		}
	}
	return v, nil
}

// HolderLink is the page of one ticket, for whoever holds it, and the token that lets
// them.
func HolderLink(public *url.URL, keys *pass.KeySet, a *checkout.Admission) (token, link string) {
	token = keys.SignHolder(a.ID, a.Issued.Add(orderLinkLife))
	return token, strings.TrimSuffix(public.String(), "/") + "/t/" + a.ID + "#t=" + token
}

func orderTicketPath(order, ticket string) string {
	return "/v1/orders/" + order + "/tickets/" + ticket
}

// admissionsOf lists what an order's tickets became, of those that are still its.
func (s *Server) admissionsOf(ctx context.Context, o *checkout.Order) ([]checkout.Admission, error) {
	all, err := s.Shop.Admissions(ctx, o.ID)
	if err != nil {
		return nil, err
	}
	return stillOf(o, all), nil
}

// stillOf leaves out what was issued for tickets that the order gave back.
func stillOf(o *checkout.Order, all []checkout.Admission) []checkout.Admission {
	had := make(map[string]bool, len(o.Items))
	for i := range o.Items {
		had[o.Items[i].Ticket] = o.Items[i].Code != "" // else not fulfilled yet, or refunded
	}
	list := make([]checkout.Admission, 0, len(all))
	for i := range all {
		if had[all[i].Ticket] {
			list = append(list, all[i])
		}
	}
	return list
}

func (s *Server) orderTickets(c *gin.Context) {
	o, err := s.order(c)
	var list []checkout.Admission
	if err == nil {
		list, err = s.admissionsOf(c.Request.Context(), &o)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	token, err := bearer(c)
	looking := err != nil || s.isAdmin(token)
	tickets := make([]ticketView, len(list))
	for i := range list {
		if tickets[i], err = s.viewTicket(&list[i], orderTicketPath(o.ID, list[i].Ticket), looking); err != nil {
			s.fail(c, err)
			return
		}
	}
	private(c, http.StatusOK, gin.H{"order": o.ID, "status": o.Status, "tickets": tickets, "as_of": s.Clock().UTC()})
}

// orderTicket finds one ticket of an order that whoever asks may see.
func (s *Server) orderTicket(c *gin.Context) (checkout.Admission, error) {
	o, err := s.order(c)
	var name string
	if err == nil {
		name, err = id(c, "ticket")
	}
	var list []checkout.Admission
	if err == nil {
		list, err = s.admissionsOf(c.Request.Context(), &o)
	}
	if err != nil {
		return checkout.Admission{}, err
	}
	for i := range list {
		if list[i].Ticket == name {
			return list[i], nil
		}
	}
	return checkout.Admission{}, fault.New(fault.NotFound, "the order has no such ticket")
}

// inHand refuses what the one who asks does not hold any more.
func inHand(a *checkout.Admission) error {
	if a.Ended != nil {
		return fault.New(fault.NotFound, "the ticket was %s; its code opens nothing any more", a.EndReason)
	}
	return nil
}

// inHands leaves out what inHand refuses.
func inHands(list []checkout.Admission) []checkout.Admission {
	held := make([]checkout.Admission, 0, len(list))
	for i := range list {
		if inHand(&list[i]) == nil {
			held = append(held, list[i])
		}
	}
	return held
}

func (s *Server) ticketQR(c *gin.Context) {
	a, err := s.orderTicket(c)
	if err == nil {
		err = inHand(&a)
	}
	var text string
	if err == nil {
		text, err = a.Signed(s.Keys)
	}
	var picture []byte
	if err == nil {
		picture, err = qrPNG(text)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Header("Cache-Control", "private, no-store")
	c.Data(http.StatusOK, "image/png", picture)
}

func (s *Server) orderPDF(c *gin.Context) {
	o, err := s.order(c)
	var list []checkout.Admission
	if err == nil {
		list, err = s.admissionsOf(c.Request.Context(), &o)
	}
	held := inHands(list)
	if err == nil && len(held) == 0 {
		err = fault.New(fault.NotFound, "the order has no tickets to print")
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	s.printed(c, held)
}

func (s *Server) ticketPDF(c *gin.Context) {
	a, err := s.orderTicket(c)
	if err == nil {
		err = inHand(&a)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	s.printed(c, []checkout.Admission{a})
}

func (s *Server) admissionPDF(c *gin.Context) {
	a, _, err := s.admission(c)
	if err == nil {
		err = inHand(&a)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	s.printed(c, []checkout.Admission{a})
}

// printed answers with tickets of one event for printing.
func (s *Server) printed(c *gin.Context, list []checkout.Admission) {
	e, err := s.Catalog.Event(c.Request.Context(), list[0].Event)
	var pages []byte
	if err == nil {
		pages, err = printed(s.Keys, &e, list)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Header("Cache-Control", "private, no-store")
	c.Header("Content-Disposition", `inline; filename="tickets.pdf"`)
	c.Data(http.StatusOK, "application/pdf", pages)
}

// printed makes a PDF of tickets of one event.
func printed(keys ticket.Signer, e *catalog.Event, list []checkout.Admission) ([]byte, error) {
	pages := make([]paper.Ticket, len(list))
	for i := range list {
		var err error
		if pages[i], err = printedTicket(keys, e, &list[i]); err != nil {
			return nil, err
		}
	}
	var b bytes.Buffer
	err := paper.Print(&b, pages)
	return b.Bytes(), err
}

// printedTicket is what stands on one printed ticket.
func printedTicket(keys ticket.Signer, e *catalog.Event, a *checkout.Admission) (paper.Ticket, error) {
	text, err := a.Signed(keys)
	p := paper.Ticket{
		Event: e.Name, Starts: local(e.StartsAt, e.Timezone), Venue: e.Venue.Name,
		Section: a.Section, Row: a.Row, Seat: a.Seat, Tier: a.Tier, Price: formatMoney(a.Price),
		Entrance: a.Entrance, Notes: a.Attributes.Words(),
		Holder: a.Holder.Name, Order: a.Order, Code: a.Code, QR: text, Issued: a.Issued, Rotating: a.Rotating,
	}
	if e.DoorsAt != nil {
		p.Doors = local(*e.DoorsAt, e.Timezone)
	}
	for _, part := range []string{e.Venue.Address, e.Venue.City, e.Venue.Country} {
		if part != "" {
			p.Address = append(p.Address, part)
		}
	}
	return p, err
}

type transferBody struct {
	Name  string `json:"name"`
	Email string `json:"email"`
}

func (s *Server) transferTicket(c *gin.Context) {
	a, err := s.orderTicket(c)
	if err == nil {
		err = s.recordOperator(c, "ticket.transfer", a.Ticket, nil)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	s.transfer(c, a.ID)
}

func (s *Server) transferAdmission(c *gin.Context) {
	a, looking, err := s.admission(c)
	if err == nil && looking {
		err = fault.New(fault.Forbidden, "a ticket is passed on by who holds it")
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	s.transfer(c, a.ID)
}

// transfer passes a ticket on. Asking for the same again gives the same answer:
// who it went to says which transfer it was.
func (s *Server) transfer(c *gin.Context, admission string) {
	var b transferBody
	err := body(c, &b)
	if err == nil {
		err = checkout.CheckHolder(checkout.Buyer(b))
	}
	var next checkout.Admission
	if err == nil {
		next, err = s.Shop.Transfer(c.Request.Context(), admission, checkout.Buyer(b))
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	token, link := HolderLink(s.PublicURL, s.Keys, &next)
	private(c, http.StatusOK, gin.H{
		"admission": next.ID, "ticket": next.Ticket, "holder": next.Holder, "holder_token": token, "link": link, "mailed": next.Mailed,
	})
}

// admission loads the ticket of the request for who holds it, and for operators,
// who only look.
func (s *Server) admission(c *gin.Context) (a checkout.Admission, looking bool, err error) {
	name, err := id(c, "id")
	if err != nil {
		return a, false, err
	}
	token, err := bearer(c)
	if err != nil {
		return a, false, err
	}
	if looking = s.isAdmin(token); !looking {
		if token == "" {
			return a, false, fault.New(fault.Unauthorized, "a ticket is seen with its link")
		}
		held, err := s.Keys.Holder(token, s.Clock())
		if err != nil {
			return a, false, err
		}
		if held != name {
			return a, false, fault.New(fault.Forbidden, "the token is for another ticket")
		}
	}
	a, err = s.Shop.Admission(c.Request.Context(), name)
	return a, looking, err
}

type admissionEvent struct {
	ID       string        `json:"id"`
	Name     string        `json:"name"`
	StartsAt time.Time     `json:"starts_at"`
	DoorsAt  *time.Time    `json:"doors_at"`
	Timezone string        `json:"timezone"`
	Status   string        `json:"status"`
	Venue    catalog.Venue `json:"venue"`
}

// getAdmission is all that the page of one ticket needs, so that it works without
// a connection from then on.
func (s *Server) getAdmission(c *gin.Context) {
	a, looking, err := s.admission(c)
	var e catalog.Event
	if err == nil {
		e, err = s.Catalog.Event(c.Request.Context(), a.Event)
	}
	var v ticketView
	if err == nil {
		v, err = s.viewTicket(&a, "/v1/admissions/"+a.ID, looking)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, struct {
		ticketView
		Event admissionEvent `json:"event"`
		AsOf  time.Time      `json:"as_of"`
	}{v, admissionEvent{e.ID, e.Name, e.StartsAt, e.DoorsAt, e.Timezone, e.Status, e.Venue}, s.Clock().UTC()})
}
