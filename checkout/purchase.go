package checkout

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/mail"
	"strings"
	"time"
	"unicode/utf8"

	"onsale/catalog"
	"onsale/checkout/payment"
	"onsale/internal/fault"
)

// The steps of a purchase, in order, as reported to Deps.Step. A crash right
// after any of them must end well.
const (
	StepPinned     = "pinned"     // the hold is kept for the order
	StepOrdered    = "ordered"    // the order and its claims are committed
	StepBegun      = "begun"      // the attempt to pay is recorded
	StepAuthorised = "authorised" // the gateway answered; nothing is recorded yet
	StepCommitted  = "committed"  // the sale is committed
	StepSettled    = "settled"    // Redis knows about the sale
	StepCaptured   = "captured"   // the gateway took the money; nothing is recorded yet
	StepFulfilled  = "fulfilled"  // codes are issued
)

// The steps of what comes after a purchase, or instead of one, reported likewise.
const (
	StepCalledOff   = "called_off"   // the event is cancelled; none of its orders is
	StepVoided      = "voided"       // the gateway gave the money free; nothing is recorded yet
	StepTakenBack   = "taken_back"   // the refund is committed
	StepRefunded    = "refunded"     // the gateway gave the money back; nothing is recorded yet
	StepRefundEnded = "refund_ended" // the refund is over
	StepExchanged   = "exchanged"    // other tickets are the buyer's; Redis does not know
)

// Steps and LaterSteps list them for tests.
var (
	Steps = []string{
		StepPinned, StepOrdered, StepBegun, StepAuthorised, StepCommitted, StepSettled, StepCaptured, StepFulfilled,
	}
	LaterSteps = []string{StepCalledOff, StepVoided, StepTakenBack, StepRefunded, StepRefundEnded, StepExchanged}
)

const (
	// pinFirst keeps a hold while its order is being written: short, so that a
	// crash in between does not keep tickets from others.
	pinFirst = 30 * time.Second
	// pinSlack is how much longer a hold is kept than its order has time to
	// pay, so that the order's end, not the hold's, decides.
	pinSlack = 2 * time.Minute
	// PayGrace is how long a claim outlives the start of an attempt to pay at
	// least.
	PayGrace = 10 * time.Minute
)

// sideEffect bounds what is done on the way for the sake of Redis; the
// auditor repairs what did not get done.
const sideEffect = time.Second

// OrderRequest turns a hold into an order.
type OrderRequest struct {
	Event, Visitor, Hold string
	Buyer                Buyer
	Promo                string // a code; "" for none
}

// CreateOrder claims the hold's tickets durably and starts the time to pay.
// Repeating it with the same key, or for the same hold, returns the same order.
func (s *Service) CreateOrder(ctx context.Context, k Key, r OrderRequest) (Order, error) {
	if err := k.Check(); err != nil {
		return Order{}, err
	}
	if err := r.Buyer.check(); err != nil {
		return Order{}, err
	}
	layout, err := s.onSale(ctx, r.Event)
	if err != nil {
		return Order{}, err
	}
	promo, err := s.promoToOrder(ctx, r.Event, r.Visitor, r.Promo)
	if err != nil {
		return Order{}, err
	}
	held, err := s.holds.Pin(ctx, r.Event, r.Visitor, r.Hold, pinFirst)
	if fault.Is(err, fault.HoldLapsed) {
		// Redis may have lost or settled a hold whose order exists: the order
		// store knows. It answers with that order, or that there is none.
		held, err = HeldTickets{ID: r.Hold}, nil
	}
	if err != nil {
		return Order{}, err
	}
	s.step(StepPinned)
	id, err := newID()
	if err != nil {
		return Order{}, err
	}
	quote := NewQuote(layout, held.Ordinals, promo)
	o, err := s.orders.CreateOrder(ctx, k, NewOrder{
		ID: id, Event: r.Event, Visitor: r.Visitor, Hold: r.Hold, Items: ItemsOf(layout, held.Ordinals, quote), Quote: quote,
		Fence: held.Fence, Buyer: r.Buyer, PayWithin: s.opts.PayWithin, MaxPerBuyer: layout.MaxPerBuyer, Gateway: s.gateway.Name(),
	})
	if err != nil {
		s.refused(ctx, r, layout, held, err)
		return Order{}, s.explain(ctx, err, layout, held.Ordinals)
	}
	if o.ID == id {
		s.metrics.orders.Inc()
		s.step(StepOrdered)
		s.keep(ctx, o, s.opts.PayWithin)
	}
	return o, nil
}

