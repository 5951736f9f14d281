package bench

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var start = time.Date(2027, 3, 1, 19, 0, 0, 0, time.UTC)

func admissions(pairs ...int) []admission {
	var all []admission
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, admission{start.Add(time.Duration(pairs[i]) * time.Millisecond), pairs[i+1]})
	}
	return all
}

func TestCheckRate(t *testing.T) {
	t.Parallel()
	throttle := Throttle{RatePerMinute: 60, Burst: 5}
	for name, test := range map[string]struct {
		admitted []admission
		broken   string
	}{
		"nobody":                     {nil, ""},
		"the burst":                  {admissions(0, 5), ""},
		"one more than the burst":    {admissions(0, 6), "6 admitted within 0s"},
		"one each second after it":   {admissions(0, 5, 1000, 1, 2000, 1, 3000, 1), ""},
		"one a millisecond early":    {admissions(0, 5, 1000, 1, 1999, 1), "7 admitted within 1.999s"},
		"in any order":               {admissions(1999, 1, 0, 5, 1000, 1), "7 admitted within 1.999s"},
		"a burst again after a rest": {admissions(0, 5, 5000, 5), ""},
		"too short a rest":           {admissions(0, 5, 4999, 5), "10 admitted within 4.999s"},
		"a window in the middle":     {admissions(0, 1, 60_000, 3, 60_000, 2, 60_500, 1, 120_000, 1), "6 admitted within 500ms"},
		"single ones at one moment":  {admissions(7, 1, 7, 1, 7, 1, 7, 1, 7, 1, 7, 1), "6 admitted within 0s"},
		"a slow day":                 {admissions(0, 2, 3_600_000, 5, 7_200_000, 5), ""},
	} {
		c := checkRate("rate", test.admitted, throttle)
		if (c.Broken == "") != (test.broken == "") || !strings.Contains(c.Broken, test.broken) {
			t.Errorf("%s: %q, want %q", name, c.Broken, test.broken)
		}
	}
}

// The clever way to look at every window finds what looking at every window finds.
func TestCheckRateLooksAtEveryWindow(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		throttle := Throttle{RatePerMinute: rapid.IntRange(1, 120_000).Draw(t, "rate"), Burst: rapid.IntRange(1, 10).Draw(t, "burst")}
		times := rapid.SliceOfN(rapid.IntRange(0, 3000), 0, 12).Draw(t, "times")
		var all []admission
		for _, ms := range times {
			all = append(all, admissions(ms, rapid.IntRange(1, 4).Draw(t, "count"))...)
		}
		broken := false
		for _, from := range times {
			for _, to := range times {
				n := 0
				for i, at := range times {
					if at >= from && at <= to {
						n += all[i].count
					}
				}
				broken = broken || n*60_000 > throttle.Burst*60_000+throttle.RatePerMinute*(to-from) && to >= from
			}
		}
		if c := checkRate("rate", all, throttle); (c.Broken != "") != broken {
			t.Fatalf("%v with %+v: %q, want broken %t", all, throttle, c.Broken, broken)
		}
	})
}

func TestCheckLog(t *testing.T) {
	t.Parallel()
	log := admissions(0, 3, 1000, 2)
	if c := checkLog(log, 5); c.Broken != "" || c.Detail != "5 logged, 5 seen" {
		t.Errorf("%+v", c)
	}
	if c := checkLog(log, 6); c.Broken != "visitors saw 6 admissions, the log has 5" {
		t.Errorf("%+v", c)
	}
}

func TestCheckSlots(t *testing.T) {
	t.Parallel()
	at := func(from, to int) span {
		return span{start.Add(time.Duration(from) * time.Second), start.Add(time.Duration(to) * time.Second)}
	}
	for name, test := range map[string]struct {
		spans  []span
		broken bool
	}{
		"nobody":                      {nil, false},
		"two at once":                 {[]span{at(0, 10), at(5, 15)}, false},
		"three at once":               {[]span{at(0, 10), at(5, 15), at(9, 20)}, true},
		"the third when one has left": {[]span{at(0, 10), at(5, 15), at(10, 20)}, false},
		"spans of no length":          {[]span{at(0, 10), at(0, 10), at(3, 3), at(5, 4)}, false},
	} {
		if c := checkSlots(test.spans, 2); (c.Broken != "") != test.broken {
			t.Errorf("%s: %q", name, c.Broken)
		}
	}
}

func saleOf(order, visitor, status string, tickets ...string) sale {
	var s sale
	items := make([]string, len(tickets))
	for i, ticket := range tickets {
		items[i] = fmt.Sprintf(`{"ticket": %q}`, ticket)
	}
	text := fmt.Sprintf(`{"order": %q, "visitor": %q, "status": %q, "items": [%s]}`, order, visitor, status, strings.Join(items, ","))
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		panic(err)
	}
	return s
}

