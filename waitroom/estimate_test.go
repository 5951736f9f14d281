package waitroom

import (
	"math/rand/v2"
	"testing"
	"time"
)

// running is a room whose last slots admitted as many as counts says.
func running(rate int, counts ...int) *Room {
	r := &Room{
		Settings: Settings{State: Open, Throttle: Throttle{RatePerMinute: rate, Burst: 10, MaxShoppers: 1000}},
		ShopOK:   true, StockLeft: -1, Waiting: 5000, AsOf: time.UnixMilli(1_800_000_005_000),
	}
	slot := r.AsOf.UnixMilli() / PaceSlot.Milliseconds()
	for i, n := range counts {
		r.Pace = append(r.Pace, Pace{Slot: slot - int64(len(counts)) + int64(i), Admitted: n, Busy: true})
	}
	return r
}

func TestWaitIsUnknownWhileTheLineStands(t *testing.T) {
	t.Parallel()
	steady := []int{50, 50, 50, 50, 50, 50, 50, 50}
	for name, r := range map[string]func(*Room){
		"scheduled": func(r *Room) { r.State = Scheduled },
		"lobby":     func(r *Room) { r.State = Lobby },
		"paused":    func(r *Room) { r.State = Paused },
		"closed":    func(r *Room) { r.State = Closed },
		"moving":    func(r *Room) { r.Moving = true },
		"restored":  func(r *Room) { r.Quiet = true },
		"shop down": func(r *Room) { r.ShopOK = false },
		"sold out":  func(r *Room) { r.StockLeft = 0 },
		"rate zero": func(r *Room) { r.Throttle.RatePerMinute = 0 },
	} {
		room := running(300, steady...)
		if room.Wait(100) == nil {
			t.Fatal("the wait is never known, so this test shows nothing")
		}
		r(room)
		if w := room.Wait(100); w != nil {
			t.Errorf("%s: %+v", name, *w)
		}
		if room.AdmittingPerMinute() != 0 && name != "rate zero" {
			t.Errorf("%s: admitting %d a minute", name, room.AdmittingPerMinute())
		}
	}
}

func TestWaitStartsFromTheThrottle(t *testing.T) {
	t.Parallel()
	r := running(300) // five a second
	if w := r.Wait(299); w == nil || w.Low != 42 || w.High != 98 {
		t.Errorf("300 people at 300 a minute: %+v", w)
	}
	if r.AdmittingPerMinute() != 300 {
		t.Errorf("admitting %d a minute", r.AdmittingPerMinute())
	}
	// Full, and nothing is known of how fast shoppers go: nothing is promised.
	r.Shopping = 1000
	if w := r.Wait(299); w != nil {
		t.Errorf("full: %+v", *w)
	}
}

func TestWaitFollowsWhatWasMeasured(t *testing.T) {
	t.Parallel()
	r := running(6000, 20, 20, 20, 20, 20, 20, 20, 20) // two a second, though the throttle allows 100
	w := r.Wait(199)
	if w == nil || w.Low != 85 || w.High != 117 {
		t.Errorf("200 people at two a second: %+v", w)
	}
	if r.AdmittingPerMinute() != 120 {
		t.Errorf("admitting %d a minute", r.AdmittingPerMinute())
	}
	rough := running(6000, 0, 40, 0, 40, 0, 40, 0, 40).Wait(199)
	if rough == nil || rough.High-rough.Low <= w.High-w.Low {
		t.Errorf("an uneven line gives %+v, an even one %+v", rough, w)
	}
	if lowered := running(60, 20, 20, 20, 20, 20, 20).Wait(59); lowered == nil || lowered.Low < 50 {
		t.Errorf("60 people with the throttle lowered to one a second: %+v", lowered)
	}
}

