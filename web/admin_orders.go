package web

import (
	"encoding/csv"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"onsale/catalog"
	"onsale/checkout"
	"onsale/internal/fault"
)

const mostReason = 500 // characters

func (s *Server) adminOrders(c *gin.Context) {
	if err := knownQuery(c, "event", "status", "q", "limit", "cursor"); err != nil {
		s.fail(c, err)
		return
	}
	limit, err := limitOf(c, 50, 200)
	if err != nil {
		s.fail(c, err)
		return
	}
	q := checkout.OrderQuery{Event: c.Query("event"), Status: checkout.OrderStatus(c.Query("status")), Text: c.Query("q"), Cursor: c.Query("cursor"), Limit: limit}
	switch {
	case q.Event != "" && !catalog.IsID(q.Event):
		err = fault.New(fault.Invalid, "query parameter \"event\" is not an id")
	case q.Status != "" && !slices.Contains(checkout.OrderStatuses, q.Status):
		err = fault.New(fault.Invalid, "query parameter \"status\" is none of an order")
	case len(q.Text) > 254 || hasControl(q.Text):
		err = fault.New(fault.Invalid, "query parameter \"q\" is too long or has control characters")
	}
	var page checkout.OrderPage
	if err == nil {
		page, err = s.Shop.Orders(c.Request.Context(), q)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	orders := make([]operatorsOrder, 0, len(page.Orders))
	for i := range page.Orders {
		orders = append(orders, forAdmin(page.Orders[i]))
	}
	private(c, http.StatusOK, gin.H{"orders": orders, "next_cursor": orNull(page.Next)})
}

// operatorsOrder is an order as operators see it: without the buyer's token.
type operatorsOrder struct {
	checkout.Order
	Visitor string `json:"visitor"`
}

func forAdmin(o checkout.Order) operatorsOrder {
	o.Payment.ClientSecret = "" // the buyer's, to go on with the payment
	return operatorsOrder{o, o.Visitor}
}

// adminOrder shows an order with all that was tried to pay it and all that went back.
func (s *Server) adminOrder(c *gin.Context) {
	order, err := id(c, "id")
	ctx := c.Request.Context()
	var o checkout.Order
	if err == nil {
		o, err = s.Shop.Order(ctx, order)
	}
	q := checkout.MoneyQuery{Order: order, Limit: 100}
	payments, refunds := []checkout.PaymentRecord{}, []checkout.RefundRecord{}
	if err == nil {
		payments, _, err = s.Shop.Payments(ctx, q)
	}
	if err == nil {
		refunds, _, err = s.Shop.Refunds(ctx, q)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, struct {
		operatorsOrder
		Payments []checkout.PaymentRecord `json:"payments"`
		Refunds  []checkout.RefundRecord  `json:"refunds"`
	}{forAdmin(o), payments, refunds})
}

// moneyQuery reads what of the payments or refunds is asked for.
func moneyQuery(c *gin.Context, statuses ...string) (q checkout.MoneyQuery, err error) {
	if err := knownQuery(c, "event", "order", "status", "stuck", "limit", "cursor"); err != nil {
		return q, err
	}
	if q.Limit, err = limitOf(c, 50, 200); err != nil {
		return q, err
	}
	q.Event, q.Order, q.Status, q.Cursor = c.Query("event"), c.Query("order"), c.Query("status"), c.Query("cursor")
	stuck := c.Query("stuck")
	q.Stuck = stuck == "true"
	switch {
	case q.Event != "" && !catalog.IsID(q.Event):
		return q, fault.New(fault.Invalid, "query parameter \"event\" is not an id")
	case q.Order != "" && !catalog.IsID(q.Order):
		return q, fault.New(fault.Invalid, "query parameter \"order\" is not an id")
	case q.Status != "" && !slices.Contains(statuses, q.Status):
		return q, fault.New(fault.Invalid, "query parameter \"status\" must be one of %s", strings.Join(statuses, ", "))
	case stuck != "" && stuck != "true" && stuck != "false":
		return q, fault.New(fault.Invalid, "query parameter \"stuck\" must be true or false")
	}
	return q, nil
}

func (s *Server) adminPayments(c *gin.Context) {
	statuses := make([]string, len(checkout.PaymentStatuses))
	for i, status := range checkout.PaymentStatuses {
		statuses[i] = string(status)
	}
	q, err := moneyQuery(c, statuses...)
	var list []checkout.PaymentRecord
	var next string
	if err == nil {
		list, next, err = s.Shop.Payments(c.Request.Context(), q)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, gin.H{"payments": list, "next_cursor": orNull(next)})
}

func (s *Server) adminRefunds(c *gin.Context) {
	q, err := moneyQuery(c, "pending", "done")
	var list []checkout.RefundRecord
	var next string
	if err == nil {
		list, next, err = s.Shop.Refunds(c.Request.Context(), q)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, gin.H{"refunds": list, "next_cursor": orNull(next)})
}

// adminLook does now what would be done about a payment later: an operator who has
// mended something need not wait.
func (s *Server) adminLook(c *gin.Context) {
	payment, err := id(c, "id")
	if err == nil {
		err = noBody(c)
	}
	if err == nil {
		_, err = s.Shop.OrderOfPayment(c.Request.Context(), payment)
	}
	if err == nil {
		err = s.record(c, "payment.look", payment, struct{}{})
	}
	var order string
	if err == nil {
		if lerr := s.Shop.Look(c.Request.Context(), payment); lerr != nil && fault.CodeOf(lerr) != fault.Unavailable {
			err = fault.Wrap(lerr, fault.GatewayUnavailable, "it failed again; the error stands with the payment").After(2 * time.Second)
		} else {
			err = lerr
		}
	}
	if err == nil {
		order, err = s.Shop.OrderOfPayment(c.Request.Context(), payment)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, gin.H{"payment": payment, "order": order})
}

func (s *Server) adminReconciliation(c *gin.Context) {
	m, err := s.Shop.Money(c.Request.Context())
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, m)
}

