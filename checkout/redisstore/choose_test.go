package redisstore_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"onsale/catalog"
	"onsale/checkout"
	"onsale/checkout/redisstore"
	"onsale/internal/fault"
)

// in loads a hall in these states, rows as house reads them. A | may stand between
// rows.
func in(t testing.TB, rdb redis.UniversalClient, rows, states string) *hall {
	t.Helper()
	h := &hall{Store: redisstore.New(rdb), t: t, rdb: rdb, event: uuid.NewString(), rows: rows, rules: checkout.HoldRules{Limit: 10, Singles: catalog.AvoidSingles}}
	h.load(0, strings.ReplaceAll(states, "|", ""), rows, true)
	return h
}

func TestBestAvailableSeats(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, tc := range []struct {
			what         string
			rows, states string
			best         func(b *checkout.WantedBest)
			quantity     int
			tier         int
			accessible   int
			want         []int // nil: refused
		}{
			{what: "never across rows", rows: "000 000", states: "SSA|ASS", quantity: 2, tier: -1},
			{what: "never across tiers", rows: "0011", states: "SAAS", quantity: 2, tier: -1},
			{what: "the second gap of a row", rows: "000000", states: "SASSAA", quantity: 2, tier: -1, want: []int{4, 5}},
			{what: "no single seat is left where another place is", rows: "000 0000", states: "AAA|AAAA", quantity: 2, tier: -1, want: []int{3, 4}},
			{what: "a single seat rather than a refusal", rows: "000 000", states: "AAA|AAA", quantity: 2, tier: -1, want: []int{0, 1}},
			{what: "the whole row leaves nobody alone", rows: "000 000", states: "AAA|AAA", quantity: 3, tier: -1, want: []int{0, 1, 2}},
			{what: "one seat does not leave one alone", rows: "00 0000", states: "AA|AAAA", quantity: 1, tier: -1, want: []int{2}},
			{what: "only the tier", rows: "00 11", states: "AA|AA", quantity: 2, tier: 1, want: []int{2, 3}},
			{what: "accessible with company", rows: "ac000 00000", states: "AAAAA|AAAAA", quantity: 2, tier: -1, accessible: 1, want: []int{0, 1}},
			{what: "the companion seat on the left", rows: "0ca00", states: "AAAAA", quantity: 2, tier: -1, accessible: 1, want: []int{1, 2}},
			{what: "an ordinary seat where there is no companion's", rows: "0a", states: "AA", quantity: 2, tier: -1, accessible: 1, want: []int{0, 1}},
			{what: "the first of two accessible seats with company", rows: "aa00", states: "AAAA", quantity: 2, tier: -1, accessible: 1, want: []int{1, 2}},
			{what: "two accessible seats where that is the only way", rows: "aa", states: "AA", quantity: 2, tier: -1, accessible: 1, want: []int{0, 1}},
			{what: "two accessible seats with a companion", rows: "0aac0", states: "AAAAA", quantity: 3, tier: -1, accessible: 2, want: []int{1, 2, 3}},
			{what: "no accessible seat is left", rows: "ac 00", states: "SA|AA", quantity: 2, tier: -1, accessible: 1},
			{what: "accessible seats and companions' are kept", rows: "acac 0", states: "AAAA|S", quantity: 1, tier: -1},
			{what: "not apart unless asked", rows: "00 00", states: "AA|AA", quantity: 4, tier: -1},
			{what: "apart if asked", rows: "00 00", states: "AA|AA", quantity: 4, tier: -1, best: func(b *checkout.WantedBest) { b.Split = true }, want: []int{0, 1, 2, 3}},
			{what: "five as three and two", rows: "00 000 0", states: "AA|AAA|A", quantity: 5, tier: -1, best: func(b *checkout.WantedBest) { b.Split = true }, want: []int{2, 3, 4, 0, 1}},
			{what: "apart, but there are too few", rows: "00 00", states: "AS|AA", quantity: 4, tier: -1, best: func(b *checkout.WantedBest) { b.Split = true }},
			{what: "an area where there are no seats", rows: "00 gggg", states: "SA|AASA", quantity: 3, tier: -1, want: []int{2, 3, 5}},
			{what: "kept tickets are for nobody", rows: "0000", states: "XXXX", quantity: 2, tier: -1},
		} {
			h := in(t, rdb, tc.rows, tc.states)
			b := h.search(tc.quantity, tc.tier, tc.accessible)
			if tc.best != nil {
				tc.best(b)
			}
			held, err := h.want(h.visitor(time.Minute), checkout.Wanted{Best: b}, time.Minute)
			code := fault.Code("")
			if tc.want == nil {
				code = fault.SoldOut
			}
			if fault.CodeOf(err) != code || !slices.Equal(held.Ordinals, tc.want) {
				t.Errorf("%s: %v, %v; want %v", tc.what, held.Ordinals, err, tc.want)
			}
			h.status() // counts
		}
	})
}

