package web_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"onsale/catalog"
	"onsale/checkout"
)

// newPromo makes one promo code and returns its id.
func (s *stage) newPromo(event, body string) string {
	s.t.Helper()
	var made struct{ Promos []checkout.PromoCode }
	s.post("/v1/admin/events/"+event+"/promos", body, asOperator).ok(201, &made)
	return made.Promos[0].ID
}

// newEventWith creates an event like stageEvent with more members.
func (s *stage) newEventWith(name, more string) string {
	s.t.Helper()
	doc := strings.Replace(fmt.Sprintf(stageEvent, name, "on_sale"), `"currency": "EUR"`, more, 1)
	var created struct{ ID string }
	s.post("/v1/admin/events", doc, asOperator).ok(201, &created)
	must(s.t, s.rooms.ShopOK(s.t.Context(), created.ID, -1, -1, 0))
	return created.ID
}

func (s *stage) ticketsOn(event string) []string {
	s.t.Helper()
	var page struct{ Tickets []catalog.Ticket }
	s.get("/v1/events/"+event+"/tickets?limit=100").ok(200, &page)
	list := make([]string, len(page.Tickets))
	for i, ticket := range page.Tickets {
		list[i] = ticket.ID
	}
	return list
}

type price struct {
	Items []struct {
		Price, Discount, Fee, Tax, Total catalog.Money
	}
	Subtotal, Discount, Fees, Total catalog.Money
	Tax                             *struct {
		Name, Percent string
		Included      bool
		Amount        catalog.Money
	}
	Promo *string
}

func TestTermsOfAnEventOverHTTP(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	event := s.newEventWith("With terms", `"currency": "USD", "fees": {"per_ticket": 450, "per_order": 350},
	  "tax": {"name": "sales tax", "percent": 8.875, "included": false}, "cancellation": {"until_hours": 48, "keep_fees": false}`)
	terms := func() string {
		t.Helper()
		var e struct{ Fees, Tax, Cancellation json.RawMessage }
		s.get("/v1/events/"+event).ok(200, &e)
		return fmt.Sprintf("%s %s %s", e.Fees, e.Tax, e.Cancellation)
	}
	fees := func(ticket, order int) string {
		return fmt.Sprintf(`{"per_ticket":{"amount":%d,"currency":"USD"},"per_order":{"amount":%d,"currency":"USD"}}`, ticket, order)
	}
	if got, want := terms(), fees(450, 350)+` {"name":"sales tax","percent":"8.875","included":false} {"until_hours":48,"keep_fees":false}`; got != want {
		t.Errorf("created with %s, want %s", got, want)
	}
	change := func(body string) { s.do("PATCH", "/v1/admin/events/"+event, body, asOperator).ok(200, nil) }
	change(`{"fees":{"per_order":0}}`)
	if got, want := terms(), fees(450, 0)+` {"name":"sales tax","percent":"8.875","included":false} {"until_hours":48,"keep_fees":false}`; got != want {
		t.Errorf("one fee less: %s, want %s", got, want)
	}
	// What is bought from now on is priced by the new terms at once.
	change(`{"tax":{"name":"VAT","percent":"7"},"cancellation":{"until_hours":0},"fees":{"per_ticket":150}}`)
	if got, want := terms(), fees(150, 0)+` {"name":"VAT","percent":"7","included":true} {"until_hours":0,"keep_fees":true}`; got != want {
		t.Errorf("other terms: %s, want %s", got, want)
	}
	var h struct{ Price price }
	s.post("/v1/events/"+event+"/holds", `{"ordinals":[0]}`, bearing(s.admitted(event).Pass)).ok(201, &h)
	if p := h.Price; p.Total.Amount != 4650 || p.Tax.Amount.Amount != 304 || p.Tax.Percent != "7" {
		t.Errorf("a hold costs %+v", p)
	}
	change(`{"tax":null,"cancellation":null}`)
	if got, want := terms(), fees(150, 0)+strings.Repeat(" null", 2); got != want {
		t.Errorf("none of it: %s, want %s", got, want)
	}
}

