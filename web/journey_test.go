package web_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image/png"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"onsale/catalog"
)

// TestJourney walks a buyer from the list of events to the tickets.
func TestJourney(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})

	var list struct{ Events []struct{ ID, Name string } }
	s.get("/v1/events?name=mill&city=K%C3%B6ln&from=2031-01-01&limit=10").ok(200, &list)
	if len(list.Events) != 1 || list.Events[0].ID != s.event {
		t.Fatalf("events: %+v", list)
	}
	event, room := "/v1/events/"+list.Events[0].ID, "/v1/rooms/"+list.Events[0].ID
	s.get(event+"/plan").ok(200, nil)

	// The room is paused: everybody waits.
	s.post("/v1/admin/rooms/"+s.event+"/pause", "", asOperator).ok(200, nil)
	joined := s.join(s.event)
	if joined.State != "waiting" || *joined.Ahead != 0 || joined.Receipt == "" || joined.VisitorToken == "" {
		t.Fatalf("joined: %+v", joined)
	}
	mine := bearing(joined.VisitorToken)
	s.post(room+"/claim", "{}", mine).refused(409, "not-your-turn")

	line := s.dial(room+"/ws", nil, "onsale.v1")
	line.say(`{"token":"` + joined.VisitorToken + `"}`)
	line.until("a place", func(m me) bool {
		return m.State == "waiting" && m.Visitor == joined.Visitor && m.Room.State == "paused"
	})
	s.post("/v1/admin/rooms/"+s.event+"/resume", "{}", asOperator).ok(200, nil)
	ready := line.until("the turn", func(m me) bool { return m.State == "ready" })
	if ready.ClaimBy == nil {
		t.Errorf("ready: %+v", ready)
	}
	var claimed me
	s.post(room+"/claim", "", mine).ok(200, &claimed)
	shopping := line.until("shopping", func(m me) bool { return m.State == "shopping" })
	if claimed.Pass == "" || shopping.Pass != claimed.Pass || claimed.LeaseEnds == nil {
		t.Fatalf("claimed %+v, told %+v", claimed, shopping)
	}
	pass := bearing(claimed.Pass)
	s.get(room+"/check", pass).ok(204, nil)

	// The map, as somebody else sees it.
	seats := s.dial(event+"/live", nil)
	var snapshot struct {
		Seq    int64
		Total  int
		Status string
	}
	must(t, json.Unmarshal(seats.next("Snapshot"), &snapshot))
	states, err := base64.StdEncoding.DecodeString(snapshot.Status)
	if err != nil || snapshot.Total != len(s.tickets) || len(states) != (len(s.tickets)+3)/4 || bytes.Trim(states, "\x00") != nil {
		t.Errorf("snapshot %+v: %x, %v", snapshot, states, err)
	}

	var h hold
	s.post(event+"/holds", `{"best_available":{"quantity":2,"tier":"Stalls"}}`, pass).ok(201, &h)
	if len(h.Tickets) != 2 || h.Total != (catalog.Money{Amount: 9000, Currency: "EUR"}) || h.Tickets[0].Tier != "Stalls" {
		t.Fatalf("hold: %+v", h)
	}
	var delta struct {
		Seq, Prev int64
		Changes   [][2]int
	}
	must(t, json.Unmarshal(seats.next("Delta"), &delta))
	want := [][2]int{{h.Tickets[0].Ordinal, 1}, {h.Tickets[1].Ordinal, 1}}
	if delta.Prev != snapshot.Seq || delta.Seq <= delta.Prev || !slices.Equal(delta.Changes, want) {
		t.Errorf("delta %+v, want %v after %d", delta, want, snapshot.Seq)
	}
	// A key stands for one choice of tickets.
	once := func(ticket int) reply {
		t.Helper()
		return s.post(event+"/holds", fmt.Sprintf(`{"tickets":[%q]}`, s.tickets[ticket]), pass, keyed("one more"))
	}
	var more, same hold
	once(31).ok(201, &more)
	if once(31).ok(201, &same); same.Hold != more.Hold {
		t.Errorf("asked again: hold %s, then %s", more.Hold, same.Hold)
	}
	once(32).refused(422, "idempotency-key-reused")
	s.do(http.MethodDelete, event+"/holds/"+more.Hold, "", pass).ok(204, nil)
	hold := event + "/holds/" + h.Hold
	s.get(hold, pass).ok(200, nil)
	s.get(event+"/holds", pass).ok(200, nil)
	s.post(hold+"/extend", "", pass).ok(200, &h)
	if h.ExtensionsLeft != 1 {
		t.Errorf("extended: %+v", h)
	}
	// A second hold is given back.
	spare := s.held(s.event, claimed.Pass, s.tickets[30])
	s.do(http.MethodDelete, event+"/holds/"+spare.Hold, "", pass).ok(204, nil)
	s.get(event+"/holds/"+spare.Hold, pass).refused(404, "not-found")

	o := s.ordered(claimed.Pass, h)
	if o.Status != "awaiting_payment" || o.Total != h.Total || len(o.Items) != 2 || !strings.HasPrefix(o.Link, s.url+"/orders/"+o.Order+"#t=") {
		t.Fatalf("order: %+v", o)
	}
	if again := s.ordered(claimed.Pass, h); again.Order != o.Order {
		t.Errorf("the same key made another order: %s, %s", o.Order, again.Order)
	}
	declined := s.paid(o, "tok_declined")
	if declined.Status != "declined" || declined.Payment.Reason == "" {
		t.Errorf("declined: %+v", declined)
	}
	paid := s.paid(o, "tok_ok")
	if paid.Status != "paid" {
		t.Fatalf("paid: %+v", paid)
	}
	eventually(t, "the order is fulfilled", func() order { return s.orderNow(o) }, func(o order) bool { return o.Status == "fulfilled" })

	// With the order's link, and as the visitor who made it.
	for _, who := range []func(*http.Request){bearing(o.Token), mine, pass, asOperator, header("Cookie", "onsale_visitor="+joined.VisitorToken)} {
		var tickets struct {
			Status  string
			Tickets []struct{ Ticket, Code, QR string }
		}
		s.get("/v1/orders/"+o.Order+"/tickets", who).ok(200, &tickets)
		if len(tickets.Tickets) != 2 || tickets.Tickets[0].Code == tickets.Tickets[1].Code || len(tickets.Tickets[0].Code) < 12 {
			t.Fatalf("tickets: %+v", tickets)
		}
		qr := s.get(tickets.Tickets[0].QR, who).ok(200, nil)
		if picture, err := png.Decode(bytes.NewReader(qr.body)); err != nil || picture.Bounds().Dx() < 200 || qr.header.Get("Content-Type") != "image/png" {
			t.Errorf("QR: %v", err)
		}
	}
	if n := query[int](s, `select count(*) from tickets where event_id = $1 and status = 'purchased'`, s.event); n != 2 {
		t.Errorf("%d tickets are sold", n)
	}
	var shown struct {
		Tickets struct{ Total, Available, Sold, Held int }
	}
	eventually(t, "the stock shows it", func() int {
		s.get(event).ok(200, &shown)
		return shown.Tickets.Sold
	}, func(sold int) bool { return sold == 2 && shown.Tickets.Available == shown.Tickets.Total-2 })
}