// ItemsOf lists tickets as the items of an order.
func ItemsOf(layout *catalog.Layout, ordinals []int, q Quote) []Item {
	items := make([]Item, len(ordinals))
	for i, o := range ordinals {
		t := layout.Ticket(o)
		items[i] = Item{
			Ticket: t.ID, Section: t.Section, Row: t.Row, Seat: t.Seat, Tier: t.Tier, Price: t.Price, Ordinal: o, Cost: q.Items[i],
			Attributes: t.Attributes, Entrance: t.Entrance,
		}
	}
	return items
}

// keep lets the hold of a committed order last as long as the order's claim: for
// what is paid nothing is freed in between.
func (s *Service) keep(ctx context.Context, o Order, within time.Duration) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sideEffect)
	defer cancel()
	_, err := s.holds.Pin(ctx, o.Event, o.Visitor, o.Hold, within+pinSlack)
	if fault.Is(err, fault.HoldLapsed) { // Redis has lost it; the order has not
		err = s.inventory.Repair(ctx, o.Event, o.Ordinals())
	}
	if err != nil {
		s.log.WarnContext(ctx, "the hold of an order will be repaired by the auditor", slog.String("order", o.ID), slog.Any("error", err))
	}
}

// refused cleans up after an order that the order store did not take.
func (s *Service) refused(ctx context.Context, r OrderRequest, layout *catalog.Layout, held HeldTickets, cause error) {
	if fault.Is(cause, fault.Unavailable) || fault.Is(cause, fault.KeyInFlight) || len(held.Ordinals) == 0 {
		return // the outcome is open, or there is no hold
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sideEffect)
	defer cancel()
	if fault.Is(cause, fault.KeyReused) || fault.Is(cause, fault.LimitReached) { // by another request perhaps
		_, err := s.orders.OpenOrderFor(ctx, layout.Seats[held.Ordinals[0]].ID, r.Visitor)
		if !fault.Is(err, fault.NotFound) {
			return // an order has the hold
		}
	}
	err := s.holds.Unpin(ctx, r.Event, r.Visitor, r.Hold, s.opts.HoldTTL)
	if fault.Is(err, fault.HoldLapsed) {
		err = nil // there is nothing to give back
	}
	taken, lost := takenOf(cause)
	if lost || fault.Is(cause, fault.HoldLapsed) { // it will not become an order
		err = errors.Join(err, s.holds.Release(ctx, r.Event, r.Visitor, r.Hold))
	}
	if lost { // Postgres knows better than Redis: mend the inventory on the way
		err = errors.Join(err, s.inventory.Repair(ctx, r.Event, taken))
	}
	if err != nil {
		s.log.WarnContext(ctx, "the hold of a refused order was left to lapse", slog.String("hold", r.Hold), slog.Any("error", err))
	}
}

// Order returns an order.
func (s *Service) Order(ctx context.Context, id string) (Order, error) {
	return s.orders.Order(ctx, id)
}

// OpenOrderFor finds the visitor's order that has the ticket.
func (s *Service) OpenOrderFor(ctx context.Context, ticket, visitor string) (Order, error) {
	return s.orders.OpenOrderFor(ctx, ticket, visitor)
}

// Orders lists orders for operators.
func (s *Service) Orders(ctx context.Context, q OrderQuery) (OrderPage, error) {
	return s.orders.Orders(ctx, q)
}

// OrderOfPayment names the order that a payment is for.
func (s *Service) OrderOfPayment(ctx context.Context, payment string) (string, error) {
	p, err := s.orders.Payment(ctx, payment)
	return p.Order, err
}

// SalesSince counts the orders paid within the last while.
func (s *Service) SalesSince(ctx context.Context, age time.Duration) (int, error) {
	return s.orders.SalesSince(ctx, age)
}

// CheckMethod returns fault.Invalid for a payment method that the gateway does
// not know. Pay asks for itself; this is for callers that have more to do before.
func (s *Service) CheckMethod(method string) error {
	if err := s.gateway.CheckMethod(method); err != nil {
		return fault.Wrap(err, fault.Invalid, "method: the gateway %s does not know it", s.gateway.Name())
	}
	return nil
}

