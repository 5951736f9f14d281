package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"onsale/catalog"
	"onsale/checkout"
	"onsale/checkout/redisstore"
	"onsale/internal/fault"
	"onsale/internal/stack"
	"onsale/internal/stack/stacktest"
	"onsale/lua"
	"onsale/waitroom/pass"
)

// Every test of this file runs on a real Redis and on miniredis.
func onBoth(t *testing.T, test func(t *testing.T, rdb redis.UniversalClient)) {
	t.Helper()
	for name, server := range map[string]func(testing.TB) *stack.Redis{
		"redis":     stacktest.Redis,
		"miniredis": stacktest.Miniredis,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, err := redis.ParseURL(server(t).URL())
			if err != nil {
				t.Fatal(err)
			}
			rdb := redis.NewClient(o)
			t.Cleanup(func() { _ = rdb.Close() })
			test(t, rdb)
		})
	}
}

// hall is an event of two rows of eight and a floor of ten. Tickets 0 and 1 are
// accessible seats.
type hall struct {
	*redisstore.Store
	t     testing.TB
	rdb   redis.UniversalClient
	event string
	rows  string
	rules checkout.HoldRules
}

const limit = 6

// house describes rows of seats: a row per word, one letter a seat, the tier as a
// digit, 'a' an accessible seat and 'c' a companion's, both of tier 0, and 'g' a
// place of an area, of tier 9.
func house(rows string) []checkout.SeatShape {
	var all []checkout.SeatShape
	for row := range strings.FieldsSeq(rows) {
		for i, letter := range row {
			s := checkout.SeatShape{BeginsRow: i == 0, BeginsRun: i > 0 && byte(letter) != row[i-1]}
			switch letter {
			case 'a':
				s.Accessible = true
			case 'c':
				s.Companion = true
			case 'g':
				s.Area, s.Tier = true, 9
			default:
				s.Tier = int(letter - '0')
			}
			all = append(all, s)
		}
	}
	return all
}

const hallRows = "aa000000 11111111 gggggggggg"

func newHall(t testing.TB, rdb redis.UniversalClient) *hall {
	t.Helper()
	return hallOf(t, rdb, hallRows)
}

func hallOf(t testing.TB, rdb redis.UniversalClient, rows string) *hall {
	t.Helper()
	h := &hall{Store: redisstore.New(rdb), t: t, rdb: rdb, event: uuid.NewString(), rows: rows, rules: checkout.HoldRules{Limit: limit, Singles: catalog.AllowSingles}}
	h.load(0, strings.Repeat("A", len(house(rows))), rows, true)
	return h
}

// load loads the inventory as the truth says and reports whether it did.
func (h *hall) load(expected int64, states, rows string, want bool) {
	h.t.Helper()
	loaded, err := h.Load(context.Background(), h.event, expected, loading(states, rows))
	if err != nil || loaded != want {
		h.t.Fatalf("load: %t, %v", loaded, err)
	}
}

// loading is an inventory in these states. Blocked tickets are kept for channel 1.
func loading(states, rows string) checkout.Loading {
	l := checkout.Loading{Shapes: house(rows)}
	for o, state := range []byte(states) {
		l.States = append(l.States, checkout.TicketState(state))
		for len(l.Stock.Tiers) <= l.Shapes[o].Tier {
			l.Stock.Tiers = append(l.Stock.Tiers, checkout.Counts{})
		}
		l.Stock.Add(checkout.TicketState(state), 1)
		l.Stock.Tiers[l.Shapes[o].Tier].Add(checkout.TicketState(state), 1)
		channel := byte(0)
		if state == 'X' {
			channel = 1
		}
		l.Channels = append(l.Channels, channel)
	}
	if !strings.Contains(states, "X") {
		l.Channels = nil
	}
	return l
}

