package simulate

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"onsale/internal/fault"
	"onsale/waitroom"
	"onsale/waitroom/pass"
	"onsale/waitroom/redisstore"
)

const (
	event        = "simulation"
	step         = time.Second    // between two moments of the simulation
	longest      = 72 * time.Hour // of a sale
	slowestClaim = 20 * time.Second
	askEvery     = 10 // seconds; so often some people are asked what their page says
	askAtOnce    = 20
	turnsAtOnce  = 1000
	shopIsWell   = 5 * time.Second
	leastShop    = 5 // seconds somebody shops
)

// begins is when every simulation begins.
var begins = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

// sale is one run.
type sale struct {
	o       Options
	clock   *clock
	store   waitroom.Store
	service *waitroom.Service
	random  *rand.Rand
	opens   int // second of the opening
	second  int

	people  []person
	line    []int32         // who waits or gathers, in no order
	due     map[int][]chore // by second
	free    int             // tickets
	held    int
	checked checks
	report  Report
}

// person is a visitor. Seconds are of the simulation; -1 is never.
type person struct {
	joined   int32
	admitted int32
	at       int32 // in sale.line; -1: not there
	index    int64 // in the lobby; 0: joined later
	place    int64 // of who joined after the opening
	tickets  int32 // in their hands
}

// chore is what somebody does at a second.
type chore struct {
	who  int32
	what int
}

const (
	claims = iota
	buys
	leaves
	lapses // the lease ends, and the tickets in their hands are free again
)

