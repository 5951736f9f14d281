package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	holdConnections = 64
	lockConnections = 50
)

// Tickets of the events of the hold rows.
const (
	holdFull  = 160_000 // in two events
	holdShort = 30_000  // in one
	holdEach  = 10      // that one buyer may have, and holds, one after the other
)

var _ = register(Row{
	Name: "hold", Order: 20,
	Figure:    "POST /v1/events/{id}/holds over 64 connections by shoppers with a pass, each request one ticket that nobody asked for before, held in Redis before the answer",
	Reference: "EVALSHA of a script that does SET key id NX PX, each a new key, over 50 connections by go-redis, on the same Redis",
	Unit:      PerSecond,
	Goal:      Goal{AtLeast: 0.45}, Stretch: Goal{AtLeast: 0.60},
	Runs:    struct{ Full, Short int }{5, 1},
	Prepare: func(ctx context.Context, env *Env) (Trial, error) { return prepareHold(ctx, env) },
})

var _ = register(Row{
	Name: "hold-latency", Order: 30,
	Figure:    "99th percentile of the time of the requests of row hold, sent at half of the rate that they reach, from when each is due to its answer",
	Reference: "99th percentile of the time of the EVALSHA of row hold, called at half of the rate that it reaches, counted likewise",
	Unit:      Micros,
	Goal:      Goal{AtMost: 5}, Stretch: Goal{AtMost: 3},
	Runs: struct{ Full, Short int }{9, 1}, // whatever else the machine does for a hundredth of a run is all of its figure
	Prepare: func(ctx context.Context, env *Env) (Trial, error) {
		t, err := prepareHold(ctx, env)
		return &holdLatencyTrial{t}, err
	},
})

// holdTrial has shoppers hold the seats of large events, one ticket after the
// other. After each run all holds are released, so that the next finds
// everything as the first did.
type holdTrial struct {
	servers  *Servers
	node     *Node
	locks    *redis.Client // of the reference, a database of its own
	digest   string        // of the reference's script
	duration time.Duration
	halls    []string
	tickets  int       // of all halls
	shoppers []shopper // of all halls in turns
	lock     atomic.Int64
}

func prepareHold(ctx context.Context, env *Env) (_ *holdTrial, err error) {
	t := &holdTrial{duration: env.MeasureFor()}
	halls, seats := 2, holdFull/2
	if env.Short {
		halls, seats = 1, holdShort
	}
	t.tickets = halls * seats
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Close())
		}
	}()
	if t.servers, err = StartServers(ctx, env.Options); err != nil {
		return nil, err
	}
	if t.node, err = t.servers.Serve(ctx); err != nil {
		return nil, err
	}
	admitted := make([][]shopper, halls)
	for n := range halls {
		e, err := t.node.createHouse(ctx, house{seats: seats, perRow: 40, maxPerBuyer: holdEach}, wideOpen())
		if err != nil {
			return nil, err
		}
		t.halls = append(t.halls, e.ID)
		if admitted[n], err = t.node.admit(ctx, e.ID, seats/holdEach); err != nil {
			return nil, err
		}
	}
	for n := range admitted[0] {
		for hall := range admitted {
			t.shoppers = append(t.shoppers, admitted[hall][n])
		}
	}
	o, err := redis.ParseURL(t.servers.RedisURL())
	if err != nil {
		return nil, err
	}
	o.DB, o.PoolSize, o.MinIdleConns = 1, lockConnections, lockConnections
	t.locks = redis.NewClient(o)
	// The file is rewritten whenever it has doubled, which would fall into one run
	// and not into the next.
	if err := t.locks.ConfigSet(ctx, "auto-aof-rewrite-percentage", "0").Err(); err != nil {
		return nil, err
	}
	t.digest, err = t.locks.ScriptLoad(ctx, `return redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])`).Result()
	return t, err
}

// asking is one run: each connection serves one shopper after the other, who asks
// for one ticket after the other.
type asking struct {
	t     *holdTrial
	limit int64        // how many shoppers may ask
	dealt atomic.Int64 // how many of them do, or have
	lines [holdConnections]askingLine
}

