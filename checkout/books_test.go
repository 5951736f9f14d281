package checkout_test

import (
	"errors"
	"strings"
	"testing"

	"onsale/catalog"
	"onsale/checkout"
)

// TestBooksForOperators follows trouble with the gateway as operators see it, until it
// is over.
func TestBooksForOperators(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	_, o := h.bought(1, 2)
	h.gateway.set("capture", errors.New("the gateway is on fire"), false)
	for range checkout.StuckAfter {
		h.soon()
		if _, err := h.Sweep(ctx, 0); err == nil {
			t.Fatal("a capture worked without a gateway")
		}
	}
	m, err := h.Money(ctx)
	if err != nil || len(m.Stuck) != 1 || m.Stuck[0].Order != o.ID || !strings.Contains(m.Stuck[0].LastError, "on fire") || m.Stuck[0].NextTry == nil {
		t.Errorf("stuck: %+v, %v", m.Stuck, err)
	}
	list, _, err := h.Payments(ctx, checkout.MoneyQuery{Stuck: true, Limit: 10})
	if err != nil || len(list) != 1 || list[0].Failures != checkout.StuckAfter {
		t.Errorf("payments: %+v, %v", list, err)
	}
	h.gateway.set("capture", nil, false)
	if err := h.Look(ctx, m.Stuck[0].ID); err != nil { // an operator does not wait
		t.Fatal(err)
	}
	if o, err = h.Order(ctx, o.ID); err != nil || o.Status != checkout.Fulfilled {
		t.Errorf("the order is %s, %v", o.Status, err)
	}
	if _, err := h.refund(o); err != nil {
		t.Fatal(err)
	}
	h.work()
	if m, err = h.Money(ctx); err != nil || len(m.Stuck) != 0 || m.Payments[checkout.PaymentRefunded] != 1 || m.Refunds != 0 {
		t.Errorf("in the end: %+v, %v", m, err)
	}
	refunds, _, err := h.Refunds(ctx, checkout.MoneyQuery{Order: o.ID, Limit: 10})
	if err != nil || len(refunds) != 1 || refunds[0].Amount.Amount != 9000 || len(refunds[0].Tickets) != 2 || refunds[0].Actor != "admin" {
		t.Errorf("refunds: %+v, %v", refunds, err)
	}
}

// TestPagesOfPayments reads payments page by page: each once, the newest first.
func TestPagesOfPayments(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for seat := range 7 {
		h.bought(seat)
	}
	seen := map[string]bool{}
	q := checkout.MoneyQuery{Event: h.event, Limit: 3}
	for pages := 1; ; pages++ {
		list, next, err := h.Payments(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range list {
			if seen[p.ID] {
				t.Errorf("payment %s is on two pages", p.ID)
			}
			seen[p.ID] = true
		}
		if q.Cursor = next; next == "" {
			if len(seen) != 7 || pages != 3 {
				t.Errorf("%d payments on %d pages, want 7 on 3", len(seen), pages)
			}
			return
		}
	}
}

// TestExports holds the tables for spreadsheets against what was sold and given back.
func TestExports(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	_, o := h.bought(1, 2)
	h.bought(3)
	h.work()
	if _, err := h.RefundOrder(t.Context(), nil, checkout.RefundRequest{Order: o.ID, Tickets: []string{h.layout.Seats[2].ID}, Actor: "admin"}); err != nil {
		t.Fatal(err)
	}
	h.work()
	read := func(table checkout.Export) (rows []map[string]string) {
		t.Helper()
		var names []string
		err := h.Export(t.Context(), checkout.ExportQuery{Table: table, Event: h.event}, func(cells []string) error {
			if names == nil {
				names = append(names, cells...)
				return nil
			}
			row := map[string]string{}
			for i, cell := range cells {
				row[names[i]] = cell
			}
			rows = append(rows, row)
			return nil
		})
		if err != nil {
			t.Fatalf("%s: %v", table, err)
		}
		return rows
	}
	orders := read(checkout.ExportOrders)
	if len(orders) != 2 || orders[0]["order"] != o.ID || orders[0]["total"] != "9000" || orders[0]["refunded"] != "4500" || orders[0]["tickets"] != "1" {
		t.Errorf("orders: %v", orders)
	}
	tickets := read(checkout.ExportTickets)
	if len(tickets) != 3 || tickets[1]["returned_at"] == "" || tickets[0]["returned_at"] != "" || tickets[2]["price"] != "4500" {
		t.Errorf("tickets: %v", tickets)
	}
	// What is special about a seat stands in the words of tables of seats, and how one gets there.
	if _, err := h.db.Exec(t.Context(), `update tickets set attributes = case ordinal when 1 then 15 when 2 then 4 else 0 end where event_id = $1`, h.event); err != nil {
		t.Fatal(err)
	}
	if _, err := h.db.Exec(t.Context(), `update sections set entrance = 'Door B' where event_id = $1`, h.event); err != nil {
		t.Fatal(err)
	}
	marked := read(checkout.ExportTickets)
	for i, want := range []string{strings.Join(catalog.Attributes(15).Names(), " "), "restricted_view", ""} {
		if marked[i]["attributes"] != want || marked[i]["entrance"] != "Door B" || tickets[i]["attributes"] != "" || tickets[i]["entrance"] != "" {
			t.Errorf("ticket %d has %q by %q, want %q", i, marked[i]["attributes"], marked[i]["entrance"], want)
		}
	}
	payouts := read(checkout.ExportPayouts)
	if len(payouts) != 1 || payouts[0]["captured"] != "13500" || payouts[0]["refunded"] != "4500" || payouts[0]["net"] != "9000" {
		t.Errorf("payouts: %v", payouts)
	}
	stop := errors.New("the reader went away")
	if err := h.Export(t.Context(), checkout.ExportQuery{Table: checkout.ExportOrders}, func([]string) error { return stop }); err == nil {
		t.Error("an export went on without a reader")
	}
}

// TestFailuresInAnyLanguage: what a gateway says is noted whatever letters it has, and
// the payment is tried again later and later.
func TestFailuresInAnyLanguage(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	_, o := h.bought(1)
	for _, text := range []string{strings.Repeat("Ü", 600), "x" + strings.Repeat("Ü", 600), "a\x00b", "a\xffb"} {
		h.gateway.set("capture", errors.New(text), false)
		before := query[int](h, `select looks from payments where order_id = $1`, o.ID)
		if err := h.Capture(t.Context(), h.lastPayment(o)); err == nil {
			t.Error("it did not fail")
		}
		if now := query[int](h, `select looks from payments where order_id = $1`, o.ID); now != before+1 {
			t.Errorf("after %.5q: %d failures are noted, want %d", text, now, before+1)
		}
	}
}
