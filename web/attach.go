package web

import (
	"context"

	"onsale/catalog"
	"onsale/checkout"
	"onsale/checkout/mail"
	"onsale/checkout/messages"
	"onsale/checkout/ticket"
)

// PaperTickets makes what goes with the confirmation of an order: its tickets, as
// GET /v1/orders/{id}/tickets.pdf prints them.
type PaperTickets struct {
	Admissions interface {
		Admissions(ctx context.Context, order string) ([]checkout.Admission, error)
	}
	Events interface {
		Event(ctx context.Context, id string) (catalog.Event, error)
	}
	Keys ticket.Signer
}

var _ messages.Attacher = PaperTickets{}

// Attachments implements messages.Attacher. Nothing is attached where the buyer has
// no ticket any more.
func (p PaperTickets) Attachments(ctx context.Context, o checkout.Order) ([]mail.File, error) {
	all, err := p.Admissions.Admissions(ctx, o.ID)
	if err != nil {
		return nil, err
	}
	held := inHands(stillOf(&o, all))
	if len(held) == 0 {
		return nil, nil
	}
	e, err := p.Events.Event(ctx, o.Event)
	if err != nil {
		return nil, err
	}
	pages, err := printed(p.Keys, &e, held)
	if err != nil {
		return nil, err
	}
	return []mail.File{{Name: "tickets.pdf", Type: "application/pdf", Content: pages}}, nil
}
