package messages

import (
	"context"
	"encoding/json"
	"time"

	"onsale/catalog"
	"onsale/checkout"
	"onsale/checkout/mail"
	"onsale/checkout/webhook"
)

// Type says what an announcement is about. Other systems rely on them: never rename
// one.
type Type string

// The types.
const (
	OrderPaid      Type = "order.paid"
	OrderFulfilled Type = "order.fulfilled"
	OrderRefunded  Type = "order.refunded" // all of it, or part
	OrderCancelled Type = "order.cancelled"
	TicketScanned  Type = "ticket.scanned"
	RoomSoldOut    Type = "room.sold_out"
	WebhookTest    Type = "webhook.test" // made by an operator, never stored
)

// Types lists those that an endpoint can ask for.
var Types = []Type{OrderPaid, OrderFulfilled, OrderRefunded, OrderCancelled, TicketScanned, RoomSoldOut}

// Announcement is something that happened. Its ID is the webhook-id.
type Announcement struct {
	ID      string
	Type    Type
	Subject string // id of the order, ticket or event
	Event   string
	Payload json.RawMessage
	At      time.Time
}

// Endpoint is an address that is told.
type Endpoint struct {
	ID          string    `json:"id"`
	URL         string    `json:"url"`
	Types       []Type    `json:"types"` // empty: all
	Active      bool      `json:"active"`
	WhyInactive string    `json:"why_inactive"`
	Note        string    `json:"note"`
	CreatedAt   time.Time `json:"created_at"`
	// RotatesUntil is how long messages are signed with the secret before, too.
	RotatesUntil *time.Time `json:"rotates_until"`

	Secrets []webhook.Secret `json:"-"` // newest first
}

// EndpointPatch changes what is not nil.
type EndpointPatch struct {
	URL    *string
	Types  *[]Type
	Active *bool
	Note   *string
	Secret webhook.Secret // the one before signs for RotateFor more
}

// DeliveryStatus is where a delivery stands.
type DeliveryStatus string

// The statuses of a delivery.
const (
	DeliveryPending   DeliveryStatus = "pending"
	DeliveryDelivered DeliveryStatus = "delivered"
	DeliveryFailed    DeliveryStatus = "failed" // given up; an operator can have it sent again
)

// DeliveryStatuses lists them.
var DeliveryStatuses = []DeliveryStatus{DeliveryPending, DeliveryDelivered, DeliveryFailed}

// Delivery is one announcement on its way to one endpoint.
type Delivery struct {
	ID           string         `json:"id"`
	Endpoint     string         `json:"webhook"`
	Announcement string         `json:"message"` // the webhook-id
	Type         Type           `json:"type"`
	Subject      string         `json:"subject"`
	Status       DeliveryStatus `json:"status"`
	Attempts     int            `json:"attempts"`
	LastStatus   *int           `json:"last_status"` // of HTTP
	LastError    string         `json:"last_error"`
	NextAt       *time.Time     `json:"next_at"` // while pending
	DeliveredAt  *time.Time     `json:"delivered_at"`
	CreatedAt    time.Time      `json:"created_at"`
}

// Attempt is a delivery that its caller alone may try, for a while.
type Attempt struct {
	Delivery     string
	Number       int // from 1
	Announcement Announcement
	Endpoint     Endpoint
}

// DeliveryOutcome is what became of an attempt.
type DeliveryOutcome struct {
	Status DeliveryStatus
	Answer int // of HTTP; 0: there was none
	Error  string
	Wait   time.Duration // while pending
	Gone   bool          // the endpoint wants no more: it is switched off
}

// EmailStatus is where an e-mail stands.
type EmailStatus string

// The statuses of an e-mail.
const (
	EmailPending EmailStatus = "pending"
	EmailSending EmailStatus = "sending" // a worker talks to the mail server
	EmailSent    EmailStatus = "sent"
	EmailFailed  EmailStatus = "failed"  // given up; an operator can have it sent again
	EmailSkipped EmailStatus = "skipped" // no mail server is set, or there was nothing to tell any more
)

// EmailStatuses lists them.
var EmailStatuses = []EmailStatus{EmailPending, EmailSending, EmailSent, EmailFailed, EmailSkipped}

// Email is one e-mail to one person.
type Email struct {
	ID        string      `json:"id"`
	Kind      mail.Kind   `json:"kind"`
	Order     *string     `json:"order"`
	Recipient string      `json:"recipient"`
	Status    EmailStatus `json:"status"`
	Attempts  int         `json:"attempts"`
	LastError string      `json:"last_error"`
	NextAt    *time.Time  `json:"next_at"` // while pending
	SentAt    *time.Time  `json:"sent_at"`
	CreatedAt time.Time   `json:"created_at"`

	Data json.RawMessage `json:"-"`
}