// TestBestAvailableLooksBehindLapsedHolds: what nobody swept yet is no reason to
// refuse.
func TestBestAvailableLooksBehindLapsedHolds(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		h := in(t, rdb, "00", "AA")
		lapsing, err := h.pick(h.visitor(time.Minute), 2*time.Second, 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		other := h.visitor(time.Minute)
		_, err = h.best(other, 2, -1, 0)
		wantCode(t, "while they are held", err, fault.SoldOut)
		for now := lapsing.Expires; !now.After(lapsing.Expires); { // by Redis' clock
			<-time.After(20 * time.Millisecond)
			if now, err = rdb.Time(t.Context()).Result(); err != nil {
				t.Fatal(err)
			}
		}
		if held, err := h.best(other, 2, -1, 0); err != nil || len(held.Ordinals) != 2 {
			t.Errorf("after the hold has lapsed: %v, %v", held.Ordinals, err)
		}
	})
}

func TestSingleSeats(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, tc := range []struct {
			rows, states string
			pick         []int
			singles      []int // nil: allowed
		}{
			{"000000", "AAAAAA", []int{1, 2}, []int{0}},
			{"000000", "AAAAAA", []int{2, 3}, nil},
			{"000000", "AAAAAA", []int{0, 1, 3, 4}, []int{2, 5}},
			{"0000000", "AAAAAAA", []int{1, 2, 4, 5}, []int{0, 3, 6}},
			{"000", "AAA", []int{0, 1}, nil}, // one is left whichever two are taken
			{"000", "AAA", []int{1}, []int{0, 2}},
			{"0000", "AAAA", []int{0, 2}, []int{1, 3}},
			{"000 000", "AAA|AAA", []int{0, 1, 2, 4}, []int{3, 5}},
			{"000000", "AASAAA", []int{1}, nil}, // of two one is left
			{"000000", "AASAAA", []int{4}, []int{3, 5}},
			{"000000", "ASAAAA", []int{2, 3}, nil}, // 0 was alone before
			{"aa0000", "AAAAAA", []int{3, 4}, []int{2, 5}},
			{"aa0000", "AAAAAA", []int{1}, nil}, // the rule is about ordinary seats
			{"gggg", "AAAA", []int{1}, nil},
			{"0011", "AAAA", []int{2}, []int{3}},
		} {
			h := in(t, rdb, tc.rows, tc.states)
			h.rules.Singles = catalog.RefuseSingles
			_, err := h.pick(h.visitor(time.Minute), time.Minute, tc.pick...)
			var got []int
			if s, ok := errors.AsType[*checkout.SinglesError](err); ok {
				got = s.Ordinals
			} else if err != nil {
				t.Errorf("%s %s %v: %v", tc.rows, tc.states, tc.pick, err)
			}
			if !slices.Equal(got, tc.singles) {
				t.Errorf("%s %s: taking %v leaves %v alone, want %v", tc.rows, tc.states, tc.pick, got, tc.singles)
			}
			h.rules.Singles = catalog.AvoidSingles
			if _, err := h.pick(h.visitor(time.Minute), time.Minute, tc.pick...); err != nil && got != nil {
				t.Errorf("%v without the rule: %v", tc.pick, err)
			}
		}
	})
}

func TestChangeHold(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx := context.Background()
		h := newHall(t, rdb)
		v, other := h.visitor(time.Minute), h.visitor(time.Minute)
		held, err := h.pick(v, 30*time.Second, 8, 9)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.pick(other, time.Minute, 12); err != nil {
			t.Fatal(err)
		}
		change := func(visitor string, add, drop []int) (checkout.HeldTickets, error) {
			return h.Change(ctx, checkout.HoldChange{Event: h.event, Visitor: visitor, Hold: held.ID, Add: add, Drop: drop}, h.rules)
		}
		for range 2 { // repeating it changes nothing more
			now, err := change(v, []int{10, 11}, []int{8})
			if err != nil || !slices.Equal(now.Ordinals, []int{9, 10, 11}) || !now.Expires.Equal(held.Expires) || now.Fence <= held.Fence {
				t.Errorf("change: %+v, %v", now, err)
			}
			h.wantStatus("AAAAAAAAAHHHHAAAAAAAAAAAAA")
		}
		_, err = change(v, []int{8, 12}, []int{9})
		wantCode(t, "one of the added is taken", err, fault.TicketsTaken)
		_, err = change(v, []int{2, 3, 4, 5}, nil)
		wantCode(t, "more than the limit", err, fault.LimitReached)
		_, err = change(v, nil, []int{9, 10, 11})
		wantCode(t, "nothing left", err, fault.Conflict)
		_, err = change(other, []int{8}, nil)
		wantCode(t, "somebody else's", err, fault.Forbidden)
		h.wantStatus("AAAAAAAAAHHHHAAAAAAAAAAAAA")
		if _, err := h.Pin(ctx, h.event, v, held.ID, time.Minute); err != nil {
			t.Fatal(err)
		}
		_, err = change(v, []int{8}, nil)
		wantCode(t, "an order has it", err, fault.Conflict)
		// What was added lapses with the hold, not before or after.
		ttl, err := rdb.PTTL(ctx, "hold:{"+h.event+"}:t:10").Result()
		if err != nil || ttl <= 50*time.Second {
			t.Errorf("the lock of an added ticket lives %s, %v", ttl, err)
		}
	})
}