func (h *hall) visitor(lease time.Duration) string {
	h.t.Helper()
	v := pass.NewVisitor()
	now, err := h.rdb.Time(context.Background()).Result()
	if err == nil {
		err = h.rdb.ZAdd(context.Background(), lua.ActiveKey(h.event), redis.Z{Score: float64(now.Add(lease).UnixMilli()), Member: v}).Err()
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return v
}

func (h *hall) want(visitor string, w checkout.Wanted, ttl time.Duration) (checkout.HeldTickets, error) {
	return h.Hold(context.Background(), h.event, visitor, uuid.NewString(), w, ttl, h.rules)
}

func (h *hall) pick(visitor string, ttl time.Duration, ordinals ...int) (checkout.HeldTickets, error) {
	return h.want(visitor, checkout.Wanted{Ordinals: ordinals}, ttl)
}

// best asks for the best tickets of a tier, -1 for any.
func (h *hall) best(visitor string, quantity, tier int, accessible int) (checkout.HeldTickets, error) {
	return h.want(visitor, checkout.Wanted{Best: h.search(quantity, tier, accessible)}, time.Minute)
}

func (h *hall) search(quantity, tier, accessible int) *checkout.WantedBest {
	b := &checkout.WantedBest{Quantity: quantity, Accessible: accessible}
	for o, s := range house(h.rows) {
		one := checkout.Stretch{First: o, Last: o, Area: s.Area}
		switch {
		case tier >= 0 && s.Tier != tier, s.Companion:
		case s.Accessible:
			b.Accessibly = append(b.Accessibly, one)
		case len(b.Where) > 0 && b.Where[len(b.Where)-1].Last == o-1 && b.Where[len(b.Where)-1].Area == s.Area:
			b.Where[len(b.Where)-1].Last = o
		default:
			b.Where = append(b.Where, one)
		}
	}
	return b
}

func (h *hall) status() string {
	h.t.Helper()
	s, err := h.Snapshot(context.Background(), h.event)
	if err != nil {
		h.t.Fatal(err)
	}
	h.checkCounts(s)
	return string(s.Status)
}

// checkCounts holds the counts kept by the scripts against the tickets: available,
// held, sold and blocked are the total, and each is what counting them gives.
func (h *hall) checkCounts(s checkout.Snapshot) {
	h.t.Helper()
	want := loading(string(s.Status), h.rows).Stock
	got := s.Stock
	want.Seq, want.Epoch = got.Seq, got.Epoch
	if fmt.Sprint(got) != fmt.Sprint(want) {
		h.t.Errorf("the scripts count %+v, the tickets are %+v", got, want)
	}
	if total := got.Available + got.Held + got.Sold + got.Blocked; total != len(s.Status) {
		h.t.Errorf("%d tickets are counted, there are %d", total, len(s.Status))
	}
}

func (h *hall) wantStatus(want string) {
	h.t.Helper()
	if got := h.status(); got != want {
		h.t.Errorf("status is %s, want %s", got, want)
	}
}

func wantCode(t testing.TB, what string, err error, want fault.Code) {
	t.Helper()
	if got := fault.CodeOf(err); got != want {
		t.Errorf("%s: %v, want %q", what, err, want)
	}
}

func TestHoldIsAllOrNothing(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		h := newHall(t, rdb)
		a, b := h.visitor(time.Minute), h.visitor(time.Minute)
		if _, err := h.pick(a, time.Minute, 4, 5); err != nil {
			t.Fatal(err)
		}
		_, err := h.pick(b, time.Minute, 3, 4, 5, 6)
		taken, ok := errors.AsType[*checkout.TakenError](err)
		if !ok || len(taken.Ordinals) != 2 || taken.Ordinals[0] != 4 || taken.Ordinals[1] != 5 {
			t.Errorf("got %v, want 4 and 5 named as taken", err)
		}
		h.wantStatus("AAAAHHAAAAAAAAAAAAAAAAAAAA")
	})
}

func TestHoldNeedsALease(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		h := newHall(t, rdb)
		_, err := h.pick(pass.NewVisitor(), time.Minute, 1)
		wantCode(t, "a stranger", err, fault.PassLapsed)
		_, err = h.pick(h.visitor(-time.Second), time.Minute, 1)
		wantCode(t, "a lapsed lease", err, fault.PassLapsed)
		v := h.visitor(10 * time.Second)
		held, err := h.pick(v, time.Minute, 1)
		if err != nil || time.Until(held.Expires) > 10*time.Second {
			t.Errorf("a hold outlives its lease: %v, %v", held.Expires, err)
		}
	})
}

func TestHoldIsIdempotent(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		h := newHall(t, rdb)
		v, other := h.visitor(time.Minute), h.visitor(time.Minute)
		id := uuid.NewString()
		hold := func(visitor string) (checkout.HeldTickets, error) {
			return h.Hold(context.Background(), h.event, visitor, id, checkout.Wanted{Ordinals: []int{2, 3}}, time.Minute, h.rules)
		}
		first, err := hold(v)
		if err != nil {
			t.Fatal(err)
		}
		again, err := hold(v)
		if err != nil || again.Fence != first.Fence || !again.Expires.Equal(first.Expires) {
			t.Errorf("again: %+v, %v; want %+v", again, err, first)
		}
		_, err = hold(other)
		wantCode(t, "another visitor with the same id", err, fault.Forbidden)
	})
}

