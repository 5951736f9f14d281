package web

import (
	"math/rand/v2"
	"slices"
	"testing"

	"onsale/waitroom"
)

// Exact for the first thousand; within 1 % or ±10 behind them, though a fifth of
// the line has left.
func TestPositionsAreCloseEnough(t *testing.T) {
	t.Parallel()
	o := defaultHubOptions()
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 1))
		cursor := random.Int64N(10_000)
		var queue []int64
		for place := cursor + 1; len(queue) < 50_000; place++ {
			if random.IntN(5) > 0 {
				queue = append(queue, place)
			}
		}
		c := newCrowd(testEvent)
		for i, place := range queue {
			if random.IntN(4) == 0 {
				g := &guest{v: waitroom.Visitor{ID: string(rune(place)), State: waitroom.Waiting, Place: place, Score: place, Ahead: i}, lined: true}
				c.line = append(c.line, g)
			}
		}
		q, _ := c.question(o)
		if len(q.Scores) > o.samples || q.Front > o.front {
			t.Fatalf("asks for %d places and %d of the front", len(q.Scores), q.Front)
		}
		s := waitroom.Survey{Room: waitroom.Room{Settings: waitroom.Settings{Next: queue[len(queue)-1]}, Waiting: len(queue)}}
		s.Front = queue[:min(q.Front, len(queue))]
		for _, place := range q.Scores {
			ahead, _ := slices.BinarySearch(queue, place)
			s.Ahead = append(s.Ahead, ahead)
		}
		at := newPositions(q, s)
		for _, g := range c.line {
			got, want := at.before(g.v.Score), g.v.Ahead
			if off := max(got-want, want-got); want < o.front && off != 0 || off > max(10, want/100) {
				t.Fatalf("seed %d: place %d has %d ahead, told %d", seed, g.v.Place, want, got)
			}
		}
	}
}

func TestPositionsInAShortLine(t *testing.T) {
	t.Parallel()
	q := waitroom.Query{Front: 1000, Scores: []int64{5, 9}}
	p := newPositions(q, waitroom.Survey{
		Front: []int64{3, 5, 9}, Ahead: []int{1, 2}, Room: waitroom.Room{Settings: waitroom.Settings{Next: 9}, Waiting: 3},
	})
	for place, want := range map[int64]int{1: 0, 3: 0, 4: 1, 5: 1, 9: 2, 10: notKnown} {
		if got := p.before(place); got != want {
			t.Errorf("before(%d) = %d, want %d", place, got, want)
		}
	}
	empty := newPositions(waitroom.Query{Front: 1000}, waitroom.Survey{})
	if got := empty.before(7); got != notKnown {
		t.Errorf("who was not in an empty line is told %d", got)
	}
	if got := (&positions{places: []int64{40}, ahead: []int{30}}).before(41); got != notKnown {
		t.Errorf("behind all who were asked for, %d are told", got) // or the number would stay too low
	}
}
