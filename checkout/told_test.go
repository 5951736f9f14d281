package checkout_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"onsale/checkout"
	"onsale/internal/fault"
	"onsale/waitroom/pass"
)

// TestScansAreTold once per ticket, however they come: one by one, many at once, again
// and at several gates; and nobody's name or code is told.
func TestScansAreTold(t *testing.T) {
	t.Parallel()
	h, keys := newHouse(t), pass.Generate()
	o, list := h.fulfilled(0, 1, 2)
	told := func(a *checkout.Admission) int {
		return query[int](h, `select count(*) from announcements where type = 'ticket.scanned' and payload->>'admission' = $1`, a.ID)
	}
	h.result(keys, checkout.ScanAdmitted, checkout.Scan{Code: list[0].Code, Gate: "North", ID: "n1"})
	h.result(keys, checkout.ScanAdmitted, checkout.Scan{Code: list[0].Code, Gate: "North", ID: "n1"})
	h.result(keys, checkout.ScanAgain, checkout.Scan{Code: list[0].Code, Gate: "South"})
	h.result(keys, checkout.ScanNotValid, checkout.Scan{Code: "0000-0000-0000-0000"})
	batch := func() []checkout.Scan {
		at := time.Now().Add(-time.Hour)
		return []checkout.Scan{
			{Code: list[0].Code, ID: "b0", At: at, Recorded: true}, {Code: list[1].Code, ID: "b1", Gate: "West", At: at, Recorded: true},
			{Code: list[1].Code, ID: "b2", At: at, Recorded: true},
		}
	}
	for range 2 {
		h.shown(keys, batch()...)
	}
	for _, err := range together(8, func(i int) error {
		_, err := h.Scan(context.Background(), keys, []checkout.Scan{{Code: list[2].Code, Gate: fmt.Sprint(i), By: "test", At: time.Now()}})
		return err
	}) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range list {
		if n := told(&list[i]); n != 1 {
			t.Errorf("ticket %d was told %d times", i, n)
		}
	}
	if n := query[int](h, `select count(*) from announcements where type = 'ticket.scanned'`); n != 3 {
		t.Errorf("%d announcements", n)
	}
	now, err := h.Admission(t.Context(), list[1].ID)
	if err != nil {
		t.Fatal(err)
	}
	raw := query[string](h, `select payload::text from announcements where payload->>'admission' = $1`, list[1].ID)
	for _, want := range []string{list[1].Ticket, o.ID, h.event, `"Stalls"`, `"West"`, now.Scanned.Format("2006-01-02T15:04:05")} {
		if !strings.Contains(raw, want) {
			t.Errorf("%s is not in %s", want, raw)
		}
	}
	for _, private := range []string{list[1].Code, buyer.Name, buyer.Email} {
		if strings.Contains(raw, private) {
			t.Errorf("%s is told", private)
		}
	}
}

// TestScanThatCannotBeToldDidNotHappen: both are one transaction.
func TestScanThatCannotBeToldDidNotHappen(t *testing.T) {
	t.Parallel()
	h, keys := newHouse(t), pass.Generate()
	_, list := h.fulfilled(0)
	h.exec(`create function fail() returns trigger language plpgsql as 'begin raise exception ''disk full''; end'`)
	h.exec(`create trigger fail before insert on announcements for each row execute function fail()`)
	scan := checkout.Scan{Code: list[0].Code, By: "test", At: time.Now()}
	if r, err := h.Scan(t.Context(), keys, []checkout.Scan{scan}); err == nil {
		t.Errorf("let in: %+v", r)
	}
	if now, err := h.Admission(t.Context(), list[0].ID); err != nil || now.Scanned != nil {
		t.Errorf("%+v, %v", now, err)
	}
	h.exec(`drop trigger fail on announcements`)
	h.result(keys, checkout.ScanAdmitted, scan)
}

