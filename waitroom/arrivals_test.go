package waitroom

import (
	"fmt"
	"testing"
	"time"
)

func TestArrivalsAreKnownForAMoment(t *testing.T) {
	t.Parallel()
	at := time.Date(2027, 3, 1, 10, 0, 0, 0, time.UTC)
	var a arrivals
	join := func(id string, at time.Time) { a.joined("e", &Visitor{ID: id, Place: 7, Receipt: "r"}, at) }
	known := func(id string, at time.Time) bool { _, ok := a.take("e", id, at); return ok }

	join("a", at)
	if v, ok := a.take("e", "a", at.Add(1500*time.Millisecond)); !ok || v.Place != 7 || v.Receipt != "" {
		t.Errorf("after 1.5 s: %+v, %t", v, ok)
	}
	if known("a", at.Add(1500*time.Millisecond)) {
		t.Error("known a second time")
	}
	at = at.Add(time.Minute)
	join("b", at)
	if _, ok := a.take("other", "b", at); ok {
		t.Error("known in another room")
	}
	if known("b", at.Add(2*time.Second)) {
		t.Error("known after two seconds")
	}
	at = at.Add(time.Minute)
	join("c", at)
	if known("c", at.Add(-time.Hour)) {
		t.Error("known when the clock went back")
	}
	for i := range mostArrivals + 1 {
		join(fmt.Sprint(i), at.Add(time.Second))
	}
	if !known(fmt.Sprint(mostArrivals-1), at.Add(time.Second)) || known(fmt.Sprint(mostArrivals), at.Add(time.Second)) {
		t.Error("a generation does not have its size")
	}
}
