package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// The herd and what it is after.
const (
	herdSize  = 2000
	herdPair  = 2
	herdSeats = 8000
)

var _ = register(Row{
	Name: "herd", Order: 130,
	Figure:  "99th percentile of the time until 2,000 buyers who ask at once have their answers, each for the best two seats next to each other of 8,000; the next 2,000 get the rest, and a third 2,000 are told that it is sold out; the slowest of these waves",
	Unit:    Millis,
	Stretch: Goal{Below: 250},
	Runs:    struct{ Full, Short int }{5, 1},
	Prepare: prepareHerd,
})

type herdTrial struct {
	servers *Servers
	node    *Node
}

func prepareHerd(ctx context.Context, env *Env) (_ Trial, err error) {
	if err := fits(herdSize); err != nil {
		return nil, err
	}
	t := new(herdTrial)
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Close())
		}
	}()
	if t.servers, err = StartServers(ctx, env.Options); err != nil {
		return nil, err
	}
	t.node, err = t.servers.Serve(ctx)
	return t, err
}

// Measure has wave after wave ask for a new event, over the same connections. It
// fails unless every seat ends up in a pair, and nobody is refused before.
func (t *herdTrial) Measure(ctx context.Context) (_ float64, err error) {
	e, err := t.node.createHouse(ctx, house{seats: herdSeats, perRow: 40}, wideOpen())
	if err != nil {
		return 0, err
	}
	const selling = herdSeats / herdPair / herdSize // waves
	buyers, err := t.node.admit(ctx, e.ID, (selling+1)*herdSize)
	if err != nil {
		return 0, err
	}
	conns, err := t.connect(ctx)
	defer func() {
		for _, c := range conns {
			_ = c.conn.Close()
		}
	}()
	if err != nil {
		return 0, err
	}
	taken := make(map[int]bool, herdSeats)
	var slowest time.Duration
	for wave := range selling + 1 {
		answers, err := t.ask(ctx, conns, buyers[wave*herdSize:][:herdSize])
		if err != nil {
			return 0, fmt.Errorf("wave %d: %w", wave+1, err)
		}
		if wave < selling {
			err = pairs(answers, taken)
		} else {
			err = soldOut(answers)
		}
		if err != nil {
			return 0, fmt.Errorf("wave %d: %w", wave+1, err)
		}
		took := make([]time.Duration, len(answers))
		for i := range answers {
			took[i] = answers[i].took
		}
		slowest = max(slowest, percentile(took, 0.99))
	}
	if len(taken) != herdSeats {
		return 0, fmt.Errorf("%d of %d seats were held", len(taken), herdSeats)
	}
	return float64(slowest.Nanoseconds()) / 1e6, t.node.allHeld(ctx, e.ID)
}

// connect opens a connection for each of a wave, and asks something on each, so
// that the program knows it.
func (t *herdTrial) connect(ctx context.Context) ([]*caller, error) {
	conns := make([]*caller, herdSize)
	hello := requestBytes(http.MethodGet, "/healthz", t.node.host(), nil)
	g, running := errgroup.WithContext(ctx)
	g.SetLimit(crowdAtOnce)
	for n := range conns {
		g.Go(func() error {
			c, err := call(running, t.node.host(), source(n))
			if err != nil {
				return err
			}
			conns[n] = c
			if err := c.send(hello); err != nil {
				return err
			}
			status, _, err := readAnswer(c.r, nil)
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("the program answered %d", status)
			}
			return err
		})
	}
	err := g.Wait()
	opened := conns[:0]
	for _, c := range conns {
		if c != nil {
			opened = append(opened, c)
		}
	}
	return opened, err
}

// bestAnswer is what came of asking for the best two seats.
type bestAnswer struct {
	took   time.Duration // from when all asked
	status int
	body   []byte
}

// ask has every buyer ask at the same moment, each on a connection of their own.
func (t *herdTrial) ask(ctx context.Context, conns []*caller, buyers []shopper) ([]bestAnswer, error) {
	var ready sync.WaitGroup
	ready.Add(len(buyers))
	now := make(chan struct{})
	var began time.Time
	answers := make([]bestAnswer, len(buyers))
	var g errgroup.Group
	body := fmt.Appendf(nil, `{"best_available":{"quantity":%d}}`, herdPair)
	for n, b := range buyers {
		g.Go(func() error {
			request := appendRequest(nil, http.MethodPost, "/v1/events/"+b.event+"/holds", t.node.host(), b.pass, body)
			ready.Done()
			<-now
			if err := conns[n].send(request); err != nil {
				return err
			}
			a := &answers[n]
			var err error
			a.status, _, err = readAnswer(conns[n].r, &a.body)
			a.took = time.Since(began)
			return err
		})
	}
	ready.Wait()
	began = time.Now()
	close(now)
	return answers, errors.Join(g.Wait(), ctx.Err())
}

// pairs holds the answers of a wave that finds seats against what was taken
// before, and notes what it took: everybody has two seats next to each other that
// nobody else has.
func pairs(answers []bestAnswer, taken map[int]bool) error {
	for i := range answers {
		a := &answers[i]
		if a.status != http.StatusCreated {
			return fmt.Errorf("a buyer was answered %d after %d seats were held: %.300s", a.status, len(taken), a.body)
		}
		var h held
		if err := json.Unmarshal(a.body, &h); err != nil {
			return err
		}
		if err := adjacent(h.Tickets, herdPair); err != nil {
			return err
		}
		for _, s := range h.Tickets {
			if taken[s.Ordinal] {
				return fmt.Errorf("seat %d is held twice", s.Ordinal)
			}
			taken[s.Ordinal] = true
		}
	}
	return nil
}

// soldOut is an error unless everybody was told that nothing is left.
func soldOut(answers []bestAnswer) error {
	for i := range answers {
		a := &answers[i]
		var problem struct{ Type string }
		if err := json.Unmarshal(a.body, &problem); err != nil {
			return fmt.Errorf("a buyer was answered %d: %.300s", a.status, a.body)
		}
		u, err := url.Parse(problem.Type)
		if err != nil || a.status != http.StatusConflict || lastSegment(u.Path) != "sold-out" {
			return fmt.Errorf("a buyer was answered %d instead of that it is sold out: %.300s", a.status, a.body)
		}
	}
	return nil
}

// allHeld waits until the API says of every ticket that it is held.
func (n *Node) allHeld(ctx context.Context, id string) error {
	settled, cancel := context.WithTimeout(ctx, 5*time.Second) // what the API tells is some tenths of a second old
	defer cancel()
	var e event
	var err error
	return poll(settled, 50*time.Millisecond, func() bool {
		e, err = n.event(settled, id)
		return err == nil && e.Tickets != nil && e.Tickets.Held == e.Tickets.Total && e.Tickets.Held == herdSeats
	}, func() error {
		if err != nil || e.Tickets == nil {
			return errOr(err, "the event tells nothing about its tickets")
		}
		return fmt.Errorf("of %d seats %d are held and %d can be had", e.Tickets.Total, e.Tickets.Held, e.Tickets.Available)
	})
}

func (t *herdTrial) Reference(context.Context) (float64, error) { return 0, nil }
func (t *herdTrial) Close() error                               { return closeAll(nil, t.node, t.servers) }