type askingLine struct {
	shopper int // who asks; -1 before the first
	asked   int // for how many tickets so far
	request []byte
	held    []heldBy
	gone    int // how many of held were released
}

type heldBy struct {
	shopper int
	hold    [holdID]byte
}

const holdID = 36 // bytes of a hold's id

func (t *holdTrial) asking() *asking {
	a := &asking{t: t, limit: int64(len(t.shoppers))}
	for c := range a.lines {
		a.lines[c].shopper = -1
	}
	return a
}

// next is the next request of a connection. Tickets are named by their numbers:
// the first shopper of a hall takes the first ten, and so on.
func (a *asking) next(connection int) []byte {
	l := &a.lines[connection]
	if l.shopper < 0 || l.asked == holdEach {
		n := a.dealt.Add(1) - 1
		if n >= a.limit {
			a.dealt.Add(-1)
			return nil
		}
		l.shopper, l.asked = int(n), 0
		s := a.t.shoppers[l.shopper]
		l.request = appendRequest(l.request[:0], http.MethodPost, "/v1/events/"+s.event+"/holds", a.t.node.host(), s.pass, []byte(`{"ordinals":[      ]}`))
	}
	setOrdinal(l.request, l.shopper/len(a.t.halls)*holdEach+l.asked)
	l.asked++
	return l.request
}

// setOrdinal writes a number into the space at the end of a request.
func setOrdinal(request []byte, ordinal int) {
	const space = 6
	at := request[len(request)-len("]}")-space:][:space]
	digits := strconv.AppendInt(at[:0:0], int64(ordinal), 10)
	copy(at[copy(at, "      "[:space-len(digits)]):], digits)
}

var holdMark = []byte(`"hold":"`)

// heard notes the hold that an answer tells of.
func (a *asking) heard(connection int, body []byte) error {
	l := &a.lines[connection]
	at := bytes.Index(body, holdMark) + len(holdMark)
	if at < len(holdMark) || len(body) < at+holdID {
		return fmt.Errorf("an answer names no hold: %.200s", body)
	}
	l.held = append(l.held, heldBy{l.shopper, [holdID]byte(body[at:])})
	return nil
}

func (a *asking) load() *load {
	return &load{address: a.t.node.host(), connections: holdConnections, status: http.StatusCreated, next: a.next, heard: a.heard}
}

// held is how many holds were answered.
func (a *asking) held() (n int) {
	for c := range a.lines {
		n += len(a.lines[c].held)
	}
	return n
}

// left is how many tickets nobody has asked for.
func (a *asking) left() int { return (len(a.t.shoppers) - int(a.dealt.Load())) * holdEach }

// settle holds the events against the answers, and then releases all holds.
func (a *asking) settle(ctx context.Context) error {
	if err := a.t.counts(ctx, a.held()); err != nil {
		return err
	}
	release := &load{
		address: a.t.node.host(), connections: holdConnections, status: http.StatusNoContent,
		next: func(connection int) []byte {
			l := &a.lines[connection]
			if l.gone == len(l.held) {
				return nil
			}
			h := &l.held[l.gone]
			l.gone++
			s := a.t.shoppers[h.shopper]
			l.request = appendRequest(l.request[:0], http.MethodDelete, "/v1/events/"+s.event+"/holds/"+string(h.hold[:]), a.t.node.host(), s.pass, nil)
			return l.request
		},
	}
	if _, err := release.all(ctx); err != nil {
		return fmt.Errorf("release the holds: %w", err)
	}
	return a.t.counts(ctx, 0)
}

// counts waits until so many tickets are held, not more, and all others can be had.
func (t *holdTrial) counts(ctx context.Context, held int) error {
	settled, cancel := context.WithTimeout(ctx, 5*time.Second) // what the API tells is some tenths of a second old
	defer cancel()
	var now Stock
	var err error
	return poll(settled, 100*time.Millisecond, func() bool {
		now = Stock{}
		for _, hall := range t.halls {
			var e event
			if e, err = t.node.event(settled, hall); err != nil || e.Tickets == nil {
				return false
			}
			now.Held += e.Tickets.Held
			now.Available += e.Tickets.Available
		}
		return now.Held == held && now.Available == t.tickets-held
	}, func() error {
		if err != nil {
			return err
		}
		return fmt.Errorf("%d holds of one ticket each were answered, but %d tickets are held and %d can be had", held, now.Held, now.Available)
	})
}

