package web_test

import (
	"fmt"
	"slices"
	"testing"

	"onsale/lua"
)

// heldOrdinals lists what a hold has.
func heldOrdinals(h hold) []int {
	var list []int
	for _, t := range h.Tickets {
		list = append(list, t.Ordinal)
	}
	return list
}

func TestChangeHoldOverHTTP(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	buyer, rival := s.admitted(s.event), s.admitted(s.event)
	h := s.held(s.event, buyer.Pass, s.tickets[0], s.tickets[1])
	s.held(s.event, rival.Pass, s.tickets[2])
	path := "/v1/events/" + s.event + "/holds/" + h.Hold
	for range 2 {
		var now hold
		s.do("PATCH", path, `{"add":["`+s.tickets[3]+`"],"drop_ordinals":[0]}`, bearing(buyer.Pass)).ok(200, &now)
		if !slices.Equal(heldOrdinals(now), []int{1, 3}) || now.Hold != h.Hold {
			t.Errorf("the hold has %v", heldOrdinals(now))
		}
	}
	s.do("PATCH", path, `{"add_ordinals":[4,2]}`, bearing(buyer.Pass)).refused(409, "tickets-taken")
	s.do("PATCH", path, `{"add_ordinals":[4]}`, bearing(rival.Pass)).refused(403, "forbidden")
	var still hold
	s.get(path, bearing(buyer.Pass)).ok(200, &still)
	if !slices.Equal(heldOrdinals(still), []int{1, 3}) {
		t.Errorf("after the refusals the hold has %v", heldOrdinals(still))
	}
}

// TestTakenTicketsHaveAlternatives: the nearest free ones next to each other, of
// the same tier.
func TestTakenTicketsHaveAlternatives(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	buyer, rival := s.admitted(s.event), s.admitted(s.event)
	s.held(s.event, rival.Pass, s.tickets[4], s.tickets[5])
	var refused struct {
		Ordinals     []int `json:"taken_ordinals"`
		Alternatives []struct{ Ordinals []int }
		Together     []struct{ Ordinals []int } `json:"alternatives_together"`
	}
	s.post("/v1/events/"+s.event+"/holds", `{"ordinals":[3,4,5]}`, bearing(buyer.Pass)).ok(409, &refused)
	if !slices.Equal(refused.Ordinals, []int{4, 5}) || fmt.Sprint(refused.Alternatives) != "[{[6 7]} {[1 2]} {[8 9]}]" {
		t.Errorf("taken are %v, instead of them %v", refused.Ordinals, refused.Alternatives)
	}
	if fmt.Sprint(refused.Together) != "[{[1 2 3]} {[6 7 8]} {[10 11 12]}]" {
		t.Errorf("instead of all three: %v", refused.Together)
	}
	s.post("/v1/events/"+s.event+"/holds", fmt.Sprintf(`{"ordinals":%s}`, "[6,7]"), bearing(buyer.Pass)).ok(201, nil)
}

func TestSingleSeatsOverHTTP(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	buyer := s.admitted(s.event)
	s.do("PATCH", "/v1/admin/events/"+s.event, `{"single_seats":"refuse"}`, asOperator).ok(200, nil)
	ask := func() reply { return s.post("/v1/events/"+s.event+"/holds", `{"ordinals":[1,2]}`, bearing(buyer.Pass)) }
	var refused struct {
		Singles []int `json:"singles_ordinals"`
		Detail  string
	}
	ask().refused(409, "single-seats")
	ask().ok(409, &refused)
	if !slices.Equal(refused.Singles, []int{0}) || refused.Detail != "seat 1 in row A would be left alone between taken seats; please move up or down the row by one seat" {
		t.Errorf("refused with %+v", refused)
	}
	s.do("PATCH", "/v1/admin/events/"+s.event, `{"single_seats":"allow"}`, asOperator).ok(200, nil)
	ask().ok(201, nil)
}

func TestMixedHoldOverHTTP(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	buyer := s.admitted(s.event)
	var h hold
	s.post("/v1/events/"+s.event+"/holds", `{"ordinals":[12],"areas":[{"section":"Floor","quantity":2}]}`, bearing(buyer.Pass)).ok(201, &h)
	if len(h.Tickets) != 3 || h.Tickets[0].Ordinal != 12 || h.Tickets[1].Section != "Floor" {
		t.Errorf("held %+v", h.Tickets)
	}
	s.post("/v1/events/"+s.event+"/holds", `{"areas":[{"section":"Floor","quantity":2}]}`, bearing(buyer.Pass)).refused(409, "limit-reached")
}

