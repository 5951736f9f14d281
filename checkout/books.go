package checkout

import (
	"context"
	"time"

	"onsale/catalog"
)

// What operators see of the money.

// StuckAfter is how often something must have failed until it is shown as stuck. It
// goes on being tried.
const StuckAfter = 5

// PaymentRecord is a payment as operators see it. Method tokens are the gateway's and
// of no use elsewhere.
type PaymentRecord struct {
	ID       string        `json:"payment"`
	Order    string        `json:"order"`
	Event    string        `json:"event"`
	Gateway  string        `json:"gateway"`
	Attempt  int           `json:"attempt"`
	Status   PaymentStatus `json:"status"`
	Amount   catalog.Money `json:"amount"`
	Refunded catalog.Money `json:"refunded"`
	Reason   string        `json:"reason,omitempty"`
	Created  time.Time     `json:"created_at"`
	Updated  time.Time     `json:"updated_at"`
	// Trouble is what is in the way of an open payment.
	Trouble
	Compared *time.Time `json:"compared_at"` // with the gateway's books
}

// RefundRecord is a refund as operators see it.
type RefundRecord struct {
	ID      string        `json:"refund"`
	Order   string        `json:"order"`
	Payment string        `json:"payment"`
	Event   string        `json:"event"`
	Status  string        `json:"status"` // pending, done
	Amount  catalog.Money `json:"amount"`
	Tickets []string      `json:"tickets"`
	Reason  string        `json:"reason,omitempty"`
	Actor   string        `json:"actor"`
	Created time.Time     `json:"created_at"`
	Updated time.Time     `json:"updated_at"`
	Trouble
}

// Trouble says how often something failed, why, and when it is tried again.
type Trouble struct {
	Failures  int        `json:"failures"`
	LastError string     `json:"last_error,omitempty"`
	NextTry   *time.Time `json:"next_try_at"`
}

// Difference is what a comparison with the gateway's books has found.
type Difference struct {
	At      time.Time `json:"at"`
	Payment string    `json:"payment"`
	Order   string    `json:"order"`
	Ours    string    `json:"ours"`
	Theirs  string    `json:"theirs"`
	Action  string    `json:"action"`
}

// MoneyQuery selects payments or refunds. Stuck selects what has failed StuckAfter times
// or more.
type MoneyQuery struct {
	Event, Order, Status, Cursor string
	Stuck                        bool
	Limit                        int
}

// MoneyState is how the money stands: what is open, what is stuck, and what differed
// from the gateway's books.
type MoneyState struct {
	Payments    map[PaymentStatus]int `json:"payments"` // how many there are
	Refunds     int                   `json:"refunds_pending"`
	Uncompared  int                   `json:"uncompared"`
	Stuck       []PaymentRecord       `json:"stuck_payments"` // the oldest first, at most 100
	StuckBack   []RefundRecord        `json:"stuck_refunds"`
	Differences []Difference          `json:"differences"` // the newest first, at most 100
}

// Export names a table for a spreadsheet.
type Export string

// The exports.
const (
	ExportOrders  Export = "orders"  // one row an order
	ExportTickets Export = "tickets" // one row a ticket of a paid order
	ExportPayouts Export = "payouts" // one row a day, event and currency
)

// ExportQuery bounds an export. From is inclusive, To exclusive; zero: no bound.
type ExportQuery struct {
	Table    Export
	Event    string
	From, To time.Time
}

// Books is what an OrderStore tells operators.
type Books interface {
	Payments(ctx context.Context, q MoneyQuery) (list []PaymentRecord, next string, err error)
	Refunds(ctx context.Context, q MoneyQuery) (list []RefundRecord, next string, err error)
	Money(ctx context.Context) (MoneyState, error)
	// Export calls row with the column names and then with each row, as they come
	// from the database: nothing is gathered in memory.
	Export(ctx context.Context, q ExportQuery, row func(cells []string) error) error
}

// Payments lists payments, newest first.
func (s *Service) Payments(ctx context.Context, q MoneyQuery) ([]PaymentRecord, string, error) {
	return s.orders.Payments(ctx, q)
}

// Refunds lists refunds, newest first.
func (s *Service) Refunds(ctx context.Context, q MoneyQuery) ([]RefundRecord, string, error) {
	return s.orders.Refunds(ctx, q)
}

// Money tells how the money stands.
func (s *Service) Money(ctx context.Context) (MoneyState, error) { return s.orders.Money(ctx) }

// Export writes a table row by row.
func (s *Service) Export(ctx context.Context, q ExportQuery, row func(cells []string) error) error {
	return s.orders.Export(ctx, q, row)
}