func (t *holdTrial) Measure(ctx context.Context) (float64, error) {
	a := t.asking()
	c, err := a.load().run(ctx, t.duration)
	if err != nil {
		return 0, err
	}
	return c.perSecond(), a.settle(ctx)
}

func (t *holdTrial) Reference(ctx context.Context) (float64, error) {
	c, err := closedLoop(ctx, lockConnections, t.duration, t.setLock)
	return c.perSecond(), errors.Join(err, t.dropLocks(ctx))
}

// setLock sets a lock as long as that of a ticket.
func (t *holdTrial) setLock(ctx context.Context) error {
	const hold = "01980000-0000-7000-8000-000000000000"
	key := "lock:{" + hold + "}:t:" + strconv.FormatInt(t.lock.Add(1), 10)
	answer, err := t.locks.EvalSha(ctx, t.digest, []string{key}, hold, 300_000).Text()
	if err == nil && answer != "OK" {
		err = fmt.Errorf("a lock was answered %q", answer)
	}
	return err
}

func (t *holdTrial) dropLocks(ctx context.Context) error { return t.locks.FlushDB(ctx).Err() }

func (t *holdTrial) Close() error { return closeAll(t.locks, t.node, t.servers) }

// holdLatencyTrial is the same at half load.
type holdLatencyTrial struct{ *holdTrial }

func (t *holdLatencyTrial) Measure(ctx context.Context) (float64, error) {
	return halfLoad(ctx, t.holds)
}

func (t *holdLatencyTrial) Reference(ctx context.Context) (float64, error) {
	return halfLoad(ctx, t.lockings)
}

// halfLoad is the 99th percentile of the times, in µs, that calls at half of their
// full rate take. A machine that does other things besides may not be able to make
// them at that rate, which is no half load then: full and half are measured again.
func halfLoad(ctx context.Context, measure func(ctx context.Context) (*pace, []time.Duration, error)) (float64, error) {
	const tries = 5
	var p *pace
	for range tries {
		var took []time.Duration
		var err error
		if p, took, err = measure(ctx); err != nil {
			return 0, err
		}
		if p.keptUp(took) {
			return float64(percentile(took, 0.99).Nanoseconds()) / 1e3, nil
		}
	}
	return 0, fmt.Errorf("%s calls a second, half of what was reached just before, keep all callers busy: the machine does too much besides", thousands(p.rate))
}

// holds finds out how many requests there are in a second with at most half of
// the tickets, and sends half as many.
func (t *holdLatencyTrial) holds(ctx context.Context) (*pace, []time.Duration, error) {
	a := t.asking()
	a.limit /= 2
	full, err := a.load().run(ctx, t.duration/4)
	if err != nil {
		return nil, nil, err
	}
	a.limit *= 2
	lines, err := a.load().open(ctx, t.duration+time.Minute)
	if err != nil {
		return nil, nil, err
	}
	defer lines.close()
	p := &pace{rate: full.perSecond() / 2, callers: holdConnections}
	enough := time.Duration(float64(a.left()) / p.rate * float64(time.Second))
	took, err := p.run(ctx, min(t.duration/2, enough), func(_ context.Context, connection int) error {
		more, _, err := lines[connection].exchange()
		if err == nil && !more {
			err = errors.New("there were no more tickets to ask for")
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return p, took, a.settle(ctx)
}

// lockings is the same for the reference.
func (t *holdLatencyTrial) lockings(ctx context.Context) (*pace, []time.Duration, error) {
	full, err := closedLoop(ctx, lockConnections, t.duration/4, t.setLock)
	if err != nil {
		return nil, nil, err
	}
	p := &pace{rate: full.perSecond() / 2, callers: lockConnections}
	took, err := p.run(ctx, t.duration/2, func(ctx context.Context, _ int) error { return t.setLock(ctx) })
	return p, took, errors.Join(err, t.dropLocks(ctx))
}
