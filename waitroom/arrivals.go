package waitroom

import (
	"context"
	"sync"
	"time"
)

// arrivals remembers for a moment who has just joined at this node. Whoever
// joins connects next, and would be looked up only to hear the same again.
type arrivals struct {
	mu        sync.Mutex
	now, last map[arrival]Visitor
	since     time.Time // of now
}

type arrival struct{ event, visitor string }

const (
	arrivalLife  = time.Second // each of two generations
	mostArrivals = 4096        // in each; who comes after is looked up
)

// turn makes now the last generation when its time is over.
func (a *arrivals) turn(at time.Time) {
	if age := at.Sub(a.since); age >= 0 && age < arrivalLife {
		return
	} else if age < 0 || age >= 2*arrivalLife {
		a.now = nil
	}
	a.last, a.now, a.since = a.now, nil, at
}

// joined notes a visitor as their join left them.
func (a *arrivals) joined(event string, v *Visitor, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.turn(at)
	if a.now == nil {
		a.now = make(map[arrival]Visitor)
	}
	if len(a.now) < mostArrivals {
		known := *v
		known.Receipt, known.Pass = "", ""
		a.now[arrival{event, v.ID}] = known
	}
}

// take finds who has just joined, once.
func (a *arrivals) take(event, visitor string, at time.Time) (Visitor, bool) {
	key := arrival{event, visitor}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.turn(at)
	for _, generation := range []map[arrival]Visitor{a.now, a.last} {
		if v, ok := generation[key]; ok {
			delete(generation, key)
			return v, true
		}
	}
	return Visitor{}, false
}

// Connecting is Present for somebody who connects to this node. Who joined here
// within the last second or two is not looked up: the caller has to ask what
// happened to them since, as it does for all it follows.
func (s *Service) Connecting(ctx context.Context, event, visitor string) (Visitor, error) {
	if v, ok := s.came.take(event, visitor, s.Now()); ok {
		return v, nil
	}
	return s.Present(ctx, event, visitor)
}