// broken lists the checks that do not hold.
func broken(checks []Check) string {
	var all []string
	for _, c := range checks {
		if c.Broken != "" {
			all = append(all, c.Name+": "+c.Broken)
		}
	}
	return strings.Join(all, "\n")
}

func TestCheckSales(t *testing.T) {
	t.Parallel()
	told := func(more ...purchase) []purchase {
		return append([]purchase{{"o1", "v1", []string{"t1", "t2"}}, {"o2", "v2", []string{"t3"}}}, more...)
	}
	sales := func(more ...sale) []sale {
		return append([]sale{
			saleOf("o1", "v1", "fulfilled", "t1", "t2"), saleOf("o2", "v2", "fulfilled", "t3"), saleOf("o3", "v3", "declined", "t4"),
		}, more...)
	}
	sold := func(n int) Stock { return Stock{Total: 10, Available: 10 - n, Sold: n} }
	for name, test := range map[string]struct {
		told   []purchase
		sales  []sale
		stock  Stock
		own    bool
		broken string // the name of the check and its text; "" when all hold
	}{
		"as it should be":                      {told(), sales(), sold(3), true, ""},
		"somebody else's purchase":             {told(), sales(saleOf("o9", "v9", "fulfilled", "t9")), sold(4), false, ""},
		"which in an own event is wrong":       {told(), sales(saleOf("o9", "v9", "fulfilled", "t9")), sold(4), true, "visitors own what they were told: order o9"},
		"a ticket sold but not paid":           {told(), sales(), sold(4), true, "tickets sold are the items of paid orders: 4 tickets are sold, but paid orders have 3"},
		"a paid ticket that is not sold":       {told(), sales(), sold(2), true, "tickets sold are the items of paid orders: 2"},
		"more than there are":                  {told(), sales(), Stock{Total: 2, Sold: 3}, true, "tickets sold are the items of paid orders: 3 sold"},
		"a ticket in two orders":               {told(), sales(saleOf("o4", "v4", "paid", "t2")), sold(4), false, "no ticket sold twice: ticket t2 is in orders o1 and o4"},
		"a ticket promised to two visitors":    {told(purchase{"o4", "v4", []string{"t3"}}), sales(), sold(3), true, "no ticket sold twice: ticket t3 was sold to visitors v2 and v4"},
		"an order that was promised and lost":  {told(purchase{"o4", "v4", []string{"t5"}}), sales(), sold(3), true, "visitors own what they were told: visitor v4 was told"},
		"an order promised and not paid":       {told(purchase{"o3", "v3", []string{"t4"}}), sales(), sold(3), true, "visitors own what they were told: visitor v3 was told"},
		"an order of another visitor":          {[]purchase{{"o1", "v7", []string{"t1", "t2"}}, {"o2", "v2", []string{"t3"}}}, sales(), sold(3), true, "visitors own what they were told: order o1 is not"},
		"fewer tickets than promised":          {[]purchase{{"o1", "v1", []string{"t1"}}, {"o2", "v2", []string{"t3"}}}, sales(), sold(3), true, "visitors own what they were told: order o1 is not"},
		"an order that never gets its tickets": {told(purchase{"o4", "v4", []string{"t5"}}), sales(saleOf("o4", "v4", "paid", "t5")), sold(4), true, "every order came to its end: order o4"},
		"a payment nobody knows about":         {told(), sales(saleOf("o4", "v4", "payment_unknown", "t5")), sold(3), true, "every order came to its end: the payment of order o4"},
	} {
		got := broken(checkSales(test.told, test.sales, test.stock, test.own))
		if (got == "") != (test.broken == "") || !strings.Contains(got, test.broken) {
			t.Errorf("%s: %q, want %q", name, got, test.broken)
		}
	}
}

