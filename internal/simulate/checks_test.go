package simulate

import (
	"math/rand/v2"
	"strings"
	"testing"

	"onsale/waitroom"
)

// broken are the names of checks that do not hold.
func broken(c *checks, o Options, r *Report) string {
	var names []string
	for _, check := range c.results(o, r) {
		if !check.Holds {
			names = append(names, check.Name)
		}
	}
	return strings.Join(names, "; ")
}

// Each check finds what it is for, and nothing else does.
func TestChecksFindWhatIsWrong(t *testing.T) {
	t.Parallel()
	o := Default()
	o.Throttle.RatePerMinute, o.Throttle.Burst, o.Throttle.MaxShoppers, o.Tickets = 60, 3, 10, 100
	good := func(c *checks) {
		c.pace.admitted(0, 3)
		c.pace.admitted(1, 1)
		c.pace.admitted(10, 3)
		c.inOrder(0, 1)
		c.inOrder(1, 5)
		c.shoppers(1, 10, o.Throttle.MaxShoppers)
		c.placed(&person{place: 4}, 4)
		c.placed(&person{}, 7)
	}
	for _, row := range []struct {
		plant func(c *checks, r *Report)
		want  string
	}{
		{func(*checks, *Report) {}, ""},
		{func(c *checks, _ *Report) { c.pace.admitted(12, 3) }, "Never more are let in"},
		{func(c *checks, _ *Report) { c.pace.admitted(3600, 4) }, "Never more are let in"},
		{func(c *checks, _ *Report) { c.pace.admitted(12, 2); c.pace.admitted(13, 2) }, "Never more are let in"},
		{func(c *checks, _ *Report) { c.inOrder(2, 4); c.inOrder(2, 6) }, "Nobody is let in before"},
		{func(c *checks, _ *Report) { c.shoppers(2, 11, o.Throttle.MaxShoppers) }, "Never more shop"},
		{func(c *checks, _ *Report) { c.placed(&person{place: 4}, 3) }, "Everybody keeps their place"},
		{func(c *checks, _ *Report) { c.twice++ }, "Everybody keeps their place"},
		{func(_ *checks, r *Report) { r.Sold = 101 }, "No more tickets"},
	} {
		var c checks
		r := Report{Sold: 100}
		c.pace.init(o.Throttle)
		good(&c)
		row.plant(&c, &r)
		if got := broken(&c, o, &r); !strings.HasPrefix(got, row.want) || row.want == "" && got != "" || strings.Contains(got, ";") {
			t.Errorf("broken: %q, want %q", got, row.want)
		}
	}
}

func TestADrawThatIsNoneIsFound(t *testing.T) {
	t.Parallel()
	const n = 1000
	o := Default()
	proof := func() *waitroom.DrawProof {
		room := waitroom.Room{Settings: waitroom.Settings{Event: event, Order: waitroom.DrawOrder, Draw: waitroom.Draw{
			Secret: strings.Repeat("ab", 32), N: n, Digest: strings.Repeat("cd", 20),
		}}}
		p := room.Proof()
		return &p
	}
	people := func(p *waitroom.DrawProof) []person {
		all := make([]person, n)
		for i := range all {
			place, err := p.PlaceOf(int64(i + 1))
			if err != nil {
				t.Fatal(err)
			}
			all[i] = person{index: int64(i + 1), admitted: 1, place: place}
		}
		return all
	}
	for name, row := range map[string]struct {
		plant  func(p *waitroom.DrawProof, all []person)
		broken string
	}{
		"fair": {func(*waitroom.DrawProof, []person) {}, ""},
		"another seed": {func(p *waitroom.DrawProof, _ []person) {
			seed := strings.Repeat("00", 32)
			p.Seed = &seed
		}, "The draw can be checked"},
		"two change places": {func(_ *waitroom.DrawProof, all []person) { all[0].place, all[1].place = all[1].place, all[0].place }, "Everybody keeps their place"},
	} {
		var c checks
		c.pace.init(o.Throttle)
		p := proof()
		all := people(p)
		row.plant(p, all)
		c.draw(p, all)
		if got := broken(&c, o, &Report{}); !strings.HasPrefix(got, row.broken) || row.broken == "" && got != "" {
			t.Errorf("%s: broken: %q, want %q", name, got, row.broken)
		}
	}
	// Who is early is placed early.
	c := checks{drawn: n, correlation: 0.2}
	c.pace.init(o.Throttle)
	if got := broken(&c, o, &Report{}); !strings.HasPrefix(got, "The draw can be checked") {
		t.Errorf("an advantage is not found: %q", got)
	}
}

func TestPaceKnowsEveryWindow(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		var p pace
		p.init(waitroom.Throttle{RatePerMinute: 1 + random.IntN(200), Burst: 1 + random.IntN(10)})
		n := make([]int, 1+random.IntN(30))
		for i := range n {
			if random.IntN(2) == 0 {
				n[i] = random.IntN(8)
			}
			p.admitted(i, n[i])
		}
		kept := true
		for from := range n {
			sum := 0
			for to := from; to < len(n); to++ {
				sum += n[to]
				kept = kept && float64(sum) <= p.burst+p.perSecond*float64(to-from)+1e-6
			}
		}
		if kept != p.holds() {
			t.Fatalf("%v, %.2f a second and a burst of %.0f: holds is %t", n, p.perSecond, p.burst, p.holds())
		}
	}
}

func TestSpread(t *testing.T) {
	t.Parallel()
	if got, want := spreadOf([]int{8, 1, 2, 3, 4, 5, 6, 7}), (Spread{2, 4, 6, 8, 8}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := spreadOf(nil); got != (Spread{}) {
		t.Errorf("of nobody: %+v", got)
	}
}