// TestOriginalPaths buys one ticket at a time, with a session token and with a
// pass.
func TestOriginalPathsSellATicket(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	var found struct {
		IDs []string `json:"event_ids"`
	}
	s.get("/event/search?name=mill&date_range=2031-05-01..2031-05-01&artist=trio&event_type=concert").ok(200, &found)
	var shown struct {
		Event, Venue struct{ Name string }
		Tickets      []catalog.Ticket
	}
	s.get("/event/"+found.IDs[0]).ok(200, &shown)
	if shown.Venue.Name != "The mill" || len(shown.Tickets) != len(s.tickets) {
		t.Fatalf("event: %+v", shown)
	}
	m := s.admitted(s.event)
	for i, token := range []string{m.Pass, m.VisitorToken} {
		ticket, slash := shown.Tickets[i].ID, [...]string{"/", ""}[i]
		body := fmt.Sprintf(`{"ticket_id":%q}`, ticket)
		s.post("/purchase_ticket"+slash, body, bearing(token)).refused(409, "hold-lapsed")
		var reserved, again struct {
			Until string `json:"reservation_expire_time"`
		}
		s.post("/reserve_ticket"+slash, body, bearing(token)).ok(200, &reserved)
		s.post("/reserve_ticket"+slash, body, bearing(token)).ok(200, &again)
		if again != reserved {
			t.Errorf("reserved until %s, then until %s", reserved.Until, again.Until)
		}
		buy := func(method string) string {
			var bought struct {
				Status string `json:"purchase_status"`
			}
			s.post("/purchase_ticket"+slash, fmt.Sprintf(`{"ticket_id":%q%s}`, ticket, method), bearing(token)).ok(200, &bought)
			return bought.Status
		}
		if status := buy(`,"method":"tok_declined"`); status != "declined" {
			t.Errorf("declined: %s", status)
		}
		for range 2 {
			if status := buy(""); status != "purchased" {
				t.Errorf("bought: %s", status)
			}
		}
	}
	// Who asks again after their turn, since the answer was lost, hears the same.
	s.do(http.MethodDelete, "/v1/rooms/"+s.event+"/me", "", bearing(m.VisitorToken)).ok(204, nil)
	var bought struct {
		Status string `json:"purchase_status"`
	}
	s.post("/purchase_ticket/", fmt.Sprintf(`{"ticket_id":%q}`, shown.Tickets[1].ID), bearing(m.VisitorToken)).ok(200, &bought)
	if bought.Status != "purchased" {
		t.Errorf("asked again after the turn: %s", bought.Status)
	}
	if n := query[int](s, `select count(*) from tickets where status = 'purchased' and event_id = $1`, s.event); n != 2 {
		t.Errorf("%d tickets are sold", n)
	}
	other := s.admitted(s.event)
	p := s.post("/reserve_ticket/", fmt.Sprintf(`{"ticket_id":%q}`, shown.Tickets[0].ID), bearing(other.Pass)).refused(409, "tickets-taken")
	if !slices.Equal(p.Taken, []string{shown.Tickets[0].ID}) {
		t.Errorf("taken: %+v", p)
	}
	waiting := s.newEvent("Second night", "on_sale")
	s.post("/v1/admin/rooms/"+waiting+"/pause", "", asOperator).ok(200, nil)
	outside := s.join(waiting)
	ticket := query[string](s, `select id::text from tickets where event_id = $1 limit 1`, waiting)
	s.post("/reserve_ticket/", fmt.Sprintf(`{"ticket_id":%q}`, ticket), bearing(outside.VisitorToken)).refused(403, "pass-lapsed")
	p = s.post("/reserve_ticket/", fmt.Sprintf(`{"ticket_id":%q}`, ticket), bearing(m.VisitorToken)).refused(401, "pass-required")
	if p.Queue != s.url+"/queue/"+waiting {
		t.Errorf("the way to the queue: %q", p.Queue)
	}
}

