package web_test

import (
	"testing"

	"onsale/catalog"
)

// TestExchangeByTheLink: whoever has an order's link, and nothing else, exchanges its
// tickets for others that are held for it. Asked for twice, it happens once.
func TestExchangeByTheLink(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	event := s.newEventWith("Exchanged", `"currency": "EUR", "cancellation": {"until_hours": 0}`)
	tickets, buyer := s.ticketsOn(event), s.admitted(event)
	o := s.paid(s.ordered(buyer.Pass, s.held(event, buyer.Pass, tickets[0], tickets[1])), "tok_ok")
	path, link := "/v1/orders/"+o.Order+"/exchange", bearing(o.Token)
	type terms struct {
		Allowed bool
		Why     string
		Tickets []struct {
			Ticket  string
			Allowed bool
			Paid    catalog.Money
		}
	}
	can := eventually(t, "the capture", func() (x terms) {
		s.get(path, link).ok(200, &x)
		return x
	}, func(x terms) bool { return x.Allowed })
	if len(can.Tickets) != 2 || !can.Tickets[0].Allowed || can.Tickets[0].Paid.Amount != 4500 {
		t.Errorf("terms: %+v", can)
	}
	var held struct {
		Hold             hold
		Paid, Cost, Back catalog.Money
	}
	ask := `{"tickets":["` + tickets[0] + `"],"to":["` + tickets[3] + `"]}`
	s.post(path+"/hold", ask).refused(401, "unauthorized")
	s.post(path+"/hold", ask, link).ok(200, &held)
	if held.Paid.Amount != 4500 || held.Cost.Amount != 4500 || held.Back.Amount != 0 {
		t.Errorf("held: %+v", held)
	}
	first := held.Hold.Hold
	s.do("DELETE", path+"/hold", "", link).ok(204, nil)
	s.do("DELETE", path+"/hold", "", link).ok(204, nil)
	s.post(path, `{"tickets":["`+tickets[0]+`"],"hold":"`+first+`"}`, link).refused(409, "hold-lapsed")
	s.post(path+"/hold", ask, link).ok(200, &held)
	s.post("/v1/events/"+event+"/holds", `{"tickets":["`+tickets[3]+`"]}`, bearing(s.admitted(event).Pass)).refused(409, "tickets-taken")
	do := `{"tickets":["` + tickets[0] + `"],"hold":"` + held.Hold.Hold + `"}`
	for range 2 {
		var now order
		s.post(path, do, link, keyed("swap")).ok(200, &now)
		if len(now.Items) != 3 || now.Items[2].Ticket != tickets[3] {
			t.Errorf("now %+v", now.Items)
		}
	}
	if n := query[int](s, `select count(*) from tickets where order_id = $1`, o.Order); n != 2 {
		t.Errorf("the order has %d tickets", n)
	}
	s.post(path+"/hold", `{"tickets":["`+tickets[0]+`"],"ordinals":[5]}`, link).refused(409, "conflict")
	s.post(path+"/hold", `{"tickets":["`+tickets[1]+`"],"to":["`+tickets[3]+`"]}`, link).refused(409, "tickets-taken")
}