func TestHoldLimit(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		h := newHall(t, rdb)
		v := h.visitor(time.Minute)
		first, err := h.pick(v, time.Minute, 8, 9, 10, 11)
		if err != nil {
			t.Fatal(err)
		}
		_, err = h.pick(v, time.Minute, 12, 13, 14)
		wantCode(t, "seven", err, fault.LimitReached)
		if _, err := h.pick(v, time.Minute, 12, 13); err != nil {
			t.Errorf("six: %v", err)
		}
		if err := h.Release(context.Background(), h.event, v, first.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := h.pick(v, time.Minute, 3, 4, 5, 6); err != nil {
			t.Errorf("six again: %v", err)
		}
	})
}

func TestBestAvailable(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		h := newHall(t, rdb)
		for _, tc := range []struct {
			what                       string
			quantity, tier, accessible int
			want                       []int
			err                        fault.Code
		}{
			{"the first three seats of the best row", 3, -1, 0, []int{2, 3, 4}, ""},
			{"two more fit beside them", 2, 0, 0, []int{5, 6}, ""},
			{"one is left there, so two are in the next row", 2, -1, 0, []int{8, 9}, ""},
			{"six do not fit into tier 0", 6, 0, 0, nil, fault.SoldOut},
			{"the last of tier 0", 1, 0, 0, []int{7}, ""},
			{"none of tier 0", 1, 0, 0, nil, fault.SoldOut},
			{"accessible seats only when asked for", 2, -1, 2, []int{0, 1}, ""},
			{"standing", 6, 9, 0, []int{16, 17, 18, 19, 20, 21}, ""},
			{"standing needs no neighbours", 4, 9, 0, []int{22, 23, 24, 25}, ""},
			{"no standing left", 1, 9, 0, nil, fault.SoldOut},
		} {
			held, err := h.best(h.visitor(time.Minute), tc.quantity, tc.tier, tc.accessible)
			if fault.CodeOf(err) != tc.err || fmt.Sprint(held.Ordinals) != fmt.Sprint(tc.want) {
				t.Errorf("%s: %v, %v; want %v, %q", tc.what, held.Ordinals, err, tc.want, tc.err)
			}
		}
	})
}

// TestHerd asks for pairs all at once: every pair is together, none is refused
// while pairs are left, and nothing is given twice.
func TestHerd(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		h := newHall(t, rdb)
		const herd = 20 // for 3 + 4 pairs of seats in the rows
		var sold atomic.Int32
		var mu sync.Mutex
		seen := make(map[int]bool)
		var wg sync.WaitGroup
		for range herd {
			v := h.visitor(time.Minute)
			wg.Go(func() {
				for tier := range 2 {
					held, err := h.best(v, 2, tier, 0)
					if fault.Is(err, fault.SoldOut) {
						continue
					}
					if err != nil || len(held.Ordinals) != 2 || held.Ordinals[1] != held.Ordinals[0]+1 {
						t.Errorf("best: %v, %v", held.Ordinals, err)
						return
					}
					mu.Lock()
					for _, o := range held.Ordinals {
						if seen[o] {
							t.Errorf("ticket %d was given twice", o)
						}
						seen[o] = true
					}
					mu.Unlock()
					sold.Add(1)
					return
				}
			})
		}
		wg.Wait()
		if sold.Load() != 7 {
			t.Errorf("%d pairs were held, want all 7", sold.Load())
		}
	})
}

