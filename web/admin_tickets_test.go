package web_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"onsale/catalog"
)

var asTable = header("Content-Type", "text/csv")

type broughtIn struct {
	Orders, Tickets, Left int
	Notes                 []string
	DryRun                bool `json:"dry_run"`
}

func (s *stage) bringIn(event, table string) reply {
	s.t.Helper()
	return s.post("/v1/admin/events/"+event+"/tickets", table, asOperator, asTable)
}

// problemsIn lists the places of what is wrong.
func (r reply) problemsIn() (places []string) {
	r.t.Helper()
	var p struct{ Problems []catalog.Problem }
	r.ok(r.status, &p)
	for _, one := range p.Problems {
		places = append(places, one.Path)
	}
	return places
}

// statuses are those of the live map and of Postgres, which must agree.
func (s *stage) statuses(event string) string {
	s.t.Helper()
	v, err := s.inventory.Refresh(s.t.Context(), event)
	must(s.t, err)
	return string(v.Status)
}

// TestTicketsSoldElsewhere are sold here, too, once, and let their holders in.
func TestTicketsSoldElsewhere(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	table := "section;row;seat;quantity;name;email;reference\nStalls;A;1;;Ada;ada@box.example;\nStalls;A;2;;Ben;;box 7\nFloor;;;3;Club;club@box.example;club\n"
	path := "/v1/admin/events/" + s.event + "/tickets"
	var got broughtIn
	s.post(path+"?dry_run=true", table, asOperator, asTable).ok(200, &got)
	if got.Orders != 3 || got.Tickets != 5 || !got.DryRun || query[int](s, `select count(*) from orders`) != 0 || strings.Contains(s.statuses(s.event), "S") {
		t.Fatalf("dry run: %+v", got)
	}
	s.bringIn(s.event, table).ok(200, &got)
	if got.Orders != 3 || got.Tickets != 5 || got.Left != 0 || got.DryRun {
		t.Fatalf("%+v", got)
	}
	if now := s.statuses(s.event); now != "SS"+strings.Repeat("A", 55)+"SSS" {
		t.Errorf("the map shows %s", now)
	}
	// No money, no payment, no sale of ours, no limit of a buyer used up.
	if n := query[int](s, `select count(*) from payments`); n != 0 {
		t.Errorf("%d payments", n)
	}
	if n, err := s.shop.SalesSince(t.Context(), 3600e9); err != nil || n != 0 {
		t.Errorf("%d sales, %v", n, err)
	}
	order := query[string](s, `select id::text from orders where reference = 'club'`)
	var view struct {
		Status string
		Total  catalog.Money
		Items  []struct{ Section string }
	}
	s.get("/v1/admin/orders/"+order, asOperator).ok(200, &view)
	if view.Status != "fulfilled" || view.Total.Amount != 0 || len(view.Items) != 3 {
		t.Errorf("%+v", view)
	}
	if n := query[int](s, `select count(distinct code) from admissions where ended_at is null and event_id = $1`, s.event); n != 5 {
		t.Errorf("%d codes", n)
	}
	if n := query[int](s, `select count(*) from order_events where status = 'paid'`); n != 0 {
		t.Errorf("%d orders were paid", n)
	}

	// The same file again is a diff.
	again := strings.Replace(table, "Ben;", "Benedict;", 1) + "Stalls;A;3;;Cleo;;\n"
	s.bringIn(s.event, again).ok(200, &got)
	if got.Orders != 1 || got.Tickets != 1 || got.Left != 3 || len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "line 3") || !strings.Contains(got.Notes[0], "Ben") {
		t.Errorf("%+v", got)
	}
	if p := s.bringIn(s.event, strings.Replace(table, "Floor;;;3", "Floor;;;4", 1)); p.status != 400 || !slices.Equal(p.problemsIn(), []string{"line 4"}) {
		t.Errorf("another quantity: %d %s", p.status, p.body)
	}

	// Given back, it is for sale again.
	s.post("/v1/admin/orders/"+order+"/refund", `{"reason":"not fetched"}`, asOperator).ok(200, nil)
	if now := s.statuses(s.event); now != "SSS"+strings.Repeat("A", 57) {
		t.Errorf("the map shows %s", now)
	}
	if n := query[int](s, `select count(*) from refunds`); n != 0 {
		t.Errorf("%d refunds", n)
	}
	s.bringIn(s.event, table).ok(200, &got)
	if got.Left != 3 || len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "refunded") {
		t.Errorf("%+v", got)
	}
	// Cancelled, the event ends all of its orders.
	s.post("/v1/admin/events/"+s.event+"/cancel", `{}`, asOperator).ok(202, nil)
	eventually(t, "no order is left", func() int {
		return query[int](s, `select count(*) from orders where status = 'fulfilled'`)
	}, func(n int) bool { return n == 0 })
	s.bringIn(s.event, "section,row,seat,name\nStalls,B,1,Zoe\n").refused(409, "conflict")
}