func TestPriceOfAHoldOverHTTP(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	event := s.newEventWith("New York", `"currency": "USD", "fees": {"per_ticket": 450, "per_order": 350}, "tax": {"name": "sales tax", "percent": "8.875", "included": false}`)
	s.newPromo(event, `{"code":"tenner","amount":1000}`)
	tickets := s.ticketsOn(event)
	buyer, rival := s.admitted(event), s.admitted(event)
	held := s.held(event, buyer.Pass, tickets[0], tickets[1])
	// Two at 45.00 and a fee of 4.50: 8.875 % of 49.50 is 4.393125, of the order's 3.50 0.310625.
	if held.Total != (catalog.Money{Amount: 2*(4950+439) + 381, Currency: "USD"}) {
		t.Errorf("the hold says %+v", held.Total)
	}
	path := "/v1/events/" + event + "/holds/" + held.Hold + "/price"
	ask := func(body string) (p price) {
		t.Helper()
		s.post(path, body, bearing(buyer.Pass)).ok(200, &p)
		return p
	}
	for _, body := range []string{``, `{}`, `{"promo":""}`, `{"promo":"  "}`} {
		if p := ask(body); p.Total != held.Total || p.Promo != nil || p.Discount.Amount != 0 {
			t.Errorf("%s: %+v", body, p)
		}
	}
	// 5.00 off each: 8.875 % of 44.50 is 3.949375.
	p := ask(`{"promo":" Tenner "}`)
	if p.Total.Amount != 2*(4450+395)+381 || p.Promo == nil || *p.Promo != "TENNER" || p.Discount.Amount != 1000 || p.Fees.Amount != 1250 ||
		p.Subtotal.Amount != 9000 || p.Tax.Amount.Amount != 821 || p.Tax.Included || p.Items[1].Discount.Amount != 500 {
		t.Errorf("with a code it costs %+v", p)
	}
	s.post(path, `{"promo":"TENNER"}`, bearing(rival.Pass)).refused(403, "forbidden")
	s.post(path, `{"promo":"TENNER"}`).refused(401, "pass-required")
	// A code is good for the event it was made for.
	other := s.held(s.event, s.admitted(s.event).Pass, s.tickets[0])
	if other.Total.Amount != 4500 {
		t.Errorf("an event without fees and tax costs %+v", other.Total)
	}
	s.do("DELETE", "/v1/events/"+event+"/holds/"+held.Hold, "", bearing(buyer.Pass)).ok(204, nil)
	s.post(path, `{"promo":"TENNER"}`, bearing(buyer.Pass)).refused(404, "not-found")
}