func TestExtendPinRelease(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx := context.Background()
		h := newHall(t, rdb)
		v, other := h.visitor(time.Minute), h.visitor(time.Minute)
		held, err := h.pick(v, 10*time.Second, 8)
		if err != nil {
			t.Fatal(err)
		}
		longer, err := h.Extend(ctx, h.event, v, held.ID, 30*time.Second, 2)
		if err != nil || longer.Extensions != 1 || longer.Expires.Before(held.Expires.Add(15*time.Second)) {
			t.Errorf("extend: %+v, %v", longer, err)
		}
		if longer, err = h.Extend(ctx, h.event, v, held.ID, time.Hour, 2); err != nil || time.Until(longer.Expires) > time.Minute {
			t.Errorf("a hold was extended beyond the lease: %+v, %v", longer, err)
		}
		_, err = h.Extend(ctx, h.event, v, held.ID, time.Hour, 2)
		wantCode(t, "a third extension", err, fault.Conflict)
		_, err = h.Extend(ctx, h.event, other, held.ID, time.Minute, 2)
		wantCode(t, "somebody else's extension", err, fault.Forbidden)
		wantCode(t, "somebody else's release", h.Release(ctx, h.event, other, held.ID), fault.Forbidden)

		pinned, err := h.Pin(ctx, h.event, v, held.ID, time.Hour)
		if err != nil || !pinned.Pinned || time.Until(pinned.Expires) < 50*time.Minute {
			t.Errorf("pin: %+v, %v", pinned, err)
		}
		wantCode(t, "releasing a pinned hold", h.Release(ctx, h.event, v, held.ID), fault.Conflict)
		if err := h.Unpin(ctx, h.event, v, held.ID, time.Hour); err != nil {
			t.Error(err)
		}
		if loose, err := h.Get(ctx, h.event, v, held.ID); err != nil || loose.Pinned || time.Until(loose.Expires) > time.Minute {
			t.Errorf("unpin: %+v, %v; want it to end with the lease", loose, err)
		}
		if err := h.Release(ctx, h.event, v, held.ID); err != nil {
			t.Error(err)
		}
		if err := h.Release(ctx, h.event, v, held.ID); err != nil {
			t.Errorf("releasing what is gone: %v", err)
		}
		_, err = h.Get(ctx, h.event, v, held.ID)
		wantCode(t, "a released hold", err, fault.HoldLapsed)
		h.wantStatus("AAAAAAAAAAAAAAAAAAAAAAAAAA")
	})
}

// TestExpiryFreesWithinASecond runs the sweeper as the program does.
func TestExpiryFreesWithinASecond(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		h := newHall(t, rdb)
		a, b := h.visitor(time.Minute), h.visitor(time.Minute)
		held, err := h.pick(a, 2*time.Second, 8, 9)
		if err != nil {
			t.Fatal(err)
		}
		_, err = h.pick(b, time.Minute, 9)
		wantCode(t, "a held ticket", err, fault.TicketsTaken)
		changes, err := h.Changes(ctx, h.event)
		if err != nil {
			t.Fatal(err)
		}
		for freed := 0; freed == 0; {
			began := time.Now()
			n, next, err := h.Sweep(ctx, h.event)
			if err != nil {
				t.Fatal(err)
			}
			freed = n
			// As long as the sweep itself says: however busy the machine is, it must not say
			// to come back later than a second after the hold's end.
			if late := began.Add(max(next, 0)).Sub(held.Expires); n != 2 && (n != 0 || late > time.Second) {
				t.Fatalf("%d tickets were freed, and the next sweep is %s after the hold's end; want 2 within a second", n, late)
			}
			if n == 0 {
				<-time.After(max(next, 10*time.Millisecond))
			}
		}
		h.wantStatus("AAAAAAAAAAAAAAAAAAAAAAAAAA")
		select {
		case <-changes:
		case <-time.After(time.Minute):
			t.Error("the change was not published")
		}
		if _, err := h.pick(b, time.Minute, 9); err != nil {
			t.Errorf("a freed ticket: %v", err)
		}
	})
}

func TestSettle(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx := context.Background()
		h := newHall(t, rdb)
		a, b := h.visitor(time.Minute), h.visitor(time.Minute)
		mine, err := h.pick(a, time.Minute, 8, 9)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := h.pick(b, time.Minute, 10)
		if err != nil {
			t.Fatal(err)
		}
		sold := checkout.Settlement{Event: h.event, Visitor: a, Hold: mine.ID, Ordinals: mine.Ordinals, To: checkout.Sold, Bought: 2}
		for range 2 { // settling twice changes nothing more
			if err := h.Settle(ctx, sold); err != nil {
				t.Fatal(err)
			}
		}
		h.wantStatus("AAAAAAAASSHAAAAAAAAAAAAAAA")
		if n, err := rdb.HGet(ctx, lua.BoughtKey(h.event), a).Int(); err != nil || n != 2 {
			t.Errorf("bought = %d, %v; want 2", n, err)
		}
		_, err = h.Get(ctx, h.event, a, mine.ID)
		wantCode(t, "the sold hold", err, fault.HoldLapsed)
		// Freeing an old order must not free what somebody holds now.
		if err := h.Settle(ctx, checkout.Settlement{Event: h.event, Ordinals: []int{8, 10}, To: checkout.Available}); err != nil {
			t.Fatal(err)
		}
		h.wantStatus("AAAAAAAAASHAAAAAAAAAAAAAAA")
		if _, err := h.Get(ctx, h.event, b, theirs.ID); err != nil {
			t.Errorf("the other hold: %v", err)
		}
	})
}