// TestOperatorSteersTheRoom as somebody who waits there sees it.
func TestOperatorSteersTheRoom(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	room, console := "/v1/rooms/"+s.event, "/v1/admin/rooms/"+s.event
	act := func(action, body string) { t.Helper(); s.post(console+"/"+action, body, asOperator).ok(200, nil) }

	act("pause", `{"message":"Back in ten minutes."}`)
	m := s.join(s.event)
	line := s.dial(room+"/ws", http.Header{"Authorization": {"Bearer " + m.VisitorToken}}, "onsale.v1")
	line.until("the pause and the message", func(m me) bool {
		return m.State == "waiting" && m.Room.State == "paused" && *m.Room.Reason == "paused" && m.Room.Message != nil && *m.Room.Message == "Back in ten minutes."
	})
	act("message", `{"message":""}`)
	line.until("the message taken back", func(m me) bool { return m.Room.Message == nil })
	s.post(console+"/pause", "", asOperator).refused(409, "conflict")

	// Nobody is let in at a rate of 0.
	var throttled struct {
		Throttle struct {
			Rate int `json:"rate_per_minute"`
			Max  int `json:"max_shoppers"`
		}
	}
	s.do(http.MethodPatch, console, `{"max_shoppers":0}`, asOperator).ok(200, &throttled)
	if throttled.Throttle.Max != 0 || throttled.Throttle.Rate != 60000 {
		t.Errorf("throttle: %+v", throttled)
	}
	act("resume", "")
	full := line.until("the full shop", func(m me) bool { return m.Room.State == "open" })
	if full.State != "waiting" {
		t.Errorf("let in past the cap: %+v", full)
	}
	s.do(http.MethodPatch, console, `{"max_shoppers":1}`, asOperator).ok(200, nil)
	line.until("the turn", func(m me) bool { return m.State == "ready" })
	second := s.join(s.event)
	if second.State != "waiting" {
		t.Errorf("two shoppers, where one is allowed: %+v", second)
	}
	watching := s.dial("/v1/admin/live", nil)
	watching.say(`{"token":"` + operator + `"}`)
	var live struct {
		Reachable bool
		Rooms     []struct {
			Event          string
			Waiting, Ready int
		}
	}
	must(t, json.Unmarshal(watching.next("Live"), &live))
	if !live.Reachable || len(live.Rooms) != 1 || live.Rooms[0].Waiting != 1 || live.Rooms[0].Ready != 1 {
		t.Errorf("live: %+v", live)
	}
	behind := s.dial(room+"/ws", http.Header{"Cookie": {"onsale_visitor=" + second.VisitorToken}}, "onsale.v1")
	behind.until("a place", func(m me) bool { return m.State == "waiting" })
	s.do(http.MethodDelete, room+"/me", "", bearing(second.VisitorToken)).ok(204, nil)
	behind.until("the farewell", func(m me) bool { return m.State == "left" })

	third := s.join(s.event)
	last := s.dial(room+"/ws", http.Header{"Authorization": {"Bearer " + third.VisitorToken}}, "onsale.v1")
	last.until("a place", func(m me) bool { return m.State == "waiting" })
	act("drain", "")
	s.post(room+"/join", "{}").refused(409, "room-closed")
	act("close", `{"reason":"sold_out"}`)
	last.until("the end", func(m me) bool { return m.State == "closed" && *m.Room.Reason == "closed" })
	if code := last.closed(); code != 4010 {
		t.Errorf("closed with %d", code)
	}
	s.post(room+"/claim", "", bearing(m.VisitorToken)).ok(200, nil) // a turn that came is kept
	act("open", "")

	s.get("/v1/admin/rooms", asOperator).ok(200, nil)
	var log struct {
		Entries []struct{ Actor, Action string }
	}
	s.get("/v1/admin/audit", asOperator).ok(200, &log)
	var actions []string
	for _, e := range log.Entries {
		if e.Actor == "admin" { // not what the room did by itself
			actions = append(actions, e.Action)
		}
	}
	slices.Reverse(actions)
	want := []string{
		"event.create", "room.pause", "room.message", "room.pause", "room.configure", "room.resume", "room.configure",
		"room.drain", "room.close", "room.open",
	}
	if !slices.Equal(actions, want) {
		t.Errorf("audit: %v\nwant:  %v", actions, want)
	}
	var page struct {
		Next *string `json:"next_cursor"`
	}
	all := len(log.Entries)
	s.get("/v1/admin/audit?limit=4", asOperator).ok(200, &page)
	s.get("/v1/admin/audit?limit=200&cursor="+*page.Next, asOperator).ok(200, &log)
	if len(log.Entries) < all-4 { // the room may have done something meanwhile
		t.Errorf("the second page has %d entries", len(log.Entries))
	}
}

