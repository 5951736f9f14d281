package bench

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Check is something that must hold after a journey, and whether it does.
type Check struct {
	Name   string `json:"name"`
	Broken string `json:"broken,omitempty"` // how it is broken; "" when it holds
	Detail string `json:"detail,omitempty"` // what was looked at
}

// holds makes a check of what was found to be wrong, if anything.
func holds(name, detail string, broken ...string) Check {
	return Check{Name: name, Detail: detail, Broken: strings.Join(broken, "; ")}
}

// admission is that some visitors were let in at a moment on the room's clock.
type admission struct {
	at    time.Time
	count int
}

// checkRate holds admissions against the throttle: from any of them to any
// later one, at most burst + rate · time were let in. The room counts whole
// milliseconds, so nothing is rounded in its favour.
func checkRate(name string, admissions []admission, t Throttle) Check {
	const minute = int64(time.Minute / time.Millisecond)
	sorted := slices.SortedStableFunc(slices.Values(admissions), func(a, b admission) int { return a.at.Compare(b.at) })
	// Over a window from admission i to admission j, with counts up to and
	// including each in n: n[j] - n[i-1] ≤ burst + rate·(t[j]-t[i])/minute. Only the
	// i with the largest rate·t[i] - minute·n[i-1] so far has to be looked at.
	var n, worst int64
	var best struct {
		credit int64
		at     time.Time
		before int64
	}
	var over string
	for k, a := range sorted {
		at := a.at.UnixMilli() - sorted[0].at.UnixMilli()
		if credit := int64(t.RatePerMinute)*at - minute*n; k == 0 || credit > best.credit {
			best.credit, best.at, best.before = credit, a.at, n
		}
		n += int64(a.count)
		excess := minute*n - int64(t.RatePerMinute)*at + best.credit - minute*int64(t.Burst)
		if excess > worst {
			worst = excess
			over = fmt.Sprintf("%d admitted within %v, where a burst of %d and %d a minute allow %d",
				n-best.before, a.at.Sub(best.at), t.Burst, t.RatePerMinute,
				int64(t.Burst)+int64(t.RatePerMinute)*a.at.Sub(best.at).Milliseconds()/minute)
		}
	}
	c := Check{Name: name, Broken: over, Detail: fmt.Sprintf("%s admissions, %d a minute, burst %d", thousands(float64(n)), t.RatePerMinute, t.Burst)}
	return c
}

// checkLog wants the log to have every admission that a visitor saw.
func checkLog(log []admission, seen int) Check {
	c := Check{Name: "database: every admission is in the log", Detail: fmt.Sprintf("%d logged, %d seen", total(log), seen)}
	if n := total(log); n < seen {
		c.Broken = fmt.Sprintf("visitors saw %d admissions, the log has %d", seen, n)
	}
	return c
}

func total(admissions []admission) int {
	n := 0
	for _, a := range admissions {
		n += a.count
	}
	return n
}

// span is a time in which a visitor surely had a slot in the shop: from when
// they knew it to when they began to give it up.
type span struct{ from, to time.Time }

// checkSlots holds the number of shoppers at the same time against the cap.
func checkSlots(spans []span, most int) Check {
	type change struct {
		at time.Time
		by int
	}
	changes := make([]change, 0, 2*len(spans))
	for _, s := range spans {
		if s.to.After(s.from) {
			changes = append(changes, change{s.from, 1}, change{s.to, -1})
		}
	}
	// Who leaves makes room for who comes at the same instant.
	slices.SortFunc(changes, func(a, b change) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.by, b.by)) })
	now, peak := 0, 0
	for _, c := range changes {
		now += c.by
		peak = max(peak, now)
	}
	c := Check{Name: "never more shoppers than the throttle allows", Detail: fmt.Sprintf("at most %d seen, %d allowed", peak, most)}
	if peak > most {
		c.Broken = fmt.Sprintf("%d shoppers at once, where %d are allowed", peak, most)
	}
	return c
}

// purchase is an order that a visitor was told is paid.
type purchase struct {
	order   string
	visitor string
	tickets []string
}

// sale is an order as operators see it.
type sale struct {
	ID      string `json:"order"`
	Visitor string `json:"visitor"`
	Status  string `json:"status"`
	Items   []struct {
		Ticket string `json:"ticket"`
	} `json:"items"`
}

// sold tells whether the order's tickets belong to its buyer.
func (s *sale) sold() bool { return s.Status == "paid" || s.Status == "fulfilled" }