func TestAreasAndMixedHolds(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		h := newHall(t, rdb)
		floor := func(n int) checkout.WantedArea {
			return checkout.WantedArea{Quantity: n, Where: []checkout.Stretch{{First: 16, Last: 25, Area: true}}}
		}
		held, err := h.want(h.visitor(time.Minute), checkout.Wanted{Ordinals: []int{3}, Areas: []checkout.WantedArea{floor(2)}}, time.Minute)
		if err != nil || !slices.Equal(held.Ordinals, []int{3, 16, 17}) {
			t.Errorf("a seat and two of the floor: %v, %v", held.Ordinals, err)
		}
		held, err = h.want(h.visitor(time.Minute), checkout.Wanted{Best: h.search(2, 1, 0), Areas: []checkout.WantedArea{floor(4)}}, time.Minute)
		if err != nil || !slices.Equal(held.Ordinals, []int{18, 19, 20, 21, 8, 9}) {
			t.Errorf("the best two and four of the floor: %v, %v", held.Ordinals, err)
		}
		_, err = h.want(h.visitor(time.Minute), checkout.Wanted{Ordinals: []int{4}, Areas: []checkout.WantedArea{floor(5)}}, time.Minute)
		wantCode(t, "five where four are left", err, fault.SoldOut)
		h.wantStatus("AAAHAAAAHHAAAAAAHHHHHHAAAA")
	})
}

func TestChannels(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx := context.Background()
		h := newHall(t, rdb)
		member, anybody := h.visitor(time.Minute), h.visitor(time.Minute)
		if _, err := h.pick(anybody, time.Minute, 9); err != nil {
			t.Fatal(err)
		}
		done, err := h.Allot(ctx, h.event, 3, false, []int{8, 9, 10, 11, 24, 25})
		if err != nil || !slices.Equal(done, []int{8, 10, 11, 24, 25}) {
			t.Errorf("allotted %v, %v; somebody holds 9", done, err)
		}
		h.wantStatus("AAAAAAAAXHXXAAAAAAAAAAAAXX")
		if err := h.Enter(ctx, h.event, member, []int{1, 3}); err != nil {
			t.Fatal(err)
		}
		_, err = h.pick(anybody, time.Minute, 8)
		wantCode(t, "a ticket that is kept", err, fault.TicketsTaken)
		held, err := h.pick(member, time.Minute, 8, 12)
		if err != nil {
			t.Errorf("a member: %v", err)
		}
		best := h.search(2, 1, 0)
		best.Channel = 3
		got, err := h.want(member, checkout.Wanted{Best: best}, time.Minute)
		if err != nil || !slices.Equal(got.Ordinals, []int{10, 11}) {
			t.Errorf("the best two of the channel: %v, %v", got.Ordinals, err)
		}
		_, err = h.want(anybody, checkout.Wanted{Best: best}, time.Minute)
		wantCode(t, "the best of a channel for somebody else", err, fault.SoldOut)
		floor := checkout.WantedArea{Quantity: 2, Channel: 3, Where: []checkout.Stretch{{First: 16, Last: 25, Area: true}}}
		_, err = h.want(anybody, checkout.Wanted{Areas: []checkout.WantedArea{floor}}, time.Minute)
		wantCode(t, "the channel's floor for somebody else", err, fault.SoldOut)
		if got, err := h.want(member, checkout.Wanted{Areas: []checkout.WantedArea{floor}}, time.Minute); err != nil || !slices.Equal(got.Ordinals, []int{24, 25}) {
			t.Errorf("the channel's floor: %v, %v", got.Ordinals, err)
		}
		// What a member gives back is the channel's again, what was anybody's is anybody's.
		if err := h.Release(ctx, h.event, member, held.ID); err != nil {
			t.Fatal(err)
		}
		h.wantStatus("AAAAAAAAXHHHAAAAAAAAAAAAHH")
		// Released to everybody at once; what is held follows when it comes back.
		if _, err := h.Allot(ctx, h.event, 0, true, []int{8, 10, 11, 24, 25}); err != nil {
			t.Fatal(err)
		}
		h.wantStatus("AAAAAAAAAHHHAAAAAAAAAAAAHH")
		if _, err := h.pick(anybody, time.Minute, 8); err != nil {
			t.Errorf("a released ticket: %v", err)
		}
	})
}