func TestPromoCodesSayWhyTheyDoNotApply(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	buyer := s.admitted(s.event)
	held := s.held(s.event, buyer.Pass, s.tickets[0])
	path := "/v1/events/" + s.event + "/holds/" + held.Hold + "/price"
	reason := func(code string) string {
		t.Helper()
		var refused struct{ Reason, Detail string }
		got := s.post(path, `{"promo":"`+code+`"}`, bearing(buyer.Pass))
		if got.status == 200 {
			return ""
		}
		got.refused(409, "promo-invalid")
		got.ok(409, &refused)
		return refused.Reason
	}
	s.newPromo(s.event, `{"code":"LATER","percent":10,"starts_at":"2199-01-01T00:00:00Z"}`)
	s.newPromo(s.event, `{"code":"PAST","percent":10,"ends_at":"2020-01-01T00:00:00Z"}`)
	off := s.newPromo(s.event, `{"code":"SWITCHED","percent":10,"active":false}`)
	few := s.newPromo(s.event, `{"code":"FEW","percent":10,"max_uses":2,"per_buyer":1}`)
	for code, want := range map[string]string{"NOSUCH": "unknown", "X": "unknown", "LATER": "not_yet", "PAST": "over", "SWITCHED": "over", "FEW": ""} {
		if got := reason(code); got != want {
			t.Errorf("%s: %q, want %q", code, got, want)
		}
	}
	s.do("PATCH", "/v1/admin/events/"+s.event+"/promos/"+off, `{"active":true}`, asOperator).ok(200, nil)
	if got := reason("SWITCHED"); got != "" {
		t.Errorf("switched on it is refused: %q", got)
	}

	s.orderedWith(buyer.Pass, s.held(s.event, buyer.Pass, s.tickets[4]), "few").ok(201, nil)
	if got := reason("FEW"); got != "used_by_you" {
		t.Errorf("used by the buyer: %q", got)
	}
	s.do("PATCH", "/v1/admin/events/"+s.event+"/promos/"+few, `{"per_buyer":null}`, asOperator).ok(200, nil)
	if got := reason("FEW"); got != "" {
		t.Errorf("without a limit per buyer: %q", got)
	}
	var changed checkout.PromoCode
	s.do("PATCH", "/v1/admin/events/"+s.event+"/promos/"+few, `{"max_uses":1}`, asOperator).ok(200, &changed)
	if changed.Used != 1 || *changed.MaxUses != 1 || changed.PerBuyer != nil {
		t.Errorf("changed to %+v", changed)
	}
	if got := reason("FEW"); got != "used_up" {
		t.Errorf("used up: %q", got)
	}
	query[int](s, `with p as (update promo_codes set max_uses = 5, used = 3 where id = $1 returning used) select used from p`, few)
	s.do("PATCH", "/v1/admin/events/"+s.event+"/promos/"+few, `{"max_uses":2}`, asOperator).refused(409, "conflict")
	if n := query[int](s, `select count(*) from audit_log where action = 'promo.update' and detail->'change'->>'max_uses' = '2'`); n != 0 {
		t.Errorf("what was refused is %d times in the audit log", n)
	}
	s.do("PATCH", "/v1/admin/events/"+s.event+"/promos/"+few, `{"max_uses":3}`, asOperator).ok(200, nil)
	s.do("PATCH", "/v1/admin/events/"+s.event+"/promos/"+few, `{"max_uses":null,"ends_at":"2030-01-01T00:00:00Z"}`, asOperator).ok(200, &changed)
	if changed.MaxUses != nil || changed.EndsAt == nil {
		t.Errorf("changed to %+v", changed)
	}
	s.do("PATCH", "/v1/admin/events/"+s.event+"/promos/"+few, `{"starts_at":"2031-01-01T00:00:00Z"}`, asOperator).refused(400, "invalid-request")
	s.do("PATCH", "/v1/admin/events/"+s.newEvent("Other", "draft")+"/promos/"+few, `{"note":"x"}`, asOperator).refused(404, "not-found")
}

// orderedWith orders a hold with a promo code.
func (s *stage) orderedWith(pass string, h hold, code string) reply {
	s.t.Helper()
	return s.post("/v1/orders", `{"hold":"`+h.Hold+`","promo":"`+code+`",`+someBuyer+`}`, bearing(pass), keyed("order "+h.Hold))
}

// The order has the price that was asked for before, to the last unit, and shows it
// at any time.
func TestOrdersHaveThePriceOfTheirHold(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	event := s.newEventWith("New York", `"currency": "USD", "fees": {"per_ticket": 450, "per_order": 350}, "tax": {"name": "sales tax", "percent": "8.875", "included": false}`)
	promo := s.newPromo(event, `{"code":"TENNER","amount":1000,"max_uses":2,"per_buyer":1}`)
	tickets := s.ticketsOn(event)
	buyer := s.admitted(event)
	held := s.held(event, buyer.Pass, tickets[0], tickets[1])
	price := func(r reply) string {
		t.Helper()
		var got struct {
			Order string
			Total catalog.Money
			Price json.RawMessage
		}
		r.ok(r.status, &got)
		var total struct{ Total catalog.Money }
		must(t, json.Unmarshal(got.Price, &total))
		if total.Total != got.Total {
			t.Errorf("the total is %+v, the price's %+v", got.Total, total.Total)
		}
		return string(got.Price)
	}
	asked := string(s.post("/v1/events/"+event+"/holds/"+held.Hold+"/price", `{"promo":"TENNER"}`, bearing(buyer.Pass)).ok(200, nil).body)
	var o order
	made := s.orderedWith(buyer.Pass, held, "tenner").ok(201, &o)
	if got := price(made); got != asked {
		t.Errorf("ordered for\n%s, asked for\n%s", got, asked)
	}
	// The code is used up for this buyer, but not for the order that has used it.
	if got := price(s.orderedWith(buyer.Pass, held, "tenner").ok(201, nil)); got != asked {
		t.Errorf("asked again, the order is for %s", got)
	}
	if got := price(s.get("/v1/orders/"+o.Order, bearing(o.Token)).ok(200, nil)); got != asked {
		t.Errorf("the order is for %s", got)
	}
	s.orderedWith(buyer.Pass, s.held(event, buyer.Pass, tickets[4]), "TENNER").refused(409, "promo-invalid")

	// What is given up may be used again.
	used := func() int { return query[int](s, `select used from promo_codes where id = $1`, promo) }
	if n := used(); n != 1 {
		t.Errorf("used %d times by one order", n)
	}
	s.post("/v1/orders/"+o.Order+"/cancel", "", bearing(o.Token)).ok(200, nil)
	if n := used(); n != 0 {
		t.Errorf("used %d times after the order was cancelled", n)
	}
	again := s.held(event, buyer.Pass, tickets[6])
	paid := s.paid(s.orderedAs(s.orderedWith(buyer.Pass, again, "TENNER")), "tok_ok")
	done := eventually(t, "fulfilled", func() order { return s.orderNow(paid) }, func(o order) bool { return o.Status == "fulfilled" })
	// 10.00 off 45.00: 39.50 · 8.875 % = 3.505625, and 3.81 for the order.
	if want := int64(3950 + 351 + 381); done.Total.Amount != want ||
		query[int64](s, `select amount from payments where order_id = $1 and status = 'captured'`, done.Order) != want {
		t.Errorf("paid %+v, want %d", done.Total, want)
	}
}