// TestBrokenFilesOfTickets are refused whole, with all lines that are wrong.
func TestBrokenFilesOfTickets(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	buyer := s.admitted(s.event)
	s.paid(s.ordered(buyer.Pass, s.held(s.event, buyer.Pass, s.tickets[0])), "tok_ok") // A 1
	s.ordered(buyer.Pass, s.held(s.event, buyer.Pass, s.tickets[1]))                   // A 2
	s.held(s.event, buyer.Pass, s.tickets[2])                                          // A 3
	before := s.statuses(s.event)
	const columns = "section,row,seat,quantity,name,email,reference\n"
	for table, lines := range map[string][]string{
		"":                         {"line 1"},
		columns:                    {"line 1"},
		"section,row\nStalls,A\n":  {"line 1", "line 1"},
		"section,name,price\nx,y,": {"line 1", "line 1"},
		columns + "Stalls,A,1,,Ada,,\nStalls,A,2,,Ada,,\nStalls,A,4,,Ada,,\n":                               {"line 2", "line 3"},
		columns + "Stalls,A,4,,Ada,,\nStalls,A,3,,Ada,,\n":                                                  {"line 3"}, // on hold
		columns + "Stalls,A,4,,Ada,,\nStalls,A,4,,Ben,,other\nStalls,A,5,,Ben,,Stalls/A/4\n":                {"line 3", "line 4"},
		columns + "Stalls,A,4,,,,\nStalls,A,5,,Ada,nobody,\nPit,A,6,,Ada,,\nStalls,Z,6,,Ada,,\n":            {"line 2", "line 3"},
		columns + "Pit,A,6,,Ada,,\nStalls,Z,6,,Ada,,\nStalls,,,1,Ada,,r\n":                                  {"line 2", "line 3", "line 4"},
		columns + "Floor,,,21,Ada,,a\nFloor,,,19,Ada,,b\nFloor,,,2,Ada,,c\n":                                {"line 2", "line 4"},
		columns + "Floor,,,0,Ada,,a\nFloor,,,x,Ada,,b\nFloor,,,2,Ada,,\nFloor,A,1,2,Ada,,d\nFloor,,,,A,,\n": {"line 2", "line 3", "line 4", "line 5", "line 6"},
		columns + "Stalls,A,4\n\"Stalls,A":                                                                  {"line 2", "line 3"},
		columns + "Stalls,A,4,,Ada,," + strings.Repeat("r", 101) + "\n":                                     {"line 2"},
	} {
		got := s.bringIn(s.event, table)
		got.refused(400, "invalid-request")
		if places := got.problemsIn(); !slices.Equal(places, lines) {
			t.Errorf("%q: problems in %v, want %v: %s", table, places, lines, got.body)
		}
	}
	s.bringIn(s.event, "\xff").refused(400, "invalid-request")
	s.post("/v1/admin/events/"+s.event+"/tickets", "{}", asOperator).refused(400, "invalid-request")
	s.bringIn(s.event, strings.Repeat(" ", 33<<20)).refused(413, "too-large")
	s.bringIn(uuid.NewString(), columns).refused(404, "not-found")
	if now := s.statuses(s.event); now != before {
		t.Errorf("the map was %s and is %s", before, now)
	}
	if n := query[int](s, `select count(*) from orders where reference is not null`); n != 0 {
		t.Errorf("%d orders were made", n)
	}
	// What is kept for a channel may be brought in, and comes back to it.
	channel, _ := s.newChannel("House", 1)
	s.post("/v1/admin/events/"+s.event+"/channels/"+channel+"/allot", `{"ordinals":[8,9]}`, asOperator).ok(200, nil)
	if got := s.bringIn(s.event, columns+"Stalls,A,9,,Ada,,\nStalls,A,3,,Ada,,\n"); got.status != 400 { // A 3 is on hold
		t.Errorf("%d %s", got.status, got.body)
	}
	if now := s.statuses(s.event); now[8:10] != "XX" {
		t.Errorf("the map shows %s", now)
	}
	s.bringIn(s.event, columns+"Stalls,A,9,,Ada,,\n").ok(200, nil)
	s.post("/v1/admin/orders/"+query[string](s, `select id::text from orders where reference = 'Stalls/A/9'`)+"/refund", `{}`, asOperator).ok(200, nil)
	if now := s.statuses(s.event); now[8:10] != "XX" {
		t.Errorf("given back, the map shows %s", now)
	}
}