// TestBestAvailableInALargeHouse looks where the script reads the house in pieces: at
// the ends of the pieces nothing may be overlooked, and nobody left alone.
func TestBestAvailableInALargeHouse(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		const width, rows = 30, 800 // 7999 and 8000 are neighbours
		plain := strings.TrimSpace(strings.Repeat(strings.Repeat("0", width)+" ", rows))
		for _, tc := range []struct {
			free     []int
			quantity int
			want     []int
		}{
			{[]int{7999, 8000}, 2, []int{7999, 8000}},
			{[]int{7998, 7999, 8000}, 3, []int{7998, 7999, 8000}},
			{[]int{7999, 8000, 8001, 20000, 20001}, 2, []int{20000, 20001}},
			{[]int{7998, 7999, 8000, 20000, 20001}, 2, []int{20000, 20001}},
			{[]int{7998, 7999, 8000, 8001}, 2, []int{7998, 7999}},
			{[]int{15997, 15998}, 2, []int{15997, 15998}},
			{[]int{0, 7999, 8001, 23999}, 2, nil},
			{[]int{23998, 23999}, 2, []int{23998, 23999}},
		} {
			states := []byte(strings.Repeat("S", width*rows))
			for _, o := range tc.free {
				states[o] = 'A'
			}
			h := in(t, rdb, plain, string(states))
			held, err := h.best(h.visitor(time.Minute), tc.quantity, -1, 0)
			if (err == nil) != (tc.want != nil) || !slices.Equal(held.Ordinals, tc.want) {
				t.Errorf("%d of %v: %v, %v; want %v", tc.quantity, tc.free, held.Ordinals, err, tc.want)
			}
		}
	})
}

// TestBestAvailableFollowsTheRule holds every answer against a search that a reader
// can check by eye: refused only if nothing fits, adjacent in one row and of one
// tier, the first of those that leave nobody alone, or else the first.
func TestBestAvailableFollowsTheRule(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		rapid.Check(t, func(r *rapid.T) {
			rows := strings.Join(rapid.SliceOfN(rapid.StringMatching(`[01ac]{1,9}`), 1, 5).Draw(r, "rows"), " ")
			shape := house(rows)
			states := rapid.StringOfN(rapid.SampledFrom([]rune("AAASX")), len(shape), len(shape), -1).Draw(r, "states")
			n := rapid.IntRange(1, 4).Draw(r, "quantity")
			tier := rapid.IntRange(-1, 1).Draw(r, "tier")
			h := in(t, rdb, rows, states)
			h.rules.Singles = rapid.SampledFrom([]catalog.SingleSeats{catalog.AllowSingles, catalog.AvoidSingles}).Draw(r, "singles")
			held, err := h.best(h.visitor(time.Minute), n, tier, 0)
			want := bestByEye(shape, states, n, tier, h.rules.Singles)
			if want < 0 {
				if !fault.Is(err, fault.SoldOut) {
					r.Fatalf("%s %s: %v, %v; nothing fits", rows, states, held.Ordinals, err)
				}
				return
			}
			if err != nil || held.Ordinals[0] != want || held.Ordinals[n-1] != want+n-1 {
				r.Fatalf("%s %s: %v, %v; want %d from %d", rows, states, held.Ordinals, err, n, want)
			}
		})
	})
}

// bestByEye returns where the best n are, -1 if nowhere.
func bestByEye(shape []checkout.SeatShape, states string, n, tier int, singles catalog.SingleSeats) int {
	free := func(o int) bool {
		return o >= 0 && o < len(shape) && states[o] == 'A' && !shape[o].Accessible && !shape[o].Companion
	}
	// next tells whether o stands right of o-1 in the same row.
	next := func(o int) bool { return o > 0 && o < len(shape) && !shape[o].BeginsRow }
	first := -1
	for start := 0; start+n <= len(shape); start++ {
		fits := true
		for o := start; o < start+n; o++ {
			fits = fits && free(o) && (tier < 0 || shape[o].Tier == tier) &&
				(o == start || next(o) && shape[o].Tier == shape[start].Tier)
		}
		if !fits {
			continue
		}
		left, right := start-1, start+n
		lonely := next(start) && free(left) && (!next(left) || !free(left-1)) ||
			next(right) && free(right) && (!next(right+1) || !free(right+1))
		if !lonely || singles == catalog.AllowSingles {
			return start
		}
		if first < 0 {
			first = start
		}
	}
	return first
}