func TestLoadKeepsLiveHolds(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx := context.Background()
		h := newHall(t, rdb)
		v := h.visitor(time.Minute)
		if _, err := h.pick(v, time.Minute, 9); err != nil {
			t.Fatal(err)
		}
		before, err := h.Snapshot(ctx, h.event)
		if err != nil {
			t.Fatal(err)
		}
		l := loading("SAAAAAAAAAAAAAAAAAAAAAAAHA", h.rows)
		loaded, err := h.Load(ctx, h.event, before.Stock.Seq-1, l)
		if err != nil || loaded {
			t.Errorf("a load on old knowledge: %t, %v", loaded, err)
		}
		l.Orders = map[int]time.Duration{24: time.Minute}
		l.Bought = map[string]int{v: limit - 1}
		loaded, err = h.Load(ctx, h.event, before.Stock.Seq, l)
		if err != nil || !loaded {
			t.Errorf("load: %t, %v", loaded, err)
		}
		h.wantStatus("SAAAAAAAAHAAAAAAAAAAAAAAHA")
		after, err := h.Stock(ctx, h.event)
		if err != nil || after.Seq <= before.Stock.Seq || after.Epoch <= before.Stock.Epoch {
			t.Errorf("the sequence went from %d to %d, the epoch from %d to %d, %v", before.Stock.Seq, after.Seq, before.Stock.Epoch, after.Epoch, err)
		}
		_, err = h.pick(v, time.Minute, 10)
		wantCode(t, "more than what was bought before allows", err, fault.LimitReached)
		_, err = h.pick(h.visitor(time.Minute), time.Minute, 24)
		wantCode(t, "a ticket of an open order", err, fault.TicketsTaken)
	})
}

// TestReshape tells an inventory that other seats are for who needs them: requests that
// know it wait for that, and nothing else of it changes.
func TestReshape(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx := context.Background()
		h := hallOf(t, rdb, "00000000")
		v := h.visitor(time.Minute)
		mine, err := h.pick(v, time.Minute, 7)
		if err != nil {
			t.Fatal(err)
		}
		before, err := h.Snapshot(ctx, h.event)
		if err != nil {
			t.Fatal(err)
		}
		ask := func(revision, quantity, accessible int) ([]int, error) {
			held, err := h.want(h.visitor(time.Minute), checkout.Wanted{Best: h.search(quantity, -1, accessible), Revision: revision}, time.Minute)
			return held.Ordinals, err
		}
		reshape := func(revision int, rows string, want bool) {
			t.Helper()
			if there, err := h.Reshape(ctx, h.event, revision, house(rows)); err != nil || there != want {
				t.Fatalf("reshaped to %s: %t, %v", rows, there, err)
			}
		}
		h.rows = "ac000000"
		if _, err := ask(1, 1, 0); !errors.Is(err, checkout.ErrNoInventory) {
			t.Errorf("before the inventory knows: %v", err)
		}
		reshape(1, h.rows, true)
		reshape(0, "00000000", true) // by a node that does not know yet
		if s, err := h.Snapshot(ctx, h.event); err != nil || fmt.Sprint(s) != fmt.Sprint(before) {
			t.Errorf("what people see was %v, is %v, %v", before, s, err)
		}
		if got, err := ask(1, 2, 1); err != nil || fmt.Sprint(got) != "[0 1]" {
			t.Errorf("an accessible seat and one beside it: %v, %v", got, err)
		}
		if got, err := ask(0, 1, 0); err != nil || fmt.Sprint(got) != "[2]" { // a node that is late asks all the same
			t.Errorf("the best seat: %v, %v", got, err)
		}
		if _, err := h.Get(ctx, h.event, v, mine.ID); err != nil {
			t.Errorf("the hold of before: %v", err)
		}
		h.load(before.Stock.Seq, "AAAAAAAA", "00000000", false)
		s, err := h.Snapshot(ctx, h.event)
		if err != nil {
			t.Fatal(err)
		}
		// Loaded by a node that is late, it is known to be old.
		h.load(s.Stock.Seq, "AAAAAAAA", "00000000", true)
		if _, err := ask(1, 1, 0); !errors.Is(err, checkout.ErrNoInventory) {
			t.Errorf("after it was loaded by an old layout: %v", err)
		}
		for _, key := range []string{lua.StatusKey(h.event), lua.SeqKey(h.event), lua.CountKey(h.event), lua.ShapeKey(h.event), lua.TiersKey(h.event)} {
			if err := rdb.Rename(ctx, key, key+":away").Err(); err != nil {
				t.Fatal(err)
			}
			reshape(1, h.rows, false)
			if err := rdb.Rename(ctx, key+":away", key).Err(); err != nil {
				t.Fatal(err)
			}
		}
		reshape(1, h.rows, true)
		if _, err := ask(1, 1, 0); err != nil {
			t.Errorf("in the end: %v", err)
		}
	})
}