// Data is what an e-mail says beyond its order. It is stored with the e-mail.
type Data struct {
	Name     string         `json:"name,omitempty"`
	Language string         `json:"language,omitempty"`
	Amount   *catalog.Money `json:"amount,omitempty"`  // refund
	Event    string         `json:"event,omitempty"`   // transfer: its id
	Code     string         `json:"code,omitempty"`    // sign_in: its id
	Sender   string         `json:"sender,omitempty"`  // transfer
	Expires  *time.Time     `json:"expires,omitempty"` // sign_in
	// Admission is the ticket of a transfer. Its link, which opens it, is made when
	// the e-mail is sent and is not stored.
	Admission string `json:"admission,omitempty"`
	// reschedule: the start before, whether the one of now is the new one, and what the
	// organiser says.
	Was   *time.Time `json:"was,omitempty"`
	Dated bool       `json:"dated,omitempty"`
	Note  string     `json:"note,omitempty"`
}

// EmailOutcome is what became of an attempt.
type EmailOutcome struct {
	Status EmailStatus
	Error  string
	Wait   time.Duration // while pending
}

// DeliveryQuery selects deliveries of an endpoint; empty fields select all.
type DeliveryQuery struct {
	Endpoint string
	Status   DeliveryStatus
	Cursor   string
	Limit    int
}

// EmailQuery selects e-mails; empty fields select all.
type EmailQuery struct {
	Order  string
	Status EmailStatus
	Cursor string
	Limit  int
}

// Range selects announcements: from From on, before To.
type Range struct {
	From, To   time.Time
	FailedOnly bool // only those that the endpoint did not get
}

// Store keeps announcements, deliveries and e-mails. Its errors are faults; NotFound
// names what there is none of, Unavailable when it does not answer.
type Store interface {
	// FanOut makes a delivery for each active endpoint that wants the
	// announcement, each with its job, unless that was done.
	FanOut(ctx context.Context, announcement string) error
	// Sweep announces what rooms have noted, fans out what was not, and makes a job for every delivery and
	// e-mail that should have been tried before age and was not. It reports how many
	// those were.
	Sweep(ctx context.Context, age time.Duration) (lost int, err error)
	// Forget deletes announcements that are older, with their deliveries, and
	// e-mails that are about no order.
	Forget(ctx context.Context, age time.Duration) error

	// TakeDelivery reserves a delivery for one attempt. nil: there is nothing to
	// do, or not before later.
	TakeDelivery(ctx context.Context, id string, lease time.Duration) (a *Attempt, later time.Duration, err error)
	// Delivered records an attempt, unless the delivery was taken anew since.
	DeliveryDone(ctx context.Context, a *Attempt, o DeliveryOutcome) error
	// TakeEmail reserves an e-mail for one attempt, likewise.
	TakeEmail(ctx context.Context, id string, lease time.Duration) (e *Email, later time.Duration, err error)
	EmailDone(ctx context.Context, e *Email, o EmailOutcome) error

	Endpoints(ctx context.Context) ([]Endpoint, error)
	Endpoint(ctx context.Context, id string) (Endpoint, error)
	// CreateEndpoint refuses more than most endpoints: Conflict.
	CreateEndpoint(ctx context.Context, e Endpoint, most int) (Endpoint, error)
	UpdateEndpoint(ctx context.Context, id string, p EndpointPatch) (Endpoint, error)
	DeleteEndpoint(ctx context.Context, id string) error

	Deliveries(ctx context.Context, q DeliveryQuery) (list []Delivery, next string, err error)
	Delivery(ctx context.Context, id string) (Delivery, error)
	// Replay has a delivery tried again from the beginning.
	Replay(ctx context.Context, id string) (Delivery, error)
	// ReplayRange has the endpoint told again what it wants of the range; Invalid
	// when that is more than most.
	ReplayRange(ctx context.Context, endpoint string, r Range, most int) (n int, err error)
	// CountRange is how many that would be now, with the errors it would have.
	CountRange(ctx context.Context, endpoint string, r Range, most int) (n int, err error)

	Emails(ctx context.Context, q EmailQuery) (list []Email, next string, err error)
	Email(ctx context.Context, id string) (Email, error)
	// Resend has a failed or skipped e-mail tried again, or sends a further one
	// like it when it was sent; Conflict while it is being sent, or without a mail
	// server.
	Resend(ctx context.Context, id string) (Email, error)
	// Confirm sends the confirmation of an order again; TooMany beyond most within
	// the time, Conflict when the order is not fulfilled or has no address.
	Confirm(ctx context.Context, order string, most int, within time.Duration) (Email, error)
}

// Orders is what e-mails read about orders and tickets.
type Orders interface {
	Order(ctx context.Context, id string) (checkout.Order, error)
	Admission(ctx context.Context, id string) (checkout.Admission, error)
}

// Events is what e-mails read about events.
type Events interface {
	Event(ctx context.Context, id string) (catalog.Event, error)
}

// Attacher makes what goes with the confirmation of an order: its tickets.
type Attacher interface {
	Attachments(ctx context.Context, o checkout.Order) ([]mail.File, error)
}

// Courier takes a webhook to an endpoint; *webhook.Client is one.
type Courier interface {
	Check(address string) error
	Post(ctx context.Context, m webhook.Message) (webhook.Answer, error)
}

var _ Courier = (*webhook.Client)(nil)