// Run plays a sale in the Redis of rdb, which must be empty and stays behind as the
// sale left it. progress is called after every minute of the sale; it may be nil. The
// error is fault.Invalid for options that are out of bounds. What the run shows to be
// wrong with the room is no error, but in Report.Checks.
func Run(ctx context.Context, rdb redis.UniversalClient, o Options, progress func(Minute)) (*Report, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	began := time.Now()
	s := &sale{
		o: o, clock: newClock(rdb), random: rand.New(rand.NewPCG(o.Seed, 0)), opens: int(o.Lobby / step),
		due: make(map[int][]chore), free: o.Tickets,
		report: Report{Options: o},
	}
	s.store = redisstore.New(rdb).WithOptions(redisstore.Options{Timeout: 30 * time.Second})
	var err error
	s.service, err = waitroom.New(waitroom.Deps{
		Store: s.store, Keys: pass.Generate(), Now: s.now, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	if err := s.clock.set(ctx, s.now()); err != nil {
		return nil, err
	}
	secret := sha256.Sum256(binary.BigEndian.AppendUint64(nil, o.Seed))
	created, err := s.store.Seed(ctx, waitroom.Settings{
		Event: event, Name: "Simulation", State: waitroom.Lobby, OpensAt: begins.Add(o.Lobby), Order: o.Order, Throttle: o.Throttle,
		Challenge: waitroom.ChallengeOff, Autopilot: waitroom.DefaultAutopilot(), Epoch: 1,
		Draw: waitroom.Draw{Secret: hex.EncodeToString(secret[:])},
	}, 0, 0)
	if err != nil {
		return nil, err
	}
	if !created {
		return nil, fault.New(fault.Conflict, "this Redis has a simulation already")
	}
	s.checked.pace.init(o.Throttle)
	if err := s.run(ctx, progress); err != nil {
		return nil, fmt.Errorf("%s after the begin: %w", time.Duration(s.second)*step, err)
	}
	s.report.Took = time.Since(began)
	return &s.report, nil
}

func (s *sale) now() time.Time { return begins.Add(time.Duration(s.second) * step) }

func (s *sale) run(ctx context.Context, progress func(Minute)) error {
	arrivals := s.arrivals()
	s.people = make([]person, len(arrivals))
	came := 0
	for ; time.Duration(s.second)*step < longest; s.second++ {
		if err := s.clock.set(ctx, s.now()); err != nil {
			return err
		}
		err := s.store.Shop(ctx, event, waitroom.ShopReport{Well: shopIsWell, Available: s.free, Held: s.held, PerBuyer: s.o.PerBuyer})
		if err != nil {
			return err
		}
		for _, c := range s.due[s.second] {
			if err := s.do(ctx, c); err != nil {
				return err
			}
		}
		delete(s.due, s.second)
		for ; came < len(arrivals) && int(arrivals[came]) <= s.second; came++ {
			if err := s.join(ctx, int32(came)); err != nil {
				return err
			}
		}
		if err := s.service.TickAll(ctx); err != nil {
			return err
		}
		if err := s.follow(ctx); err != nil {
			return err
		}
		room, err := s.store.Room(ctx, event)
		if err != nil {
			return err
		}
		if !room.AsOf.Equal(s.now()) {
			return fmt.Errorf("a script sees %s when it is %s", room.AsOf, s.now())
		}
		if room.State == waitroom.Closed && room.ClosedReason == "sold_out" && s.report.SoldOut == nil {
			after := s.second - s.opens
			s.report.SoldOut = &after
		}
		s.checked.shoppers(s.second, room.Shopping, s.o.Throttle.MaxShoppers)
		if s.second%askEvery == 0 {
			if err := s.ask(ctx, &room); err != nil {
				return err
			}
		}
		over := came == len(arrivals) && len(s.due) == 0 && room.Ready+room.Shopping == 0 && !room.Moving &&
			(room.Waiting == 0 && s.second > s.opens || room.State == waitroom.Closed)
		if s.second%60 == 0 || over {
			m := s.minute(&room)
			if progress != nil {
				progress(m)
			}
		}
		if over {
			return s.end(ctx, &room)
		}
	}
	return fault.New(fault.Conflict, "the sale is not over after %v: are rate and shoppers enough for so many people?", longest)
}

// arrivals are the seconds at which people come, ascending. Before the opening they
// come evenly; afterwards most come at first, and fewer and fewer.
func (s *sale) arrivals() []int32 {
	out := make([]int32, s.o.Visitors)
	for i := range out {
		if s.random.Float64() < s.o.Early {
			out[i] = int32(s.random.Float64() * float64(s.opens))
		} else {
			out[i] = int32(float64(s.opens) + (1-math.Sqrt(1-s.random.Float64()))*s.o.Arrive.Seconds())
		}
	}
	slices.Sort(out)
	return out
}

func name(who int32) string { return "v" + strconv.Itoa(int(who)) }

func (s *sale) join(ctx context.Context, who int32) error {
	p := &s.people[who]
	*p = person{joined: int32(s.second), admitted: -1, at: -1}
	v, _, err := s.store.Join(ctx, event, waitroom.Join{Visitor: name(who), Fresh: true})
	if fault.Is(err, fault.RoomClosed) {
		s.report.TurnedAway++
		return nil
	}
	if err != nil {
		return err
	}
	p.index = v.Index
	if p.index == 0 {
		p.place = v.Place
	}
	p.at = int32(len(s.line))
	s.line = append(s.line, who)
	return nil
}

// follow learns who was admitted since, and whose turn has ended, from what the room
// says to those who keep it.
func (s *sale) follow(ctx context.Context) error {
	var admitted []waitroom.Turn
	for {
		u, err := s.store.Unsaved(ctx, event, turnsAtOnce)
		if err != nil {
			return err
		}
		for _, t := range u.Turns {
			if t.State == waitroom.Ready {
				admitted = append(admitted, t)
			}
			if t.State == waitroom.Expired && t.Claimed.IsZero() {
				s.report.Missed++
			}
		}
		if err := s.store.Saved(ctx, event, u); err != nil {
			return err
		}
		if len(u.Turns) < turnsAtOnce {
			break
		}
	}
	slices.SortFunc(admitted, func(a, b waitroom.Turn) int { return cmp.Compare(a.Place, b.Place) })
	s.checked.pace.admitted(s.second, len(admitted))
	for _, t := range admitted {
		n, err := strconv.ParseInt(t.Visitor[1:], 10, 32) // see name
		if err != nil {
			return err
		}
		who := int32(n)
		s.checked.inOrder(s.second, t.Place)
		p := &s.people[who]
		if p.admitted >= 0 {
			s.checked.twice++
			continue
		}
		p.admitted = int32(s.second)
		s.checked.placed(p, t.Place)
		s.gone(p)
		if s.random.Float64() >= s.o.NoShow {
			s.later(1+s.random.IntN(int(min(slowestClaim, s.o.Throttle.ClaimWindow/2)/step)), who, claims)
		}
	}
	return nil
}

// gone takes somebody out of the line.
func (s *sale) gone(p *person) {
	last := len(s.line) - 1
	moved := s.line[last]
	s.line[p.at] = moved
	s.people[moved].at = p.at
	s.line = s.line[:last]
	p.at = -1
}

func (s *sale) later(seconds int, who int32, what int) {
	s.due[s.second+seconds] = append(s.due[s.second+seconds], chore{who, what})
}

// do has somebody do what they have come to.
func (s *sale) do(ctx context.Context, c chore) error {
	p := &s.people[c.who]
	n := int(p.tickets)
	switch c.what {
	case claims:
		return s.claim(ctx, c.who)
	case buys:
		s.report.Sold, s.report.Buyers = s.report.Sold+n, s.report.Buyers+1
		s.held -= n
		return s.service.Finish(ctx, event, name(c.who), s.o.PerBuyer > n)
	case leaves:
		s.report.LeftWithout++
		s.held, s.free = s.held-n, s.free+n
		_, err := s.store.Leave(ctx, event, name(c.who))
		return err
	case lapses:
		s.report.Lapsed++
		s.held, s.free = s.held-n, s.free+n
	}
	return nil
}

func (s *sale) claim(ctx context.Context, who int32) error {
	v, err := s.store.Claim(ctx, event, name(who))
	switch fault.CodeOf(err) {
	case "":
	case fault.ShopFull: // their turn is kept
		s.later(1, who, claims)
		return nil
	case fault.NotYourTurn: // it is over
		return nil
	default:
		return err
	}
	s.report.Claimed++
	p := &s.people[who]
	p.tickets = int32(min(s.o.PerOrder, s.free))
	if p.tickets == 0 {
		s.report.NothingLeft++
		s.later(leastShop, who, leaves)
		return nil
	}
	s.free, s.held = s.free-int(p.tickets), s.held+int(p.tickets)
	stay := leastShop + int(s.random.ExpFloat64()*max(0, s.o.ShopTime.Seconds()-leastShop))
	lease := int(v.Until.Sub(s.now()) / step)
	switch {
	case stay >= lease:
		s.later(lease, who, lapses)
	case s.random.Float64() < s.o.Buy:
		s.later(stay, who, buys)
	default:
		s.later(stay, who, leaves)
	}
	return nil
}

// ask has some of those who wait say what their page tells them.
func (s *sale) ask(ctx context.Context, room *waitroom.Room) error {
	if room.State != waitroom.Open || room.Moving {
		return nil
	}
	for range min(askAtOnce, len(s.line)) {
		who := s.line[s.random.IntN(len(s.line))]
		v, err := s.store.Visitor(ctx, event, name(who), false)
		if err != nil {
			return err
		}
		s.report.asked = append(s.report.asked, asked{who: who, second: int32(s.second), wait: room.Wait(v.Ahead), unlikely: room.Unlikely(v.Ahead)})
	}
	return nil
}

func (s *sale) minute(room *waitroom.Room) Minute {
	m := Minute{
		At: s.second - s.opens, State: room.State, Waiting: room.Waiting, Ready: room.Ready, Shopping: room.Shopping,
		Admitted: int(room.Admitted), Sold: s.report.Sold,
	}
	s.report.Minutes = append(s.report.Minutes, m)
	return m
}

// end is when nobody waits or shops any more.
func (s *sale) end(ctx context.Context, room *waitroom.Room) error {
	r := &s.report
	r.Lasted = s.second - s.opens
	r.Admitted = int(room.Admitted)
	r.InVain = len(s.line)
	var waits []int
	for i := range s.people {
		if p := &s.people[i]; p.admitted >= 0 {
			waits = append(waits, int(p.admitted)-max(int(p.joined), s.opens))
		}
	}
	r.Waits = spreadOf(waits)
	r.Estimate = s.estimates()
	if s.o.Order == waitroom.DrawOrder {
		proof := room.Proof()
		s.checked.draw(&proof, s.people)
	}
	if room.Admitted != int64(len(waits)) {
		s.checked.twice += int(room.Admitted) - len(waits)
	}
	r.Checks = s.checked.results(s.o, r)
	return ctx.Err()
}