// adminExport streams a table as CSV (RFC 4180): what has begun to be sent and fails is
// cut off, so that nobody takes a part for the whole.
func (s *Server) adminExport(c *gin.Context) {
	table, isCSV := strings.CutSuffix(c.Param("table"), ".csv")
	q := checkout.ExportQuery{Table: checkout.Export(table), Event: c.Query("event")}
	err := knownQuery(c, "event", "from", "to")
	switch {
	case err != nil:
	case !isCSV || q.Table != checkout.ExportOrders && q.Table != checkout.ExportTickets && q.Table != checkout.ExportPayouts:
		err = fault.New(fault.NotFound, "there is no export %q; there are orders.csv, tickets.csv and payouts.csv", clip(c.Param("table")))
	case q.Event != "" && !catalog.IsID(q.Event):
		err = fault.New(fault.Invalid, "query parameter \"event\" is not an id")
	}
	for name, into := range map[string]*time.Time{"from": &q.From, "to": &q.To} {
		if err == nil {
			*into, err = instant(c, name)
		}
	}
	if err == nil {
		err = s.record(c, "export."+table, q.Event, gin.H{"from": c.Query("from"), "to": c.Query("to")})
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	// Longer than other answers may take.
	_ = http.NewResponseController(c.Writer).SetWriteDeadline(time.Time{})
	out := csv.NewWriter(c.Writer)
	write := exportRow(out)
	rows := 0
	err = s.Shop.Export(c.Request.Context(), q, func(cells []string) error {
		if rows == 0 {
			c.Header("Content-Type", "text/csv; charset=utf-8")
			c.Header("Content-Disposition", `attachment; filename="`+table+`.csv"`)
			c.Header("Cache-Control", "private, no-store")
		}
		if err := write(cells); err != nil {
			return err
		}
		if rows++; rows%500 == 0 {
			out.Flush()
			c.Writer.Flush()
		}
		return out.Error()
	})
	out.Flush()
	switch {
	case err == nil:
	case rows == 0:
		s.fail(c, err)
	default:
		_ = s.diagnose(c, err) // for the log
		panic(http.ErrAbortHandler)
	}
}

// harmless keeps a spreadsheet from taking what a buyer wrote for a formula.
func harmless(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
		if _, err := strconv.ParseFloat(cell, 64); err != nil {
			return "'" + cell
		}
	}
	return cell
}

// adminRefund gives money of a paid order back: with all of its tickets, with some, or
// without any.
func (s *Server) adminRefund(c *gin.Context) {
	var b struct {
		Tickets  []string `json:"tickets"`
		Amount   int64    `json:"amount"`
		KeepFees bool     `json:"keep_fees"`
		Reason   string   `json:"reason"`
	}
	s.changeOrder(c, "order.refund", &b, func() error {
		switch {
		case b.Amount < 0:
			return fault.New(fault.Invalid, "amount must be at least 1 minor unit, or be left out")
		case b.Amount > 0 && len(b.Tickets) > 0:
			return fault.New(fault.Invalid, "tickets and amount: name only one of them")
		case b.Amount > 0 && c.GetHeader("Idempotency-Key") == "":
			return fault.New(fault.KeyMissing, "an amount could be given back twice: send an Idempotency-Key header")
		}
		if err := namesTickets("tickets", b.Tickets); err != nil {
			return err
		}
		return shortText("reason", b.Reason, mostReason)
	}, func(o *checkout.Order) error {
		_, _, err := o.RefundOf(checkout.RefundRequest{Tickets: b.Tickets, Amount: b.Amount})
		return err
	}, func(order string, k *checkout.Key) (checkout.Order, error) {
		return s.Shop.RefundOrder(c.Request.Context(), k, checkout.RefundRequest{
			Order: order, Tickets: b.Tickets, Amount: b.Amount, KeepFees: b.KeepFees, Reason: b.Reason, Actor: actor(c),
		})
	})
}