// checkSales holds what visitors were told against the operators' list of
// orders and the stock. In an event of the bench's own nobody else buys.
func checkSales(told []purchase, sales []sale, stock Stock, own bool) []Check {
	items, paid := 0, 0
	holder := make(map[string]string) // ticket -> order
	orders := make(map[string]*sale)
	var twice, open, unkept, unknown []string
	for i := range sales {
		s := &sales[i]
		orders[s.ID] = s
		switch s.Status {
		case "paid":
			open = append(open, fmt.Sprintf("order %s is paid but has no tickets yet", s.ID))
		case "payment_unknown":
			open = append(open, fmt.Sprintf("the payment of order %s is still unknown", s.ID))
		}
		if !s.sold() {
			continue
		}
		paid++
		items += len(s.Items)
		for _, item := range s.Items {
			if first, ok := holder[item.Ticket]; ok {
				twice = append(twice, fmt.Sprintf("ticket %s is in orders %s and %s", item.Ticket, first, s.ID))
			}
			holder[item.Ticket] = s.ID
		}
	}
	buyers := make(map[string]string) // ticket -> visitor who was told it is theirs
	bought := make(map[string]bool)
	for _, p := range told {
		bought[p.order] = true
		for _, ticket := range p.tickets {
			if first, ok := buyers[ticket]; ok {
				twice = append(twice, fmt.Sprintf("ticket %s was sold to visitors %s and %s", ticket, first, p.visitor))
			}
			buyers[ticket] = p.visitor
		}
		s := orders[p.order]
		switch {
		case s == nil || !s.sold():
			unkept = append(unkept, fmt.Sprintf("visitor %s was told that order %s is paid, but it is not", p.visitor, p.order))
		case s.Visitor != p.visitor || len(s.Items) != len(p.tickets):
			unkept = append(unkept, fmt.Sprintf("order %s is not what visitor %s was told", p.order, p.visitor))
		}
	}
	if own {
		for id, s := range orders {
			if s.sold() && !bought[id] {
				unknown = append(unknown, fmt.Sprintf("order %s is paid, but no visitor was told so", id))
			}
		}
	}
	equal := ""
	if items != stock.Sold {
		equal = fmt.Sprintf("%d tickets are sold, but paid orders have %d", stock.Sold, items)
	} else if stock.Sold > stock.Total || stock.Available+stock.Held+stock.Sold > stock.Total {
		equal = fmt.Sprintf("%d sold, %d held and %d available are more than the %d there are", stock.Sold, stock.Held, stock.Available, stock.Total)
	}
	return []Check{
		holds("tickets sold are the items of paid orders", fmt.Sprintf("%d sold of %d, %d paid orders", stock.Sold, stock.Total, paid), some(equal)...),
		holds("no ticket sold twice", fmt.Sprintf("%d tickets", len(holder)), first(twice)...),
		holds("visitors own what they were told", fmt.Sprintf("%d purchases", len(told)), first(append(unkept, unknown...))...),
		holds("every order came to its end", fmt.Sprintf("%d orders", len(sales)), first(open)...),
	}
}

// some is its argument as a list, empty for "".
func some(text string) []string {
	if text == "" {
		return nil
	}
	return []string{text}
}

// first shortens a list of complaints.
func first(all []string) []string {
	const most = 3
	if len(all) <= most {
		return all
	}
	return append(slices.Clone(all[:most]), fmt.Sprintf("and %d more", len(all)-most))
}

// books are the numbers of an event as its database has them.
type books struct {
	tickets       int64 // of the event
	purchased     int64 // tickets with that status
	soldItems     int64 // items marked sold
	soldTickets   int64 // different tickets among them
	paidItems     int64 // items of orders that are paid or fulfilled
	strayTickets  int64 // purchased tickets whose order is not paid, or has no sold item for them
	orderAmount   int64 // total of paid and fulfilled orders, minor units
	paymentAmount int64 // authorised or captured for these, minor units
	keptMoney     int64 // payments captured or authorised of other orders
	admissions    []admission
}

// checkBooks holds the database against itself.
func checkBooks(b books, stock Stock) []Check {
	var unequal, twice, money []string
	if b.purchased != b.paidItems || b.purchased != b.soldItems {
		unequal = append(unequal, fmt.Sprintf("%d tickets are purchased, %d items sold, %d items in paid orders", b.purchased, b.soldItems, b.paidItems))
	}
	if b.purchased != int64(stock.Sold) {
		unequal = append(unequal, fmt.Sprintf("%d tickets are purchased, but %d are shown as sold", b.purchased, stock.Sold))
	}
	if b.strayTickets != 0 {
		unequal = append(unequal, fmt.Sprintf("%d purchased tickets belong to no paid order", b.strayTickets))
	}
	if b.soldItems != b.soldTickets {
		twice = append(twice, fmt.Sprintf("%d items are sold, but they are only %d tickets", b.soldItems, b.soldTickets))
	}
	if b.purchased > b.tickets {
		twice = append(twice, fmt.Sprintf("%d tickets are purchased of %d", b.purchased, b.tickets))
	}
	if b.orderAmount != b.paymentAmount {
		money = append(money, fmt.Sprintf("paid orders cost %d, but %d was taken for them", b.orderAmount, b.paymentAmount))
	}
	if b.keptMoney != 0 {
		money = append(money, fmt.Sprintf("%d payments are kept for orders without tickets", b.keptMoney))
	}
	return []Check{
		holds("database: tickets purchased are the items of paid orders", fmt.Sprintf("%d purchased", b.purchased), unequal...),
		holds("database: no ticket sold twice", fmt.Sprintf("%d sold items, %d tickets", b.soldItems, b.soldTickets), twice...),
		holds("database: money taken is the price of what was sold", fmt.Sprintf("%d minor units", b.orderAmount), money...),
	}
}

// checkAnswers wants no answer to be the program's own failure.
func checkAnswers(answers map[string]map[int]int) Check {
	total := 0
	var failed []string
	for _, step := range slices.Sorted(maps.Keys(answers)) {
		for _, status := range slices.Sorted(maps.Keys(answers[step])) {
			n := answers[step][status]
			total += n
			if status >= 500 {
				failed = append(failed, fmt.Sprintf("%s was answered %d %d times", step, status, n))
			}
		}
	}
	return holds("no answer is a 5xx", thousands(float64(total))+" answers", failed...)
}

// checkEnds wants every visitor to have come to an end that they were told.
func checkEnds(visitors int, ends map[End]int, failures []string) Check {
	known := 0
	for end, n := range ends {
		if end != Failed {
			known += n
		}
	}
	var broken []string
	if known != visitors {
		broken = append(broken, fmt.Sprintf("%d of %d visitors did not: %s", visitors-known, visitors, strings.Join(first(failures), "; ")))
	}
	return holds("every visitor came to a known end", fmt.Sprintf("%d visitors", visitors), broken...)
}