// TestChannelsOverHTTP keeps tickets for a fan club: nobody else gets them, whoever
// has a code does, and the rest is released while the sale goes on.
func TestChannelsOverHTTP(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	channel, code := s.newChannel("Fan club", 1)
	admin := "/v1/admin/events/" + s.event + "/channels/" + channel
	anybody, fan := s.admitted(s.event), s.admitted(s.event)
	s.held(s.event, anybody.Pass, s.tickets[3])
	var kept struct {
		Done    int
		Skipped []int
	}
	s.post(admin+"/allot", `{"section":"Stalls","row":"A"}`, asOperator).ok(200, &kept)
	if kept.Done != 9 || !slices.Equal(kept.Skipped, []int{3}) {
		t.Errorf("kept %+v; somebody holds ticket 3", kept)
	}
	s.post(admin+"/allot", `{"section":"Floor","quantity":5}`, asOperator).ok(200, &kept)

	holds := "/v1/events/" + s.event + "/holds"
	s.post(holds, `{"ordinals":[0]}`, bearing(anybody.Pass)).refused(409, "tickets-taken")
	s.post("/v1/events/"+s.event+"/channels", `{"code":"`+code+`"}`, bearing(fan.VisitorToken)).ok(200, nil)
	s.post("/v1/events/"+s.event+"/channels", `{"code":"`+code+`"}`, bearing(anybody.VisitorToken)).refused(403, "invite-invalid")
	var mine struct {
		Channels []struct {
			Name   string
			Ranges [][2]int
		}
	}
	s.get("/v1/events/"+s.event+"/channels", bearing(fan.Pass)).ok(200, &mine)
	if fmt.Sprint(mine.Channels) != "[{Fan club [[0 2] [4 9] [55 59]]}]" {
		t.Errorf("the fan's channels are %v", mine.Channels)
	}
	var h hold
	s.post(holds, `{"best_available":{"quantity":2,"channel":"Fan club"}}`, bearing(fan.Pass)).ok(201, &h)
	if !slices.Equal(heldOrdinals(h), []int{4, 5}) { // 0 and 1 would leave 2 alone
		t.Errorf("the fan holds %v, want 4 and 5", heldOrdinals(h))
	}
	o := s.paid(s.ordered(fan.Pass, h), "tok_ok")
	if o.Status != "paid" && o.Status != "fulfilled" {
		t.Errorf("the fan's order is %s", o.Status)
	}

	// The database decides, too: what Redis let through for somebody else is refused.
	must(t, s.rdb.HSet(t.Context(), lua.AccessKey(s.event), anybody.Visitor, string(lua.ChannelByte(1))).Err())
	stolen := s.held(s.event, anybody.Pass, s.tickets[7])
	s.post("/v1/orders", `{"hold":"`+stolen.Hold+`",`+someBuyer+`}`, bearing(anybody.Pass), keyed("stolen")).refused(409, "tickets-taken")

	s.post(admin+"/release", `{"all":true}`, asOperator).ok(200, &kept)
	s.post(holds, `{"ordinals":[9]}`, bearing(anybody.Pass)).ok(201, nil)
	var e struct {
		Tickets struct{ Total, Available, Held, Sold, Blocked int }
	}
	eventually(t, "no ticket is kept any more", func() int {
		s.get("/v1/events/"+s.event).ok(200, &e)
		return e.Tickets.Blocked
	}, func(n int) bool { return n == 0 })
	if n := e.Tickets; n.Available+n.Held+n.Sold != n.Total || n.Sold != 2 {
		t.Errorf("the event has %+v", n)
	}
	var list struct {
		Channels []struct {
			Name                              string
			Available, Sold, Invites, Members int
		}
	}
	s.get("/v1/admin/events/"+s.event+"/channels", asOperator).ok(200, &list)
	if fmt.Sprint(list.Channels) != "[{Fan club 0 0 1 1}]" {
		t.Errorf("the channels are %v", list.Channels)
	}
}

// TestKeptTicketsAreNoReasonToClose: a presale whose tickets are all in a channel is
// not sold out.
func TestKeptTicketsAreNoReasonToClose(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	channel, _ := s.newChannel("Fan club", 100)
	s.post("/v1/admin/events/"+s.event+"/channels/"+channel+"/allot", `{"all":true}`, asOperator).ok(200, nil)
	if n := s.inventory.Kept(t.Context(), s.event); n != 60 {
		t.Errorf("%d tickets are kept for people with a code, want 60", n)
	}
	stock, err := s.inventory.Stock(t.Context(), s.event)
	if err != nil || stock.Available != 0 || stock.Blocked != 60 {
		t.Errorf("stock is %+v, %v", stock, err)
	}
}