// TestNewHoldersAreTold once per transfer, about the ticket alone: neither the order
// nor what opens anything is stored with the e-mail.
func TestNewHoldersAreTold(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	h.orders.Mailing(true)
	o, list := h.fulfilled(0, 1, 2)
	next := list[0]
	holders := []checkout.Buyer{friend, {Name: "Nobody", Email: "x@onsale.INVALID"}}
	for i := range 7 {
		holders = append(holders, checkout.Buyer{Name: fmt.Sprint("Friend ", i), Email: fmt.Sprintf("f%d@example.org", i)})
	}
	for i, to := range holders {
		before := next.ID
		for range 2 {
			var err error
			if next, err = h.Transfer(ctx, before, to); err != nil {
				t.Fatalf("%d: %v", i, err)
			}
		}
		mails := query[int](h, `select count(*) from emails where kind = 'transfer' and recipient = $1 and order_id is null and data->>'admission' = $2`, to.Email, next.ID)
		if want := map[bool]int{true: 1}[i != 1 && i < 5]; mails != want { // the fifth is the last: whoever holds it could write to the world
			t.Errorf("transfer %d: %d e-mails, want %d", i, mails, want)
		}
		if next.Mailed != (mails == 1) {
			t.Errorf("transfer %d: %d e-mails, and it says %t", i, mails, next.Mailed)
		}
	}
	first, err := h.Transfer(ctx, list[2].ID, friend)
	h.exec(`update emails set status = 'failed' where data->>'admission' = $1`, first.ID)
	if again, err2 := h.Transfer(ctx, list[2].ID, friend); err != nil || err2 != nil || !first.Mailed || again.Mailed {
		t.Errorf("mailed %t, and %t after the e-mail has failed; %v, %v", first.Mailed, again.Mailed, err, err2)
	}
	h.exec(`delete from emails where data->>'admission' = $1`, first.ID)
	if n := query[int](h, `select count(*) from emails where kind = 'transfer'`); n != 4 {
		t.Errorf("%d e-mails", n)
	}
	data := query[string](h, `select string_agg(data::text, '') from emails where kind = 'transfer'`)
	for _, private := range []string{o.ID, "#t=", next.Code, buyer.Email} {
		if strings.Contains(data, private) {
			t.Errorf("%s is stored in %s", private, data)
		}
	}
	h.exec(`create function fail() returns trigger language plpgsql as 'begin raise exception ''disk full''; end'`)
	h.exec(`create trigger fail before insert on emails for each row execute function fail()`)
	if _, err := h.Transfer(ctx, list[1].ID, friend); err == nil {
		t.Error("passed on, though its e-mail was lost")
	}
	if now, err := h.Admission(ctx, list[1].ID); err != nil || now.Ended != nil {
		t.Errorf("%+v, %v", now, err)
	}
}

// TestExchangesAreConfirmed once each, whether or not money goes back.
func TestExchangesAreConfirmed(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	o, _ := h.fulfilled(0, 1)
	seat := func(n int) string { return h.layout.Seats[n].ID }
	confirmed := 1 // the purchase
	for n, x := range []struct{ from, to, refunds int }{{0, 3, 0}, {3, 25, 1}, {1, 4, 1}} {
		k := key()
		for range 2 {
			_, err := h.Exchange(t.Context(), &k, checkout.ExchangeRequest{Order: o.ID, Tickets: []string{seat(x.from)}, To: []string{seat(x.to)}, Actor: "admin"})
			if err != nil && !fault.Is(err, fault.TicketsTaken) { // the repeated one
				t.Fatalf("%d: %v", n, err)
			}
		}
		confirmed++
		if got := h.mailed("confirmation", o); got != confirmed {
			t.Errorf("exchange %d: %d confirmations, want %d", n, got, confirmed)
		}
		if got := h.mailed("refund", o); got != x.refunds {
			t.Errorf("exchange %d: %d refunds are told, want %d", n, got, x.refunds)
		}
	}
	_, err := h.Exchange(t.Context(), nil, checkout.ExchangeRequest{Order: o.ID, Tickets: []string{seat(25)}, To: []string{seat(5)}, Actor: "admin"})
	if err == nil {
		t.Error("a dearer one")
	}
	if got := h.mailed("confirmation", o); got != confirmed {
		t.Errorf("an exchange that is refused: %d confirmations, want %d", got, confirmed)
	}
}