// adminExchange swaps tickets of a paid order for others that nobody has.
func (s *Server) adminExchange(c *gin.Context) {
	var b struct {
		Tickets []string `json:"tickets"`
		To      []string `json:"to"`
		Reason  string   `json:"reason"`
	}
	s.changeOrder(c, "order.exchange", &b, func() error {
		if len(b.Tickets) == 0 || len(b.To) != len(b.Tickets) {
			return fault.New(fault.Invalid, "tickets and to must name as many tickets, at least one")
		}
		if err := namesTickets("tickets", b.Tickets); err != nil {
			return err
		}
		if err := namesTickets("to", b.To); err != nil {
			return err
		}
		return shortText("reason", b.Reason, mostReason)
	}, func(o *checkout.Order) error {
		layout, err := s.Catalog.Layout(c.Request.Context(), o.Event)
		if err != nil {
			return err
		}
		for i, ticket := range b.To {
			if _, known := layout.Ordinal(ticket); !known {
				return fault.New(fault.NotFound, "to[%d]: the event has no ticket %s", i, ticket)
			}
		}
		_, _, err = o.RefundOf(checkout.RefundRequest{Tickets: b.Tickets})
		return err
	}, func(order string, k *checkout.Key) (checkout.Order, error) {
		return s.Shop.Exchange(c.Request.Context(), k, checkout.ExchangeRequest{
			Order: order, Tickets: b.Tickets, To: b.To, Reason: b.Reason, Actor: actor(c),
		})
	})
}

// changeOrder reads what an operator wants of an order, checks it by itself and for
// this order, records it, and does it. What cannot be leaves no trace in the audit log.
func (s *Server) changeOrder(c *gin.Context, action string, b any, check func() error, fits func(o *checkout.Order) error,
	change func(order string, k *checkout.Key) (checkout.Order, error),
) {
	order, err := id(c, "id")
	var k *checkout.Key
	if err == nil {
		k, err = maybeIdempotent(c, actor(c))
	}
	if err == nil {
		err = body(c, b)
	}
	if err == nil {
		err = check()
	}
	var o checkout.Order
	var answered bool
	if err == nil {
		o, answered, err = s.Shop.Answered(c.Request.Context(), k) // it fitted then, and does not now
	}
	if err == nil && answered {
		private(c, http.StatusOK, forAdmin(o))
		return
	}
	if err == nil {
		o, err = s.Shop.Order(c.Request.Context(), order)
	}
	if err == nil {
		err = fits(&o)
	}
	if err == nil {
		err = s.record(c, action, order, b)
	}
	if err == nil {
		o, err = change(order, k)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, forAdmin(o))
}

// adminCancelEvent takes an event off sale for good, closes its room, and starts to
// give everybody their money back.
func (s *Server) adminCancelEvent(c *gin.Context) {
	event, err := id(c, "id")
	var b struct {
		Reason   string `json:"reason"`
		KeepFees bool   `json:"keep_fees"`
	}
	if err == nil {
		err = body(c, &b)
	}
	if err == nil {
		err = shortText("reason", b.Reason, mostReason)
	}
	if err == nil {
		_, err = s.Catalog.Event(c.Request.Context(), event)
	}
	if err == nil {
		err = s.record(c, "event.cancel", event, b)
	}
	var done checkout.Cancellation
	if err == nil {
		done, err = s.Shop.CancelEvent(c.Request.Context(), checkout.Cancellation{Event: event, Reason: b.Reason, KeepFees: b.KeepFees}, actor(c))
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	if err := s.Rooms.Close(c.Request.Context(), event, "cancelled"); err != nil && !fault.Is(err, fault.Conflict) {
		s.fail(c, err) // asking again closes it
		return
	}
	private(c, http.StatusAccepted, done)
}

func (s *Server) adminCancellation(c *gin.Context) {
	event, err := id(c, "id")
	var done checkout.Cancellation
	if err == nil {
		done, err = s.Shop.Cancellation(c.Request.Context(), event)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, done)
}

// actor names the operator who asks.
func actor(*gin.Context) string { return "admin" }