func TestCheckBooks(t *testing.T) {
	t.Parallel()
	well := books{tickets: 10, purchased: 3, soldItems: 3, soldTickets: 3, paidItems: 3, orderAmount: 9000, paymentAmount: 9000}
	if got := broken(checkBooks(well, Stock{Sold: 3})); got != "" {
		t.Errorf("good books: %s", got)
	}
	for name, spoil := range map[string]func(*books, *Stock){
		"tickets purchased are the items": func(b *books, _ *Stock) { b.purchased = 4 },
		"items of paid orders":            func(b *books, _ *Stock) { b.paidItems = 2 },
		"but 5 are shown as sold":         func(_ *books, s *Stock) { s.Sold = 5 },
		"belong to no paid order":         func(b *books, _ *Stock) { b.strayTickets = 1 },
		"no ticket sold twice":            func(b *books, _ *Stock) { b.soldTickets = 2 },
		"purchased of 2":                  func(b *books, _ *Stock) { b.tickets = 2 },
		"was taken for them":              func(b *books, _ *Stock) { b.paymentAmount = 6000 },
		"kept for orders without tickets": func(b *books, _ *Stock) { b.keptMoney = 1 },
	} {
		b, s := well, Stock{Sold: 3}
		spoil(&b, &s)
		if got := broken(checkBooks(b, s)); !strings.Contains(got, name) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestCheckAnswersAndEnds(t *testing.T) {
	t.Parallel()
	if c := checkAnswers(map[string]map[int]int{"join": {200: 9, 429: 3}, "hold": {409: 8}}); c.Broken != "" || c.Detail != "20 answers" {
		t.Errorf("%+v", c)
	}
	if c := checkAnswers(map[string]map[int]int{"join": {200: 9}, "pay": {200: 1, 503: 2}}); !strings.Contains(c.Broken, "pay was answered 503 2 times") {
		t.Errorf("%+v", c)
	}
	if c := checkEnds(3, map[End]int{Bought: 1, SoldOut: 2}, nil); c.Broken != "" {
		t.Errorf("%+v", c)
	}
	if c := checkEnds(3, map[End]int{Bought: 1, SoldOut: 1, Failed: 1}, []string{"visitor 2: lost"}); !strings.Contains(c.Broken, "1 of 3 visitors did not: visitor 2: lost") {
		t.Errorf("%+v", c)
	}
	if c := checkEnds(3, map[End]int{Bought: 1, SoldOut: 1}, nil); c.Broken == "" {
		t.Error("a visitor got lost, and nobody noticed")
	}
	if got := first([]string{"1", "2", "3", "4", "5"}); strings.Join(got, " ") != "1 2 3 and 2 more" {
		t.Error(got)
	}
}

func TestAReportTellsWhatIsBroken(t *testing.T) {
	t.Parallel()
	n := newNotes()
	n.took(stepJoin, 12*time.Millisecond)
	n.answer(stepJoin, 200)
	n.bought(purchase{"o1", "v1", []string{"t1", "t2"}})
	n.ended(Bought, nil, span{start, start.Add(time.Second)})
	w := &walk{notes: n, visitors: 1, began: time.Now().Add(-time.Second)}
	r := w.report("e1", time.Second)
	r.Checks = []Check{holds("good", "1 looked at"), holds("no ticket sold twice", "2 tickets", "t1 is sold twice")}
	if !r.Broken() || r.Tickets != 2 || r.Purchases != 1 || r.Requests != 1 || len(n.spans) != 1 {
		t.Errorf("%+v", r)
	}
	var out strings.Builder
	if err := r.Write(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1 purchases", "join", "200: 1", "holds   good", "BROKEN  no ticket sold twice", "t1 is sold twice"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report does not say %q:\n%s", want, out.String())
		}
	}
	if r.Checks = r.Checks[:1]; r.Broken() {
		t.Error("broken, though all holds")
	}
}

func TestJourneysStayOnThisMachine(t *testing.T) {
	t.Parallel()
	good := Journey{Visitors: 1, Seats: 1, Throttle: Throttle{RatePerMinute: 1, Burst: 1, MaxShoppers: 1}}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for _, address := range []string{"http://127.0.0.1:8080", "http://localhost:1", "http://[::1]:80", "http://127.0.0.9"} {
		j := good
		j.URL, j.AdminToken = address, "token"
		if err := j.Validate(); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
	for want, spoil := range map[string]func(*Journey){
		"not on this machine":     func(j *Journey) { j.URL, j.AdminToken = "http://tickets.example:8080", "t" },
		"loopback addresses only": func(j *Journey) { j.URL, j.AdminToken = "http://10.0.0.1", "t" },
		"plain HTTP":              func(j *Journey) { j.URL, j.AdminToken = "https://127.0.0.1", "t" },
		"not the address":         func(j *Journey) { j.URL, j.AdminToken = "127.0.0.1:8080", "t" },
		"admin token":             func(j *Journey) { j.URL = "http://127.0.0.1:8080" },
		"visitors must be":        func(j *Journey) { j.Visitors = 0 },
		"seats must be":           func(j *Journey) { j.Seats = -1 },
		"shoppers must be":        func(j *Journey) { j.Throttle.MaxShoppers = 0 },
		"ulimit -n":               func(j *Journey) { j.Visitors = 1 << 30 },
	} {
		j := good
		spoil(&j)
		if err := j.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