// TestOrdersEnd in the other ways than with tickets in hand.
func TestOrdersEnd(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	m := s.admitted(s.event)
	free := func(ticket string) bool {
		return query[string](s, `select status from tickets where id = $1`, ticket) == "available"
	}

	cancelled := s.ordered(m.Pass, s.held(s.event, m.Pass, s.tickets[0]))
	for range 2 {
		s.post("/v1/orders/"+cancelled.Order+"/cancel", "{}", bearing(cancelled.Token)).ok(200, &cancelled)
		if cancelled.Status != "cancelled" || !free(s.tickets[0]) {
			t.Errorf("cancelled: %+v", cancelled)
		}
	}
	s.post("/v1/orders/"+cancelled.Order+"/pay", `{"method":"tok_ok"}`, bearing(cancelled.Token), keyed("late")).refused(409, "conflict")

	refunded := s.paid(s.ordered(m.Pass, s.held(s.event, m.Pass, s.tickets[1])), "tok_ok")
	s.post("/v1/orders/"+refunded.Order+"/cancel", "", bearing(refunded.Token)).refused(409, "conflict")
	eventually(t, "fulfilled", func() order { return s.orderNow(refunded) }, func(o order) bool { return o.Status == "fulfilled" })
	s.post("/v1/admin/orders/"+refunded.Order+"/refund", `{"reason":"rain"}`, asOperator).ok(200, nil)
	if now := s.orderNow(refunded); now.Status != "refunded" || !free(s.tickets[1]) {
		t.Errorf("refunded: %+v", now)
	}
	eventually(t, "the money is back", func() int64 {
		return query[int64](s, `select coalesce(sum(refunded), 0)::bigint from sandbox_payments`)
	}, func(back int64) bool { return back == refunded.Total.Amount })
	var none struct{ Tickets []struct{} }
	s.get("/v1/orders/"+refunded.Order+"/tickets", bearing(refunded.Token)).ok(200, &none)
	if len(none.Tickets) != 0 {
		t.Errorf("a refunded order has tickets: %+v", none)
	}
	s.post("/v1/admin/orders/"+cancelled.Order+"/refund", "", asOperator).refused(409, "conflict")

	// The buyer confirms at the bank.
	for answer, status := range map[string]string{"approve": "paid", "refuse": "declined"} {
		o := s.ordered(m.Pass, s.held(s.event, m.Pass, s.tickets[2]))
		o = s.paid(o, "tok_requires_action")
		if o.Status != "awaiting_payment" || o.Payment.NextAction == nil {
			t.Fatalf("an action is required: %+v", o)
		}
		bank := o.Payment.NextAction.URL
		if page := s.get(bank).ok(200, nil); !strings.Contains(string(page.body), "Approve") {
			t.Errorf("the bank's page: %s", page.body)
		}
		form := header("Content-Type", "application/x-www-form-urlencoded")
		s.post(bank, url.Values{"answer": {"perhaps"}}.Encode(), form).refused(400, "invalid-request")
		sent := s.post(bank, url.Values{"answer": {answer}}.Encode(), form).ok(303, nil)
		if sent.header.Get("Location") != "/orders/"+o.Order {
			t.Errorf("sent to %q", sent.header.Get("Location"))
		}
		s.post(bank, url.Values{"answer": {answer}}.Encode(), form).refused(409, "conflict")
		now := s.orderNow(o)
		if now.Status != status && (status != "paid" || now.Status != "fulfilled") {
			t.Errorf("%s: %+v", answer, now)
		}
		if answer == "refuse" {
			s.post("/v1/orders/"+o.Order+"/cancel", "", bearing(o.Token)).ok(200, nil)
		} else {
			eventually(t, "fulfilled", func() order { return s.orderNow(o) }, func(o order) bool { return o.Status == "fulfilled" })
			s.post("/v1/admin/orders/"+o.Order+"/refund", "", asOperator).ok(200, nil)
		}
	}
	lost := s.ordered(m.Pass, s.held(s.event, m.Pass, s.tickets[3]))
	s.post("/v1/orders/"+lost.Order+"/pay", `{"method":"tok_error"}`, bearing(lost.Token), keyed("lost")).refused(503, "gateway-unavailable")
	if o := s.paid(lost, "tok_timeout"); o.Status != "paid" {
		t.Errorf("an answer was lost: %+v", o)
	}

	var orders struct {
		Orders []struct{ Order string }
		Next   *string `json:"next_cursor"`
	}
	s.get("/v1/admin/orders?limit=2&q=buyers.example&event="+s.event, asOperator).ok(200, &orders)
	if len(orders.Orders) != 2 || orders.Next == nil {
		t.Fatalf("orders: %+v", orders)
	}
	s.get("/v1/admin/orders?cursor="+*orders.Next, asOperator).ok(200, &orders)
	if len(orders.Orders) != 3 || orders.Next != nil {
		t.Errorf("the second page: %+v", orders)
	}
}

