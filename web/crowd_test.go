package web_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// TestFiveHundredBuyersOneSeat lets 500 visitors through the room, who then all
// want the same seat at the same moment: one buys it, and the others are told
// clearly that it is taken.
func TestFiveHundredBuyersOneSeat(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	const buyers = 500
	seat := s.tickets[3]
	room, shop := "/v1/rooms/"+s.event, "/v1/events/"+s.event

	// ask sends a request that may be answered with one of two statuses.
	ask := func(into any, method, path, body string, yes, no int, with ...func(*http.Request)) int {
		r, err := s.send(method, path, body, with...)
		switch {
		case err != nil:
			t.Errorf("%s %s: %v", method, path, err)
		case r.status == yes && into != nil:
			if err := json.Unmarshal(r.body, into); err != nil {
				t.Errorf("%s %s: %v", method, path, err)
			}
		case r.status == no:
			if p := r.problem(); p.code() != "tickets-taken" || !slices.Equal(p.Taken, []string{seat}) || p.Detail == "" {
				t.Errorf("%s %s: not a clear refusal: %s", method, path, r.body)
			}
		case r.status != yes:
			t.Errorf("%s %s: %d %s", method, path, r.status, r.body)
		}
		return r.status
	}
	var ready, gone sync.WaitGroup
	start := make(chan struct{})
	var sold, refused atomic.Int32
	admitting := make(chan struct{}, 50) // joins and claims under way at once
	ready.Add(buyers)
	for range buyers {
		gone.Go(func() {
			admitting <- struct{}{}
			var m, claimed me
			ask(&m, "POST", room+"/join", "{}", 200, 0)
			mine := bearing(m.VisitorToken)
			for range 100 { // the burst covers all: a tick or two at most
				if m.State != "waiting" {
					break
				}
				ask(&m, "GET", room+"/me", "", 200, 0, mine)
			}
			ask(&claimed, "POST", room+"/claim", "", 200, 0, mine)
			<-admitting
			ready.Done()
			<-start

			pass := bearing(claimed.Pass)
			var h hold
			if ask(&h, "POST", shop+"/holds", `{"tickets":["`+seat+`"]}`, 201, 409, pass) != 201 {
				refused.Add(1)
				return
			}
			var o order
			ask(&o, "POST", "/v1/orders", `{"hold":"`+h.Hold+`",`+someBuyer+`}`, 201, 0, pass, keyed("order"))
			ask(&o, "POST", "/v1/orders/"+o.Order+"/pay", `{"method":"tok_ok"}`, 200, 0, pass, keyed("pay"))
			if o.Status == "paid" || o.Status == "fulfilled" {
				sold.Add(1)
			}
		})
	}
	ready.Wait()
	close(start)
	gone.Wait()
	if sold.Load() != 1 || refused.Load() != buyers-1 {
		t.Errorf("%d sales and %d refusals, want 1 and %d", sold.Load(), refused.Load(), buyers-1)
	}
	for what, count := range map[string]int{
		"tickets sold": query[int](s, `select count(*) from tickets where status = 'purchased' and event_id = $1`, s.event),
		"items sold":   query[int](s, `select count(*) from order_items where sold and ticket_id = $1`, seat),
		"orders":       query[int](s, `select count(*) from orders where event_id = $1`, s.event),
		"payments":     query[int](s, `select count(*) from sandbox_payments where status in ('authorised', 'captured')`),
	} {
		if count != 1 {
			t.Errorf("%d %s, want 1", count, what)
		}
	}
}