// After an exchange the price is that of the tickets the buyer has now: what was paid,
// less what was given back.
func TestPriceOfAnExchangedOrder(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	event := s.newEventWith("With terms", `"currency": "EUR", "fees": {"per_ticket": 150, "per_order": 200},
	  "tax": {"name": "VAT", "percent": 7}, "cancellation": {"until_hours": 1}`)
	tickets := s.ticketsOn(event)
	buyer := s.admitted(event)
	made := s.paid(s.ordered(buyer.Pass, s.held(event, buyer.Pass, tickets[0], tickets[1])), "tok_ok")
	eventually(t, "fulfilled", func() order { return s.orderNow(made) }, func(o order) bool { return o.Status == "fulfilled" })
	other := s.held(event, buyer.Pass, tickets[20])
	var now struct {
		Total, Refunded catalog.Money
		Price           price
	}
	s.post("/v1/orders/"+made.Order+"/exchange", `{"tickets":["`+tickets[0]+`"],"hold":"`+other.Hold+`"}`, bearing(made.Token)).ok(200, &now)
	// 45.00 and 25.00, fees of 1.50 and 2.00: 46.50 contain 3.04, 26.50 1.73, 2.00 0.13.
	if p := now.Price; len(p.Items) != 2 || p.Subtotal.Amount != 7000 || p.Total.Amount != 7500 || p.Tax.Amount.Amount != 304+173+13 {
		t.Errorf("after the exchange the price is %+v", p)
	}
	if now.Total.Amount != 9500 || now.Refunded.Amount != 2000 {
		t.Errorf("of %+v %+v went back", now.Total, now.Refunded)
	}
}

func (s *stage) orderedAs(r reply) order {
	s.t.Helper()
	var o order
	r.ok(201, &o)
	return o
}

// However many come at once, a code is used as often as it may be.
func TestPromoLimitsHoldInACrowd(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	const most, crowd = 3, 12
	promo := s.newPromo(s.event, fmt.Sprintf(`{"code":"FEW","percent":50,"max_uses":%d}`, most))
	holds := make([]hold, crowd)
	buyers := make([]me, crowd)
	for i := range crowd {
		buyers[i] = s.admitted(s.event)
		holds[i] = s.held(s.event, buyers[i].Pass, s.tickets[40+i])
	}
	replies := make([]reply, crowd)
	errs := make([]error, crowd)
	var all sync.WaitGroup
	for i := range crowd {
		all.Go(func() {
			replies[i], errs[i] = s.send("POST", "/v1/orders", `{"hold":"`+holds[i].Hold+`","promo":"FEW",`+someBuyer+`}`, bearing(buyers[i].Pass), keyed("once"))
		})
	}
	all.Wait()
	made := 0
	for i, r := range replies {
		must(t, errs[i])
		if r.status == 201 {
			made++
			continue
		}
		r.refused(409, "promo-invalid")
		// Without the code the hold is still good.
		s.post("/v1/orders", `{"hold":"`+holds[i].Hold+`",`+someBuyer+`}`, bearing(buyers[i].Pass), keyed("without")).ok(201, nil)
	}
	if n := query[int](s, `select used from promo_codes where id = $1`, promo); made != most || n != most {
		t.Errorf("%d orders had the code, %d uses were counted; the limit is %d", made, n, most)
	}
}