// Pay authorises the order's total and commits the sale. The answer is the
// order: paid, declined (pay again with another method), awaiting_payment with
// a next action, payment_unknown while the gateway's answer is looked up, or an
// order that ended meanwhile, as when its event was cancelled.
// GatewayUnavailable means that nothing was charged.
func (s *Service) Pay(ctx context.Context, k Key, order, method string) (Order, error) {
	if err := k.Check(); err != nil {
		return Order{}, err
	}
	if err := s.CheckMethod(method); err != nil {
		return Order{}, err
	}
	o, p, answered, err := s.orders.BeginPayment(ctx, k, order, method, s.gateway.Name())
	if err != nil || answered {
		return o, err
	}
	s.step(StepBegun)
	if time.Until(o.PayBy)+pinSlack < PayGrace { // it is kept long enough as it is, mostly
		s.keep(ctx, o, PayGrace)
	}

	// From here on the attempt is the system's: a client that hangs up must
	// not leave it half done, though the sweep would finish it anyway.
	ctx = context.WithoutCancel(ctx)
	result, err := s.authorise(ctx, o, p, method)
	if err != nil {
		return s.unclear(ctx, k, o, p, err)
	}
	s.step(StepAuthorised)
	return s.conclude(ctx, &k, o, p, result)
}

func (s *Service) authorise(ctx context.Context, o Order, p Payment, method string) (payment.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.GatewayTimeout)
	defer cancel()
	return s.gateway.Authorise(ctx, payment.Charge{
		Key: p.ID, Order: o.ID, Amount: p.Amount.Amount, Currency: p.Amount.Currency, Method: method,
	})
}

// unclear asks the gateway what became of an attempt whose answer was lost.
func (s *Service) unclear(ctx context.Context, k Key, o Order, p Payment, cause error) (Order, error) {
	s.log.WarnContext(ctx, "the gateway did not answer; looking the payment up",
		slog.String("payment", p.ID), slog.Any("error", cause))
	result, err := s.lookup(ctx, p.ID)
	switch {
	case err == nil:
		return s.conclude(ctx, &k, o, p, result)
	case errors.Is(err, payment.ErrNotFound):
		failed, ended, err := s.neverArrived(ctx, &k, p, "the gateway could not be reached")
		if err != nil && !ended {
			break
		}
		if failed.Status != AwaitingPayment {
			return failed, nil // somebody else has ended the attempt, and more happened since
		}
		s.metrics.payments.WithLabelValues("failed").Inc()
		return Order{}, fault.Wrap(cause, fault.GatewayUnavailable,
			"the payment gateway could not be reached; nothing was charged and your tickets are still yours until %s",
			failed.PayBy.Format(time.RFC3339)).After(2 * time.Second)
	}
	// Still unknown: the sweep goes on asking; the page shows the state.
	s.metrics.payments.WithLabelValues("unknown").Inc()
	return s.orders.Order(ctx, o.ID)
}

func (s *Service) lookup(ctx context.Context, key string) (payment.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.GatewayTimeout)
	defer cancel()
	return s.gateway.Lookup(ctx, key)
}

// neverArrived ends an attempt that the gateway has not seen. It may be on its way
// still. So nobody sells on it any more from the first, and only then it is voided: the
// other way round it could arrive, be sold, and be voided after all. ended tells whether
// that much is done; if the void fails the comparison with the gateway's books finds
// what is left. k is nil when a job does it.
func (s *Service) neverArrived(ctx context.Context, k *Key, p Payment, why string) (o Order, ended bool, err error) {
	if o, err = s.orders.FailPayment(ctx, k, p.ID, why); err != nil {
		return o, false, err
	}
	now, err := s.orders.Payment(ctx, p.ID)
	if err != nil || now.Status != PaymentFailed { // somebody else knew more
		return o, true, err
	}
	return o, true, s.atGateway(ctx, func(ctx context.Context) error { return s.gateway.Void(ctx, p.ID) })
}

