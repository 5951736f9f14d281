package checkout

import (
	"context"
	"slices"
	"time"

	"onsale/catalog"
)

// OrderStatus is where an order stands.
type OrderStatus string

// The statuses of an order. Fulfilled, expired, cancelled and refunded are
// terminal; declined may be paid again until PayBy.
const (
	AwaitingPayment   OrderStatus = "awaiting_payment"
	PaymentUnknown    OrderStatus = "payment_unknown" // the gateway was asked; its answer is not in yet
	Declined          OrderStatus = "declined"
	Paid              OrderStatus = "paid" // committed: the tickets are the buyer's; capture follows
	Fulfilled         OrderStatus = "fulfilled"
	Expired           OrderStatus = "expired"
	Cancelled         OrderStatus = "cancelled"
	Refunded          OrderStatus = "refunded"
	PartiallyRefunded OrderStatus = "partially_refunded"
)

// transitions is the state machine. What is not listed does not happen.
var transitions = map[OrderStatus][]OrderStatus{
	"":              {AwaitingPayment},
	AwaitingPayment: {PaymentUnknown, Paid, Declined, Expired, Cancelled}, // paid or declined after an action of the buyer
	PaymentUnknown:  {Paid, Declined, AwaitingPayment, Cancelled, Expired},
	Declined:        {PaymentUnknown, Expired, Cancelled},
	Paid:            {Fulfilled, Cancelled, Refunded},
	Fulfilled:       {Refunded, PartiallyRefunded},
}

// MayBecome reports whether an order in status from may go to status to.
func (from OrderStatus) MayBecome(to OrderStatus) bool {
	return slices.Contains(transitions[from], to)
}

// Terminal reports whether nothing happens to the order by itself any more.
func (from OrderStatus) Terminal() bool {
	switch from {
	case Fulfilled, Expired, Cancelled, Refunded, PartiallyRefunded:
		return true
	}
	return false
}

// Buyer is who an order is for.
type Buyer struct {
	Name  string `json:"name"`
	Email string `json:"email"`
}

// Item is one ticket of an order.
type Item struct {
	Ticket  string        `json:"ticket"`
	Section string        `json:"section"`
	Row     string        `json:"row"`
	Seat    string        `json:"seat"`
	Tier    string        `json:"tier"`
	Price   catalog.Money `json:"price"`

	Ordinal int    `json:"-"`
	Code    string `json:"-"` // what the door scans; "" until fulfilled
}

// PaymentView is what a buyer's page needs to pay.
type PaymentView struct {
	Gateway      string      `json:"gateway"`
	ClientSecret string      `json:"client_secret,omitempty"`
	Reason       string      `json:"reason,omitempty"` // why the last attempt was declined
	NextAction   *NextAction `json:"next_action,omitempty"`
}

// NextAction is something the buyer must do before the payment can go on.
type NextAction struct {
	Type string `json:"type"` // redirect
	URL  string `json:"url"`
}

// Change is one entry of an order's history.
type Change struct {
	At     time.Time   `json:"at"`
	Status OrderStatus `json:"status"`
	Note   string      `json:"note,omitempty"`
}

// Order is tickets of one event that one buyer pays for at once.
type Order struct {
	ID        string        `json:"order"`
	Event     string        `json:"event"`
	Status    OrderStatus   `json:"status"`
	PayBy     time.Time     `json:"pay_by"`
	CreatedAt time.Time     `json:"created_at"`
	Total     catalog.Money `json:"total"`
	Buyer     Buyer         `json:"buyer"`
	Items     []Item        `json:"items"`
	Payment   PaymentView   `json:"payment"`
	History   []Change      `json:"history,omitempty"`

	Visitor string `json:"-"`
	Hold    string `json:"-"`
	// Freed lists, by ordinal, the tickets that the change which returned the
	// order put back on sale. It is empty when the order had ended before.
	Freed []int `json:"-"`
}

// Ordinals lists the order's tickets by ordinal.
func (o *Order) Ordinals() []int {
	ordinals := make([]int, len(o.Items))
	for i := range o.Items {
		ordinals[i] = o.Items[i].Ordinal
	}
	return ordinals
}

// PaymentStatus is where one attempt to pay stands.
type PaymentStatus string

// The statuses of a payment.
const (
	PaymentPending        PaymentStatus = "pending" // the gateway may or may not have been reached
	PaymentRequiresAction PaymentStatus = "requires_action"
	PaymentAuthorised     PaymentStatus = "authorised"
	PaymentCaptured       PaymentStatus = "captured"
	PaymentVoiding        PaymentStatus = "voiding" // whatever the gateway holds is to be given back
	PaymentVoided         PaymentStatus = "voided"
	PaymentDeclined       PaymentStatus = "declined"
	PaymentFailed         PaymentStatus = "failed" // never reached the gateway
	PaymentRefunding      PaymentStatus = "refunding"
	PaymentRefunded       PaymentStatus = "refunded"
)