func TestGuessingPromoCodesIsBounded(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	s.newPromo(s.event, `{"code":"SPRING","percent":10}`)
	buyer, rival := s.admitted(s.event), s.admitted(s.event)
	of := func(who me, ticket int) func(code string) reply {
		path := "/v1/events/" + s.event + "/holds/" + s.held(s.event, who.Pass, s.tickets[ticket]).Hold + "/price"
		return func(code string) reply { return s.post(path, `{"promo":"`+code+`"}`, bearing(who.Pass)) }
	}
	mine, theirs := of(buyer, 0), of(rival, 2)
	for n := range 20 {
		mine("SPRING").ok(200, nil) // codes that exist are no guesses
		mine(fmt.Sprintf("GUESS-%d", n)).refused(409, "promo-invalid")
	}
	late := mine("SPRING")
	late.refused(429, "too-many-requests")
	if late.header.Get("Retry-After") == "" {
		t.Error("it is not said when to come back")
	}
	mine("").ok(200, nil)
	theirs("SPRING").ok(200, nil)
}

func TestRandomPromoCodesOverHTTP(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	var made struct{ Promos []checkout.PromoCode }
	s.post("/v1/admin/events/"+s.event+"/promos", `{"quantity":10000,"prefix":"fan-","percent":"12.5","note":"Fan club"}`, asOperator).ok(201, &made)
	codes := make(map[string]bool)
	for _, p := range made.Promos {
		if !strings.HasPrefix(p.Code, "FAN-") || len(p.Code) != 16 || *p.MaxUses != 1 || p.Used != 0 || !p.Active || p.Percent.String() != "12.5" || p.Note != "Fan club" {
			t.Fatalf("made %+v", p)
		}
		codes[p.Code] = true
	}
	if len(codes) != 10_000 {
		t.Fatalf("%d codes were made", len(codes))
	}
	first := s.newPromo(s.event, `{"code":"FIRST","amount":500,"per_buyer":2}`)
	s.post("/v1/admin/events/"+s.event+"/promos", `{"code":"first","amount":100}`, asOperator).refused(409, "conflict")

	// The list goes from the latest to the earliest and has each once.
	listed, pages := make(map[string]bool), 0
	for cursor := ""; ; pages++ {
		var page struct {
			Promos []checkout.PromoCode
			Next   *string `json:"next_cursor"`
		}
		s.get("/v1/admin/events/"+s.event+"/promos?limit=1000"+cursor, asOperator).ok(200, &page)
		if pages == 0 && page.Promos[0].ID != first {
			t.Errorf("the latest is %+v", page.Promos[0])
		}
		for _, p := range page.Promos {
			if listed[p.Code] {
				t.Fatalf("%s is listed twice", p.Code)
			}
			listed[p.Code] = true
		}
		if page.Next == nil {
			break
		}
		cursor = "&cursor=" + *page.Next
	}
	if len(listed) != 10_001 || pages != 10 {
		t.Errorf("%d codes are listed, after %d whole pages", len(listed), pages)
	}
	var one struct{ Promos []checkout.PromoCode }
	s.get("/v1/admin/events/"+s.event+"/promos?code=first", asOperator).ok(200, &one)
	if len(one.Promos) != 1 || *one.Promos[0].Amount != (catalog.Money{Amount: 500, Currency: "EUR"}) || *one.Promos[0].PerBuyer != 2 {
		t.Errorf("FIRST is %+v", one.Promos)
	}
	var audit struct {
		Entries []struct{ Action, Subject string }
	}
	s.get("/v1/admin/audit?limit=10", asOperator).ok(200, &audit)
	n := 0
	for _, e := range audit.Entries {
		if e.Action == "promo.create" && e.Subject == s.event {
			n++
		}
	}
	if n != 2 { // the refused one is not among them
		t.Errorf("the audit log has %d entries, of %v", n, slices.Clone(audit.Entries))
	}
}
