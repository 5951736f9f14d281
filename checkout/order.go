package checkout

import (
	"context"
	"slices"
	"time"

	"onsale/catalog"
)

// OrderStatus is where an order stands.
type OrderStatus string

// The statuses of an order. Fulfilled, expired, cancelled, refunded and partially
// refunded orders are at their end; declined may be paid again until PayBy.
const (
	AwaitingPayment   OrderStatus = "awaiting_payment"
	PaymentUnknown    OrderStatus = "payment_unknown" // the gateway was asked; its answer is not in yet
	Declined          OrderStatus = "declined"
	Paid              OrderStatus = "paid" // committed: the tickets are the buyer's; capture follows
	Fulfilled         OrderStatus = "fulfilled"
	Expired           OrderStatus = "expired"
	Cancelled         OrderStatus = "cancelled"
	Refunded          OrderStatus = "refunded"
	PartiallyRefunded OrderStatus = "partially_refunded" // some tickets or some money went back
)

// CancelledByBuyer is the note of an order whose buyer gave it up before paying.
const CancelledByBuyer = "cancelled by the buyer"

// OrderStatuses lists them.
var OrderStatuses = []OrderStatus{
	AwaitingPayment, PaymentUnknown, Declined, Paid, Fulfilled, Expired, Cancelled, Refunded, PartiallyRefunded,
}