// TestRepeatedRefundOfMoney sends a refund of all the money again, as who has lost the
// answer does: it is the same answer, and not that nothing is left.
// TestOperatorsInABuyersPlace: what an operator does on the routes of buyers stands in
// the audit log, and what buyers do themselves does not.
func TestOperatorsInABuyersPlace(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	o, list := s.soldTickets(1, 2)
	give := func(ticket string, who func(*http.Request)) {
		t.Helper()
		s.post("/v1/orders/"+o.Order+"/tickets/"+ticket+"/transfer", `{"name":"Grace Example","email":"grace@example.com"}`, who).ok(200, nil)
	}
	give(list[0].Ticket, bearing(o.Token))
	if n := query[int](s, `select count(*)::int from audit_log where action = 'ticket.transfer'`); n != 0 {
		t.Errorf("the audit log has %d transfers of buyers", n)
	}
	give(list[1].Ticket, asOperator)
	s.post("/v1/orders/"+o.Order+"/cancel", `{}`, asOperator).refused(409, "conflict")
	for _, action := range []string{"ticket.transfer", "order.cancel"} {
		if n := query[int](s, `select count(*)::int from audit_log where action = $1`, action); n != 1 {
			t.Errorf("the audit log has %d of %s, want 1", n, action)
		}
	}
}

func TestRepeatedRefundOfMoney(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	o, _ := s.soldTickets(1)
	path, all := "/v1/admin/orders/"+o.Order+"/refund", fmt.Sprintf(`{"amount":%d}`, o.Total.Amount)
	for range 2 {
		var back struct{ Refunded catalog.Money }
		s.post(path, all, asOperator, keyed("all of it")).ok(200, &back)
		if back.Refunded != o.Total {
			t.Errorf("%+v went back of %+v", back.Refunded, o.Total)
		}
	}
	s.post(path, `{"amount":1}`, asOperator, keyed("all of it")).refused(422, "idempotency-key-reused")
	if n := query[int](s, `select count(*)::int from audit_log where action = 'order.refund'`); n != 1 {
		t.Errorf("the audit log has %d refunds, want 1", n)
	}
}
