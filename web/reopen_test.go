package web_test

import (
	"testing"
	"time"
)

const twoSeats = `{"name": "Duo at the mill", "starts_at": "2031-05-01T19:00:00Z", "venue": {"name": "The mill"}, "currency": "EUR",
  "max_per_buyer": 4, "status": "on_sale", "cancellation": {"until_hours": 1},
  "generate": {"kind": "rows", "sections": [{"name": "Stalls", "rows": 1, "seats_per_row": 2, "category": "Stalls"}]},
  "prices": {"Stalls": {"amount": 4500}},
  "room": {"state": "open", "rate_per_minute": 60000, "burst": 1000, "max_shoppers": 2000, "lease_s": 600, "claim_window_s": 60}}`

// A room that closed since all was sold opens again within seconds when a ticket comes
// back, whoever gives it back and how; its stock is what can be had.
func TestSoldOutRoomsHearOfReturnedTickets(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	var made struct{ ID string }
	s.post("/v1/admin/events", twoSeats, asOperator).ok(201, &made)
	event := made.ID
	must(t, s.rooms.ShopOK(t.Context(), event, -1, -1, 0))
	tickets := s.ticketsOn(event)
	buy := func(ticket string) (me, order) {
		t.Helper()
		m := s.admitted(event)
		o := s.paid(s.ordered(m.Pass, s.held(event, m.Pass, ticket)), "tok_ok")
		eventually(t, "fulfilled", func() order { return s.orderNow(o) }, func(o order) bool { return o.Status == "fulfilled" })
		return m, o
	}
	type room struct {
		State  string
		Closed *string `json:"closed_reason"`
		Stock  struct{ Available, Held, Left int }
	}
	becomes := func(why, state string, available int) {
		t.Helper()
		now := within(t, why, 5*time.Second, func() (r room) {
			s.get("/v1/admin/rooms/"+event, asOperator).ok(200, &r)
			return r
		}, func(r room) bool { return r.State == state && r.Stock.Available == available })
		if state == "closed" && (now.Closed == nil || *now.Closed != "sold_out") {
			t.Errorf("%s: %+v", why, now)
		}
	}
	_, firstOrder := buy(tickets[0])
	_, secondOrder := buy(tickets[1])
	becomes("all is sold", "closed", 0)

	s.post("/v1/admin/orders/"+firstOrder.Order+"/refund", `{"reason":"ill"}`, asOperator).ok(200, nil)
	becomes("an operator refunds", "open", 1)
	_, thirdOrder := buy(tickets[0])
	becomes("it is sold again", "closed", 0)

	s.post("/v1/orders/"+secondOrder.Order+"/cancel", `{"tickets":["`+tickets[1]+`"]}`, bearing(secondOrder.Token)).ok(200, nil)
	becomes("a buyer cancels", "open", 1)

	// An exchange frees as many as it takes: the last one is another one then.
	s.post("/v1/admin/orders/"+thirdOrder.Order+"/exchange", `{"tickets":["`+tickets[0]+`"],"to":["`+tickets[1]+`"],"reason":"view"}`, asOperator).ok(200, nil)
	becomes("seats are exchanged", "open", 1)
	last := s.admitted(event)
	s.held(event, last.Pass, tickets[0])
}