// conclude records what the gateway said. k is nil when a job does it.
func (s *Service) conclude(ctx context.Context, k *Key, o Order, p Payment, r payment.Result) (Order, error) {
	s.metrics.payments.WithLabelValues(string(r.State)).Inc()
	switch r.State {
	case payment.Authorised, payment.Captured:
		begun := &o
		if o.Status != PaymentUnknown { // it was given back to its buyer meanwhile
			begun = nil
		}
		done, err := s.orders.CommitSale(ctx, k, p.ID, begun)
		if err != nil {
			if taken, ok := takenOf(err); ok {
				s.freed(ctx, done, 0)
				s.repair(ctx, o.Event, taken)
				layout, lerr := s.catalog.Layout(ctx, o.Event)
				if lerr != nil {
					return Order{}, err
				}
				f := describeTaken(err, layout)
				return Order{}, fault.Wrap(f, fault.TicketsTaken,
					"your time to pay was over and somebody else has the tickets now; the payment is being given back").
					With("taken", ticketIDs(o, taken))
			}
			return Order{}, err
		}
		if !done.Status.Sold() {
			s.freed(ctx, done, 0)
			return done, nil // it ended before the gateway's answer was in
		}
		s.step(StepCommitted)
		s.metrics.sold.Add(float64(len(done.Items)))
		s.settle(ctx, done, Sold, done.Ordinals(), len(done.Items))
		s.step(StepSettled)
		return done, nil
	case payment.Declined:
		return s.orders.DeclinePayment(ctx, k, p.ID, r.Reason)
	case payment.RequiresAction:
		return s.orders.RequireAction(ctx, k, p.ID, r.Action())
	case payment.Voided:
		return s.orders.FailPayment(ctx, k, p.ID, "the payment was cancelled")
	}
	return Order{}, fmt.Errorf("checkout: the gateway reports state %q", r.State)
}

// RefundOrder takes back what is asked for of a paid order and starts the refund of
// its money. k may be nil.
func (s *Service) RefundOrder(ctx context.Context, k *Key, r RefundRequest) (Order, error) {
	if k != nil {
		if err := k.Check(); err != nil {
			return Order{}, err
		}
	}
	o, err := s.orders.RefundOrder(ctx, k, r)
	if err != nil {
		return Order{}, err
	}
	s.step(StepTakenBack)
	s.freed(ctx, o, -len(o.Freed))
	return o, nil
}

// freed tells the live inventory which tickets an order gave back, and nothing
// about those it had lost before: they may be somebody else's by now.
func (s *Service) freed(ctx context.Context, o Order, bought int) {
	if len(o.Freed) > 0 {
		s.settle(ctx, o, Available, o.Freed, bought)
	}
}

// settle tells the live inventory what was decided; bought is the change of the
// buyer's count. It may fail: Redis is not the truth, and the auditor compares
// the two.
func (s *Service) settle(ctx context.Context, o Order, to TicketState, ordinals []int, bought int) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sideEffect)
	defer cancel()
	err := s.holds.Settle(ctx, Settlement{
		Event: o.Event, Visitor: o.Visitor, Hold: o.Hold, Ordinals: ordinals, To: to, Bought: bought,
	})
	if err != nil {
		s.log.WarnContext(ctx, "the live inventory will be repaired by the auditor",
			slog.String("order", o.ID), slog.Any("error", err))
	}
}

func (s *Service) repair(ctx context.Context, event string, ordinals []int) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sideEffect)
	defer cancel()
	if err := s.inventory.Repair(ctx, event, ordinals); err != nil {
		s.log.WarnContext(ctx, "the live inventory will be repaired by the auditor",
			slog.String("event", event), slog.Any("error", err))
	}
}

func ticketIDs(o Order, ordinals []int) []string {
	wanted := make(map[int]bool, len(ordinals))
	for _, n := range ordinals {
		wanted[n] = true
	}
	var ids []string
	for i := range o.Items {
		if wanted[o.Items[i].Ordinal] {
			ids = append(ids, o.Items[i].Ticket)
		}
	}
	return ids
}

// Check returns KeyMissing or Invalid for a key that cannot be used.
func (k Key) Check() error {
	switch n := len(k.Value); {
	case n == 0:
		return fault.New(fault.KeyMissing, "send an Idempotency-Key header, a fresh random value per purchase step")
	case n > 255:
		return fault.New(fault.Invalid, "Idempotency-Key is longer than 255 bytes")
	}
	for _, r := range k.Value {
		if r < 0x20 || r > 0x7e {
			return fault.New(fault.Invalid, "Idempotency-Key must be printable ASCII")
		}
	}
	return nil
}

// check bounds what a buyer tells about themselves.
func (b Buyer) check() error {
	switch {
	case strings.TrimSpace(b.Name) == "" || utf8.RuneCountInString(b.Name) > 200 || !utf8.ValidString(b.Name):
		return fault.New(fault.Invalid, "buyer.name must have 1 to 200 characters")
	case hasControl(b.Name):
		return fault.New(fault.Invalid, "buyer.name must not have control characters")
	case len(b.Email) > 254:
		return fault.New(fault.Invalid, "buyer.email is longer than 254 bytes")
	}
	if a, err := mail.ParseAddress(b.Email); err != nil || a.Address != b.Email {
		return fault.New(fault.Invalid, "buyer.email must be an e-mail address")
	}
	return nil
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f })
}