// TestImportsRaceBuyers for the same seats and places, and nobody gets what somebody else
// has: who holds a seat can buy it, and what was brought in is the import's.
func TestImportsRaceBuyers(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	const rounds = 8
	for round := range rounds {
		event := s.newEvent(fmt.Sprintf("Race %d", round), "on_sale")
		var tickets []string
		for o := range 40 {
			tickets = append(tickets, query[string](s, `select id::text from tickets where event_id = $1 and ordinal = $2`, event, o))
		}
		var buyers []me
		for range 6 {
			buyers = append(buyers, s.admitted(event))
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		var held []string // holds that were given
		start := make(chan struct{})
		for n, b := range buyers {
			wg.Go(func() {
				<-start
				// Two seats of the first row, of which the imports have three each, and a place to stand.
				body := fmt.Sprintf(`{"tickets":[%q,%q]}`, tickets[n], tickets[n+3])
				if n%2 == 1 {
					body = `{"areas":[{"section":"Floor","quantity":4}]}`
				}
				got, err := s.send(http.MethodPost, "/v1/events/"+event+"/holds", body, bearing(b.Pass))
				if err != nil {
					t.Error(err)
					return
				}
				if got.status != 201 {
					return
				}
				var h hold
				got.ok(201, &h)
				made, err := s.send(http.MethodPost, "/v1/orders", `{"hold":"`+h.Hold+`",`+someBuyer+`}`, bearing(b.Pass), keyed(uuid.NewString()))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				held = append(held, h.Hold)
				if made.status != 201 {
					t.Errorf("who held the tickets did not get them: %d %s", made.status, made.body)
				}
			})
		}
		done := 0
		for n := range 4 {
			wg.Go(func() {
				<-start
				table := "section,row,seat,quantity,name,reference\n"
				for seat := n + 1; seat <= n+3; seat++ {
					table += fmt.Sprintf("Stalls,A,%d,,Box,%d-%d\n", seat, n, seat)
				}
				table += fmt.Sprintf("Floor,,,3,Club,club %d\n", n)
				got, err := s.send(http.MethodPost, "/v1/admin/events/"+event+"/tickets", table, asOperator, asTable)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				if got.status == 200 {
					done++
				} else if got.status != 400 || len(got.problemsIn()) == 0 {
					t.Errorf("an import: %d %s", got.status, got.body)
				}
			})
		}
		close(start)
		wg.Wait()
		// Each ticket is in one live order at most, and the two stores agree about all of them.
		if n := query[int](s, `
			select count(*) from (select ticket_id from order_items i join orders o on o.id = i.order_id
			where o.event_id = $1 and o.status in ('awaiting_payment', 'fulfilled') group by ticket_id having count(*) > 1) twice`, event); n != 0 {
			t.Errorf("%d tickets are in two orders", n)
		}
		truth := query[string](s, `
			select string_agg(case status when 'purchased' then 'S' when 'reserved' then 'H' else 'A' end, '' order by ordinal) from tickets where event_id = $1`, event)
		if now := s.statuses(event); now != truth {
			t.Errorf("the map shows\n%s, Postgres has\n%s", now, truth)
		}
		if sold := strings.Count(truth, "S"); sold != 6*done {
			t.Errorf("%d imports sold %d tickets", done, sold)
		}
		t.Logf("round %d: %d of 4 imports and %d of 6 buyers got tickets", round, done, len(held))
	}
}