// transitions is the state machine of orders. What is not listed does not happen:
// the order store refuses it, and so does its database (order_may_become).
var transitions = map[OrderStatus][]OrderStatus{
	AwaitingPayment:   {PaymentUnknown, Paid, Declined, Expired, Cancelled}, // paid or declined after an action of the buyer
	PaymentUnknown:    {Paid, Declined, AwaitingPayment, Cancelled, Expired},
	Declined:          {PaymentUnknown, Expired, Cancelled},
	Paid:              {Fulfilled, Cancelled, Refunded, PartiallyRefunded},
	Fulfilled:         {Refunded, PartiallyRefunded},
	PartiallyRefunded: {Refunded},
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

// Sold reports whether the order's tickets, but for those that were given back, are
// the buyer's.
func (from OrderStatus) Sold() bool {
	return from == Paid || from == Fulfilled || from == PartiallyRefunded
}

// Over reports whether the order has no tickets and never will: what is counted of it
// towards limits is given back.
func (from OrderStatus) Over() bool {
	return from == Expired || from == Cancelled || from == Refunded
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
	// Attributes and Entrance are those of the seat and its section.
	Attributes catalog.Attributes `json:"attributes,omitzero"`
	Entrance   string             `json:"entrance,omitempty"`
	// Returned is when the ticket was given back; what is left of the order goes on
	// without it.
	Returned *time.Time `json:"returned_at,omitempty"`

	Cost ItemPrice `json:"-"`
	// Exchanged is a ticket that was given back for another one of the order.
	Exchanged bool   `json:"-"`
	Ordinal   int    `json:"-"`
	Code      string `json:"-"` // what the door scans; "" until fulfilled
}

// PaymentView is what a buyer's page needs to pay.
type PaymentView struct {
	Gateway      string `json:"gateway"`
	ClientSecret string `json:"client_secret,omitempty"`
	// PublishableKey is what the gateway's script in a page starts with.
	PublishableKey string      `json:"publishable_key,omitempty"`
	Reason         string      `json:"reason,omitempty"` // why the last attempt was declined
	NextAction     *NextAction `json:"next_action,omitempty"`
}

// NextAction is something the buyer must do before the payment can go on.
type NextAction struct {
	Type NextActionType `json:"type"`
	URL  string         `json:"url,omitempty"`
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
	Refunded  catalog.Money `json:"refunded"` // given back, or on its way
	Buyer     Buyer         `json:"buyer"`
	Items     []Item        `json:"items"`
	Price     *PriceView    `json:"price,omitempty"`
	Payment   PaymentView   `json:"payment"`
	History   []Change      `json:"history,omitempty"`

	Quote   Quote  `json:"-"`
	Visitor string `json:"-"`
	Hold    string `json:"-"`
	// Freed lists, by ordinal, the tickets that the change which returned the
	// order put back on sale. It is empty when the order had ended before.
	Freed []int `json:"-"`
}

// Ordinals lists the order's tickets by ordinal, but for those that were given back.
func (o *Order) Ordinals() []int {
	ordinals := make([]int, 0, len(o.Items))
	for i := range o.Items {
		if o.Items[i].Returned == nil {
			ordinals = append(ordinals, o.Items[i].Ordinal)
		}
	}
	return ordinals
}

// PaymentStatus is where one attempt to pay stands.
type PaymentStatus string

// The statuses of a payment. Captured, voided, declined, failed and refunded are
// ends; a comparison with the gateway's books may still find that money has to go
// back.
const (
	PaymentPending        PaymentStatus = "pending" // the gateway may or may not have been reached
	PaymentRequiresAction PaymentStatus = "requires_action"
	PaymentAuthorised     PaymentStatus = "authorised"
	PaymentCaptured       PaymentStatus = "captured"
	PaymentVoiding        PaymentStatus = "voiding" // whatever the gateway holds is to be given back
	PaymentVoided         PaymentStatus = "voided"
	PaymentDeclined       PaymentStatus = "declined"
	PaymentFailed         PaymentStatus = "failed" // never reached the gateway
	PaymentRefunded       PaymentStatus = "refunded"
)

// PaymentStatuses lists them.
var PaymentStatuses = []PaymentStatus{
	PaymentPending, PaymentRequiresAction, PaymentAuthorised, PaymentCaptured, PaymentVoiding, PaymentVoided,
	PaymentDeclined, PaymentFailed, PaymentRefunded,
}

// paymentTransitions is the state machine of payments, kept as that of orders is
// (payment_may_become).
var paymentTransitions = map[PaymentStatus][]PaymentStatus{
	PaymentPending:        {PaymentRequiresAction, PaymentAuthorised, PaymentDeclined, PaymentFailed, PaymentVoiding},
	PaymentRequiresAction: {PaymentAuthorised, PaymentDeclined, PaymentFailed, PaymentVoiding},
	PaymentAuthorised:     {PaymentCaptured, PaymentVoiding},
	PaymentCaptured:       {PaymentRefunded},
	PaymentVoiding:        {PaymentVoided},
	// The gateway's books say otherwise: it is given back again.
	PaymentVoided:   {PaymentVoiding},
	PaymentDeclined: {PaymentVoiding},
	PaymentFailed:   {PaymentVoiding},
}

// MayBecome reports whether a payment in status from may go to status to.
func (from PaymentStatus) MayBecome(to PaymentStatus) bool {
	return slices.Contains(paymentTransitions[from], to)
}

// Open reports whether something remains to be done about the payment.
func (from PaymentStatus) Open() bool {
	switch from {
	case PaymentPending, PaymentRequiresAction, PaymentAuthorised, PaymentVoiding:
		return true
	}
	return false
}

// Payment is one attempt to pay an order. Its ID is the gateway's idempotency
// key, so that asking twice charges once.
type Payment struct {
	ID       string
	Order    string
	Gateway  string
	Method   string
	Status   PaymentStatus
	Amount   catalog.Money
	Refunded int64 // minor units; what is on its way back included
	// Refunding is whether some of that is on its way still.
	Refunding bool
	Updated   time.Time
}

// Refund is money on its way back. Its ID is the gateway's idempotency key.
type Refund struct {
	ID      string
	Order   string
	Payment string
	Amount  catalog.Money
	Done    bool
}

// Key is an Idempotency-Key with who used it for what.
type Key struct {
	Scope       string // visitor, method and path
	Value       string
	Fingerprint string // SHA-256 of method, path and body, hex
}

// NewOrder is the input of OrderStore.CreateOrder. Items and Quote have the tickets
// of the hold in the same order.
type NewOrder struct {
	ID, Event, Visitor, Hold string
	Items                    []Item
	Quote                    Quote
	Fence                    int64 // of the hold
	Buyer                    Buyer
	PayWithin                time.Duration
	MaxPerBuyer              int
	Gateway                  string
}

// RefundRequest says what of a paid order goes back: some tickets, some money
// without tickets, or everything if neither is named.
type RefundRequest struct {
	Order    string
	Tickets  []string
	Amount   int64 // minor units
	KeepFees bool  // fees, and the tax on them, stay
	// ByBuyer takes back only tickets that are still in the buyer's hands: neither
	// scanned nor passed on.
	ByBuyer bool
	Reason  string
	Actor   string
}

// NewExchange gives tickets of an order back for others, at no higher price.
type NewExchange struct {
	Order   string
	Tickets []string // to be given back
	Items   []Item   // instead of them
	Fence   int64    // of the hold with these; MostFence for an operator's choice
	// Anyone lets the tickets come from a channel that the buyer is no member of.
	Anyone bool
	// ByBuyer is as in RefundRequest.
	ByBuyer bool
	Reason  string
	Actor   string
}

// MostFence is above that of every hold.
const MostFence = 1 << 62

// Cancellation is how far the cancellation of an event has come.
type Cancellation struct {
	Event    string     `json:"event"`
	Reason   string     `json:"reason"`
	KeepFees bool       `json:"keep_fees"`
	Started  time.Time  `json:"started_at"`
	Finished *time.Time `json:"finished_at"` // every order is at its end
	Left     int        `json:"orders_left"`
	Ended    int        `json:"orders_cancelled"` // that were not paid
	Refunded int        `json:"orders_refunded"`
	// Money of the event's refunds, whatever they were for.
	RefundsPending int           `json:"refunds_pending"`
	RefundsDone    int           `json:"refunds_done"`
	GivenBack      catalog.Money `json:"given_back"`
}

// Comparison is what the gateway's books say about a payment that is over here.
type Comparison struct {
	Payment  string
	Refunded int64  // here, when the gateway was asked
	Theirs   string // state there
	Action   string // what is done about a difference; "": there is none
	Amend    bool   // the money it has there is to be given back
	Last     bool   // it had the time to become known there: nobody compares again
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
	// cancelled likewise, and returned. k may be nil; so may begun, which is the order
	// as BeginPayment returned it for this payment and saves reading it again.
	CommitSale(ctx context.Context, k *Key, payment string, begun *Order) (Order, error)
	DeclinePayment(ctx context.Context, k *Key, payment, reason string) (Order, error)
	// RequireAction gives the order back to its buyer, who has to act; action is
	// payment.Result.Action's.
	RequireAction(ctx context.Context, k *Key, payment, action string) (Order, error)
	// FailPayment records that the gateway never got the attempt; the key may
	// be used again.
	FailPayment(ctx context.Context, k *Key, payment, reason string) (Order, error)
	Payment(ctx context.Context, id string) (Payment, error)
	// Captured fulfils the order: admissions are issued.
	Captured(ctx context.Context, payment string) (Order, error)
	// CaptureLost cancels a paid order whose authorisation is gone.
	CaptureLost(ctx context.Context, payment, reason string) (Order, error)
	Voided(ctx context.Context, payment string) error

	// ExpireOrder ends an order whose time to pay is over; ended is false
	// when there is nothing to end yet.
	ExpireOrder(ctx context.Context, id string) (o Order, ended bool, err error)
	CancelOrder(ctx context.Context, k *Key, id, note string) (Order, error)
	// RefundOrder takes tickets of a paid order back, or money without them, and
	// starts the refund. Taking back what was taken back changes nothing. Conflict
	// for a ticket that its buyer may not give back. k may be nil.
	RefundOrder(ctx context.Context, k *Key, r RefundRequest) (Order, error)
	// Answered returns the answer that is stored under a key, if there is one;
	// KeyInFlight, KeyReused.
	Answered(ctx context.Context, k Key) (o Order, answered bool, err error)
	// ExchangeTickets claims other tickets for an order and gives its own back: all
	// of it or nothing. What it gets cheaper is refunded; Conflict when it would be
	// dearer. Freed has what was given back.
	ExchangeTickets(ctx context.Context, k *Key, x NewExchange) (Order, error)
	// CancelEvent takes an event off sale for good; its orders are due from then on.
	CancelEvent(ctx context.Context, c Cancellation, actor string) error
	Cancellation(ctx context.Context, event string) (Cancellation, error)
	// Reschedule puts an event on sale or postpones it, with an e-mail to everybody who
	// has tickets. Conflict for what MayReschedule refuses.
	Reschedule(ctx context.Context, r Rescheduling) (Rescheduled, error)
	Refund(ctx context.Context, id string) (Refund, error)
	RefundDone(ctx context.Context, refund string) error

	// Due takes what has to be looked at by now, or will have within the given
	// time, at most limit of each kind; nobody else gets it for a while.
	Due(ctx context.Context, within time.Duration, limit int) (Due, error)
	// PaymentStumbled and RefundStumbled note that something could not be done
	// about an open payment or refund, and when it is tried again.
	PaymentStumbled(ctx context.Context, payment string, cause error) error
	RefundStumbled(ctx context.Context, refund string, cause error) error
	// Compared notes what the gateway's books say about a payment that is over, unless
	// it went on meanwhile: then there will be another comparison.
	Compared(ctx context.Context, c Comparison) error

	// SalesSince counts the orders paid within the last while.
	SalesSince(ctx context.Context, age time.Duration) (int, error)
	// Orders lists orders, newest first, for operators.
	Orders(ctx context.Context, q OrderQuery) (OrderPage, error)
	// Inventory reads the state of all tickets of an event.
	Inventory(ctx context.Context, event string) (Truth, error)
	// Buyers reads who has bought tickets of an event, and who is in its channels.
	Buyers(ctx context.Context, event string) (Buyers, error)
	ChannelStore
	OutsideStore
	Books
	AdmissionStore
	PromoStore
}

// OrderQuery selects orders for operators. Text matches an order id, or part
// of a buyer's name or e-mail.
type OrderQuery struct {
	Event, Text, Cursor string
	Status              OrderStatus
	Limit               int
}

// OrderPage is one page of orders; Next is "" on the last.
type OrderPage struct {
	Orders []Order
	Next   string
}

// Due names what has to be looked at.
type Due struct {
	Expire   []string  // orders whose time to pay is over
	Payments []Payment // that are open
	Refunds  []string
	Compare  []Payment // that are over, and were never compared with the gateway's books
	// CalledOff are orders of events that were cancelled.
	CalledOff []CalledOff
}

// CalledOff is an order whose event was cancelled.
type CalledOff struct {
	Order    string
	Sold     bool
	KeepFees bool
	Reason   string
	Actor    string
}