// Payment is one attempt to pay an order. Its ID is the gateway's idempotency
// key, so that asking twice charges once.
type Payment struct {
	ID      string
	Order   string
	Method  string
	Status  PaymentStatus
	Amount  catalog.Money
	Updated time.Time
}

// Refund is money on its way back. Its ID is the gateway's idempotency key.
type Refund struct {
	ID      string
	Payment string
	Amount  catalog.Money
	Done    bool
}

// Key is an Idempotency-Key with who used it for what.
type Key struct {
	Scope       string // visitor, method and path
	Value       string
	Fingerprint string // SHA-256 of the body, hex
}

// NewOrder is the input of OrderStore.CreateOrder.
type NewOrder struct {
	ID, Event, Visitor, Hold string
	Ordinals                 []int
	Fence                    int64 // of the hold
	Currency                 string
	Buyer                    Buyer
	PayWithin                time.Duration
	MaxPerBuyer              int
	Gateway                  string
}

// OrderStore is the durable truth about tickets, orders and payments. Every
// method is one transaction that also writes the order's history and the
// durable jobs that finish what it leaves open. Errors are faults; Unavailable
// when the store does not answer, in which case the outcome of a write is
// unknown and repeating it is safe.
type OrderStore interface {
	// CreateOrder claims the tickets and stores the order with its answer
	// under the key; a repeated key returns the stored order. TicketsTaken
	// (a TakenError) when another order has one of them, LimitReached,
	// KeyInFlight, KeyReused. A second order for a hold returns the first, or
	// HoldLapsed when that one has ended.
	CreateOrder(ctx context.Context, k Key, o NewOrder) (Order, error)
	Order(ctx context.Context, id string) (Order, error)
	// OpenOrderFor finds the visitor's latest order that has the ticket and
	// was not given up; NotFound.
	OpenOrderFor(ctx context.Context, ticket, visitor string) (Order, error)

	// BeginPayment records an attempt before the gateway is asked. answered
	// is true when the key has an answer already or the order needs no
	// payment: then order is the answer. Conflict when the order has ended, its
	// time is over, its event is not on sale any more, or too many
	// attempts have failed.
	BeginPayment(ctx context.Context, k Key, order, method, gateway string) (o Order, p Payment, answered bool, err error)
	// CommitSale makes the order's tickets the buyer's, if all of them are
	// still claimed; otherwise the order is cancelled, the payment is to be
	// voided and the error is TicketsTaken. The order of a cancelled event is
	// cancelled likewise, and returned. k may be nil.
	CommitSale(ctx context.Context, k *Key, payment string) (Order, error)
	DeclinePayment(ctx context.Context, k *Key, payment, reason string) (Order, error)
	// RequireAction gives the order back to its buyer, who has to act.
	RequireAction(ctx context.Context, k *Key, payment, url string) (Order, error)
	// FailPayment records that the gateway never got the attempt; the key may
	// be used again.
	FailPayment(ctx context.Context, k *Key, payment, reason string) (Order, error)
	Payment(ctx context.Context, id string) (Payment, error)
	// Captured fulfils the order: codes are issued.
	Captured(ctx context.Context, payment string) (Order, error)
	// CaptureLost cancels a paid order whose authorisation is gone.
	CaptureLost(ctx context.Context, payment, reason string) (Order, error)
	Voided(ctx context.Context, payment string) error
	Refund(ctx context.Context, id string) (Refund, error)
	RefundDone(ctx context.Context, refund string) error

	// ExpireOrder ends an order whose time to pay is over; ended is false
	// when there is nothing to end yet (later > 0: look again after that).
	ExpireOrder(ctx context.Context, id string) (o Order, ended bool, later time.Duration, err error)
	CancelOrder(ctx context.Context, id, note string) (Order, error)
	// RefundOrder takes all tickets of a paid order back and starts the refund.
	RefundOrder(ctx context.Context, id, reason, actor string) (Order, error)

	// SalesSince counts the orders paid within the last while.
	SalesSince(ctx context.Context, age time.Duration) (int, error)
	// Orders lists orders, newest first, for operators.
	Orders(ctx context.Context, q OrderQuery) (OrderPage, error)
	// Overdue lists what should have been finished by now, for reconciliation.
	Overdue(ctx context.Context, age time.Duration, limit int) (Overdue, error)
	// Inventory reads the state of all tickets of an event.
	Inventory(ctx context.Context, event string) (Truth, error)
	// Buyers reads who has bought tickets of an event, and who is in its channels.
	Buyers(ctx context.Context, event string) (Buyers, error)
	ChannelStore
}

// OrderQuery selects orders for operators. Text matches an order id, or part
// of a buyer's name or e-mail.
type OrderQuery struct {
	Event, Text, Cursor string
	Limit               int
}

// OrderPage is one page of orders; Next is "" on the last.
type OrderPage struct {
	Orders []Order
	Next   string
}

// Overdue names payments, refunds and orders that jobs should have finished.
type Overdue struct {
	Settle, Capture, Void []string // payments
	Refund                []string // refunds
	Expire                []string // orders
}