// What the page tells is the truth: in a line that moves unevenly, the real wait
// lies in the range in at least half of the cases, and within twice the range in
// nearly all.
func TestWaitIsRightOftenEnough(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	in, near, all := 0, 0, 0
	for range 400 {
		mean := 5 + random.Float64()*60
		noise := random.Float64() * 0.8
		slot := func() int {
			return max(0, int(mean*(1+noise*random.NormFloat64())+random.Float64()))
		}
		counts := make([]int, 6+random.IntN(54))
		for i := range counts {
			counts[i] = slot()
		}
		ahead := 20 + random.IntN(3000)
		room := running(1_000_000, counts...)
		room.Throttle.MaxShoppers = 1_000_000
		w := room.Wait(ahead)
		if w == nil {
			continue
		}
		left, seconds := ahead+1, 0.0
		for left > 0 {
			n := slot()
			if n >= left {
				seconds += 10 * float64(left) / float64(n)
			} else {
				seconds += 10
			}
			left -= n
		}
		all++
		middle, half := float64(w.Low+w.High)/2, float64(w.High-w.Low)/2
		if seconds >= float64(w.Low) && seconds <= float64(w.High) {
			in++
		}
		if seconds >= middle-2*half && seconds <= middle+2*half {
			near++
		}
	}
	if all < 300 || in*2 < all || near*100 < all*95 {
		t.Errorf("of %d waits %d were in the range and %d within twice the range", all, in, near)
	}
	t.Logf("of %d waits %d were in the range and %d within twice the range", all, in, near)
}

// A shop that will be full before somebody's turn is foreseen, and nothing is said
// while that cannot be told.
func TestWaitForeseesAFullShop(t *testing.T) {
	t.Parallel()
	r := running(600, 100, 100, 100, 100, 100, 100, 100, 100) // ten a second
	r.Throttle.MaxShoppers, r.Shopping = 1000, 500
	middle := func(ahead int) float64 {
		t.Helper()
		w := r.Wait(ahead)
		if w == nil {
			t.Fatalf("with %d before them nothing is said", ahead)
		}
		return float64(w.Low+w.High-tickOfTheDoor) / 2
	}
	if w := r.Wait(499); w == nil {
		t.Error("there is a slot for everybody up to them, and nothing is said")
	}
	if w := r.Wait(500); w != nil {
		t.Errorf("their slot has yet to be free, by whom nobody knows: %+v", *w)
	}
	// Slots are taken for 50 seconds: at ten a second, half of them ever are.
	r.Ended, r.Taken = 10_000, 10_000*50*time.Second
	if got := middle(5999); got < 595 || got > 605 {
		t.Errorf("6,000 at ten a second: %.0f s", got)
	}
	// For 200 seconds: from 500 on the shop is full after 81 seconds, and then five a second go in.
	r.Ended, r.Taken = 1_000_000, 1_000_000*200*time.Second
	if got := middle(5999); got < 1100 || got > 1130 {
		t.Errorf("811 at ten a second and 5,189 at five: %.0f s, want 1,119", got)
	}
	if got := middle(499); got < 48 || got > 52 {
		t.Errorf("500 at ten a second: %.0f s", got)
	}
	// Few have ended: it lies between that and ten a second.
	r.Ended, r.Taken = 50, 50*200*time.Second
	if got := middle(5999); got < 700 || got > 950 {
		t.Errorf("between 600 and 1,119: %.0f s", got)
	}
	// It is full: five a second, though the pace was that of filling it.
	r.Ended, r.Taken, r.Shopping = 1_000_000, 1_000_000*200*time.Second, 1000
	if got := middle(5999); got < 1195 || got > 1205 {
		t.Errorf("6,000 at five a second: %.0f s", got)
	}
	// A small shop is known from as many as fit in.
	r.Throttle.MaxShoppers, r.Shopping, r.Ended, r.Taken = 10, 10, 10, 10*time.Minute
	if w := r.Wait(100); w == nil {
		t.Error("ten of ten have ended, and nothing is said")
	}
}

// Nobody waits less than who is before them.
func TestWaitGrowsWithTheLine(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		r := running(6000, 10+random.IntN(90), 10+random.IntN(90), 50, 50, 50, 50, 50)
		r.Throttle.MaxShoppers, r.Shopping = 1+random.IntN(2000), random.IntN(2000)
		r.Ended = random.IntN(3000)
		r.Taken = time.Duration(r.Ended*random.IntN(1000)) * time.Second
		before, known := 0.0, true
		for ahead := 0; ahead < 5000; ahead += 1 + random.IntN(100) {
			p, _ := r.pace()
			got, ok := r.untilServed(float64(ahead+1), p.perSecond)
			if ok && !known || got < before {
				t.Fatalf("%d of %d slots taken, for %v by %d: with %d ahead %.2f s (%t), before them %.2f s (%t)",
					r.Shopping, r.Throttle.MaxShoppers, r.Taken, r.Ended, ahead, got, ok, before, known)
			}
			before, known = got, ok
		}
	}
}