func TestNoInventory(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		h := newHall(t, rdb)
		h.event = uuid.NewString()
		_, err := h.pick(h.visitor(time.Minute), time.Minute, 1)
		if !errors.Is(err, checkout.ErrNoInventory) {
			t.Errorf("got %v", err)
		}
	})
}

// TestHoldsFollowTheModel runs random operations and compares every answer and
// every status byte with a model that a reader can check by eye.
func TestHoldsFollowTheModel(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		rapid.Check(t, func(r *rapid.T) {
			ctx := context.Background()
			h := newHall(t, rdb)
			visitors := []string{h.visitor(time.Minute), h.visitor(time.Minute), h.visitor(time.Minute)}
			type held struct {
				visitor string
				tickets []int
				pinned  bool
			}
			live := make(map[string]*held) // the model
			state := []byte(h.status())
			var ids []string
			of := func(v string) (n int) {
				for _, x := range live {
					if x.visitor == v {
						n += len(x.tickets)
					}
				}
				return n
			}
			r.Repeat(map[string]func(*rapid.T){
				"hold": func(r *rapid.T) {
					v := rapid.SampledFrom(visitors).Draw(r, "visitor")
					want := rapid.SliceOfNDistinct(rapid.IntRange(0, 25), 1, 4, rapid.ID[int]).Draw(r, "tickets")
					got, err := h.pick(v, time.Minute, want...)
					free := true
					for _, o := range want {
						free = free && state[o] == 'A'
					}
					switch {
					case of(v)+len(want) > limit:
						wantCode(t, "over the limit", err, fault.LimitReached)
					case !free:
						wantCode(t, "taken", err, fault.TicketsTaken)
					case err != nil:
						r.Fatalf("hold %v: %v", want, err)
					default:
						live[got.ID] = &held{visitor: v, tickets: want}
						ids = append(ids, got.ID)
						for _, o := range want {
							state[o] = 'H'
						}
					}
				},
				"release": func(r *rapid.T) {
					if len(ids) == 0 {
						r.Skip()
					}
					id := rapid.SampledFrom(ids).Draw(r, "hold")
					v := rapid.SampledFrom(visitors).Draw(r, "visitor")
					err := h.Release(ctx, h.event, v, id)
					x := live[id]
					switch {
					case x == nil:
						wantCode(t, "gone", err, "")
					case x.visitor != v:
						wantCode(t, "foreign", err, fault.Forbidden)
					case x.pinned:
						wantCode(t, "pinned", err, fault.Conflict)
					default:
						wantCode(t, "own", err, "")
						for _, o := range x.tickets {
							state[o] = 'A'
						}
						delete(live, id)
					}
				},
				"pin": func(r *rapid.T) {
					if len(ids) == 0 {
						r.Skip()
					}
					id := rapid.SampledFrom(ids).Draw(r, "hold")
					x := live[id]
					if x == nil {
						r.Skip()
					}
					if _, err := h.Pin(ctx, h.event, x.visitor, id, time.Minute); err != nil {
						r.Fatal(err)
					}
					x.pinned = true
				},
				"settle": func(r *rapid.T) {
					if len(ids) == 0 {
						r.Skip()
					}
					id := rapid.SampledFrom(ids).Draw(r, "hold")
					x := live[id]
					if x == nil {
						r.Skip()
					}
					to := rapid.SampledFrom([]checkout.TicketState{checkout.Sold, checkout.Available}).Draw(r, "to")
					err := h.Settle(ctx, checkout.Settlement{Event: h.event, Visitor: x.visitor, Hold: id, Ordinals: x.tickets, To: to})
					if err != nil {
						r.Fatal(err)
					}
					for _, o := range x.tickets {
						state[o] = byte(to)
					}
					delete(live, id)
				},
				"": func(r *rapid.T) {
					if got := h.status(); got != string(state) {
						r.Fatalf("status is %s, the model says %s", got, state)
					}
				},
			})
		})
	})
}
