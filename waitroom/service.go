package waitroom

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"onsale/internal/fault"
	"onsale/waitroom/pass"
)

// Options tune a Service. The zero value of each takes the default.
type Options struct {
	Tick           time.Duration // between two ticks of a room by this node; 1 s
	ShopGrace      time.Duration // how long one report of the shop is good; 5 s
	VisitorToken   time.Duration // validity of a visitor token; 30 days
	JoinsPerMinute int           // most new visitors per address; 0: no limit
	Suspicious     int           // new visitors per address and minute beyond which they are suspect; 0: no limit
	ChallengeBits  int           // of zeros a proof of work must have; 16
	SignIn         bool          // nobody joins without a user token
	Checkpoint     time.Duration // between two checkpoints to the Archive; 2 s
	ReturnWindow   time.Duration // how long a restored room waits for those who come back; 10 s; < 0: not at all
}

func (o Options) withDefaults() Options {
	set := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	set(&o.Tick, time.Second)
	set(&o.ShopGrace, 5*time.Second)
	set(&o.VisitorToken, 30*24*time.Hour)
	set(&o.Checkpoint, 2*time.Second)
	if o.ReturnWindow == 0 {
		o.ReturnWindow = 10 * time.Second
	}
	if o.ChallengeBits == 0 {
		o.ChallengeBits = 16
	}
	return o
}

// Deps is what a Service is made of. Store, Keys, Now and Logger are needed.
type Deps struct {
	Store      Store
	Archive    Archive // nil: rooms live in the store alone
	Keys       *pass.KeySet
	Identity   Identity // nil: nobody has a user token
	Now        func() time.Time
	Logger     *slog.Logger
	Registerer prometheus.Registerer // nil: no metrics
	Options    Options
}

// Service is the waiting room. See the package documentation for what it
// guarantees.
type Service struct {
	Deps

	metrics *metrics
	fetch   singleflight.Group
	polls   *pollers
	came    arrivals

	mu      sync.Mutex
	rooms   map[string]cached
	ledger  []Admission // not yet in the Archive
	lost    int         // admissions that were dropped from the ledger
	saved   map[string]saved
	refresh chan struct{} // asks for a checkpoint before its time
}

// cached is a room as last seen by this node.
type cached struct {
	room *Room     // not changed any more
	at   time.Time // by Now
}

// saved is what the Archive has of a room.
type saved struct {
	settings Settings
	at       time.Time // by Now
}

// New makes a Service. It does no I/O.
func New(d Deps) (*Service, error) {
	if d.Store == nil || d.Keys == nil || d.Now == nil || d.Logger == nil {
		return nil, errors.New("waitroom: Store, Keys, Now and Logger are required")
	}
	d.Options = d.Options.withDefaults()
	if d.Options.SignIn && d.Identity == nil {
		return nil, errors.New("waitroom: SignIn needs an Identity")
	}
	m, err := newMetrics(d.Registerer)
	if err != nil {
		return nil, fmt.Errorf("waitroom: %w", err)
	}
	return &Service{
		Deps: d, metrics: m, polls: newPollers(),
		rooms: make(map[string]cached), saved: make(map[string]saved), refresh: make(chan struct{}, 1),
	}, nil
}

// Me tells a visitor where they stand. It returns fault.UnknownVisitor, NotFound,
// Unavailable, and TooMany to somebody who asks more often than they were told.
func (s *Service) Me(ctx context.Context, event, visitor string) (Me, error) {
	if err := s.polled(event, visitor); err != nil {
		return Me{}, err
	}
	me, err := s.about(ctx, event, visitor, s.Present)
	if err == nil {
		s.polls.told(event, visitor, time.Duration(me.PollAfter)*time.Millisecond)
	}
	return me, err
}

// Claim takes a ready visitor's turn; the answer carries the pass. Claiming
// again gives the same pass. It returns fault.NotYourTurn, UnknownVisitor,
// NotFound, Unavailable, and ShopFull, after which the turn is still theirs.
func (s *Service) Claim(ctx context.Context, event, visitor string) (Me, error) {
	return s.about(ctx, event, visitor, s.Store.Claim)
}

// Leave ends a visitor's wait or turn. It returns fault.UnknownVisitor,
// NotFound and Unavailable.
func (s *Service) Leave(ctx context.Context, event, visitor string) (Me, error) {
	return s.about(ctx, event, visitor, s.Store.Leave)
}

// afterPurchase is how long a buyer who may buy more keeps their slot.
const afterPurchase = 2 * time.Minute

// Finish frees the slot of a visitor who has bought: at once when they may not
// buy more, else after two minutes. A visitor who is not shopping any more is no
// error. It returns fault.Unavailable.
func (s *Service) Finish(ctx context.Context, event, visitor string, more bool) error {
	var err error
	if more {
		_, err = s.Store.FinishSoon(ctx, event, visitor, afterPurchase)
	} else {
		_, err = s.Store.Finish(ctx, event, visitor)
	}
	if fault.Is(err, fault.UnknownVisitor) || fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// Present looks up a visitor who is there: whoever was skipped while away has
// their place back. It returns fault.UnknownVisitor, NotFound and Unavailable.
func (s *Service) Present(ctx context.Context, event, visitor string) (Visitor, error) {
	return s.Store.Visitor(ctx, event, visitor, true)
}

// LookUp says where a visitor is, without counting as a sign of them. It returns
// fault.UnknownVisitor, NotFound and Unavailable.
func (s *Service) LookUp(ctx context.Context, event, visitor string) (Visitor, error) {
	return s.Store.Visitor(ctx, event, visitor, false)
}

// Gone notes that the last connection of visitors dropped. It returns
// fault.NotFound and Unavailable.
func (s *Service) Gone(ctx context.Context, event string, visitors []string) error {
	return s.Store.Gone(ctx, event, visitors)
}

func (s *Service) about(ctx context.Context, event, visitor string,
	do func(ctx context.Context, event, visitor string) (Visitor, error),
) (Me, error) {
	v, err := do(ctx, event, visitor)
	if err != nil {
		return Me{}, err
	}
	return s.me(ctx, event, v)
}

func (s *Service) me(ctx context.Context, event string, v Visitor) (Me, error) {
	room, err := s.room(ctx, event)
	if err != nil {
		return Me{}, err
	}
	info := room.Info()
	if v.State == Waiting { // the room was looked at before the visitor was
		info.Waiting = max(info.Waiting, v.Ahead+1)
	}
	return s.Compose(room, info, &v), nil
}

var unlikely = "unlikely" // what Me.Chance says

// Compose says what v is told in room, of which info is room.Info(). It signs
// v's receipt and pass, unless v has them, and leaves them there.
func (s *Service) Compose(room *Room, info RoomInfo, v *Visitor) Me {
	me := Me{Visitor: v.ID, State: v.State, Room: info, AsOf: v.AsOf}
	switch v.State {
	case Away: // a moment ago
		me.State = Waiting
		fallthrough
	case InLobby, Waiting:
		if room.State == Closed {
			me.State = ShutOut
		}
	}
	if v.Lane != NoLane {
		me.Lane = &lanes[v.Lane]
	}
	if v.Place > 0 {
		me.Place = &v.Place
	}
	switch me.State {
	case InLobby:
		me.Index = &v.Index
	case Waiting:
		me.Ahead = &v.Ahead
		me.Wait = room.Wait(v.Ahead)
		if room.Unlikely(v.Ahead) {
			me.Chance = &unlikely
		}
	case Ready:
		me.Ahead = new(int)
		me.ClaimBy = &v.Until
	case Shopping:
		me.Ahead = new(int)
		me.LeaseEnds = &v.Until
		if v.Pass == "" {
			v.Pass = s.Keys.SignPass(pass.Pass{Visitor: v.ID, Event: room.Event, Claimed: v.Claimed, Expires: v.Until})
		}
		me.Pass = &v.Pass
	}
	switch me.State {
	case InLobby, Waiting, Ready, Shopping:
		if v.Receipt == "" && (v.Place > 0 || v.Index > 0) {
			v.Receipt = s.Keys.SignReceipt(pass.Receipt{
				Visitor: v.ID, Event: room.Event, Place: v.Place, Lane: int(v.Lane), Index: v.Index, Epoch: v.Epoch,
			})
		}
		me.Receipt = said(v.Receipt)
	}
	me.PollAfter = int(pollAfter(&me) / time.Millisecond)
	return me
}

// pollAfter is when somebody who polls should come back: soon near the front,
// seldom far back, and never all at once.
func pollAfter(me *Me) time.Duration {
	d := 5 * time.Second
	switch me.State {
	case Waiting:
		d = Pulse(*me.Ahead)
	case Ready:
		d = time.Second
	case Shopping, Done, Left, Expired, ShutOut:
		d = 15 * time.Second
	}
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}

// Pulse is how often somebody with so many people ahead is told their number.
func Pulse(ahead int) time.Duration {
	switch {
	case ahead < 100:
		return time.Second
	case ahead < 1000:
		return 5 * time.Second
	default:
		return min(5*time.Second+time.Duration(ahead/1000)*time.Second, 15*time.Second)
	}
}

// Room returns a room; it may be as old as two ticks. It returns fault.NotFound
// and Unavailable.
func (s *Service) Room(ctx context.Context, event string) (Room, error) {
	room, err := s.room(ctx, event)
	if err != nil {
		return Room{}, err
	}
	return *room, nil
}

// room is Room without a copy: all who ask within a tick are given the same, and
// must not change it.
func (s *Service) room(ctx context.Context, event string) (*Room, error) {
	s.mu.Lock()
	c, ok := s.rooms[event]
	s.mu.Unlock()
	if ok && s.Now().Sub(c.at) < s.Options.Tick {
		return c.room, nil
	}
	room, err := s.look(ctx, event)
	return &room, err
}

// look fetches a room, once for all who ask at the same time.
func (s *Service) look(ctx context.Context, event string) (Room, error) {
	// The one who fetches must not be cut short by their own impatience alone.
	fetched := s.fetch.DoChan(event, func() (any, error) {
		shared := context.WithoutCancel(ctx)
		room, err := s.Store.Room(shared, event)
		if fault.Is(err, fault.NotFound) && s.Archive != nil {
			if err := s.rebuild(shared, event); err != nil {
				return Room{}, err
			}
			room, err = s.Store.Room(shared, event)
		}
		if err == nil {
			s.saw(room)
		}
		return room, err
	})
	select {
	case r := <-fetched:
		return r.Val.(Room), r.Err
	case <-ctx.Done():
		return Room{}, ctx.Err()
	}
}

// saw remembers a room for those who ask within the next tick.
func (s *Service) saw(room Room) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rooms[room.Event] = cached{room: &room, at: s.Now()}
}

// forget makes the next reader fetch the room anew.
func (s *Service) forget(event string) {
	s.fetch.Forget(event)
	s.mu.Lock()
	delete(s.rooms, event)
	s.mu.Unlock()
	s.checkpointSoon()
}

// checkpointSoon asks for a checkpoint before its time.
func (s *Service) checkpointSoon() {
	select {
	case s.refresh <- struct{}{}:
	default: // asked already
	}
}

// Survey returns a room and what q asks for, as of one moment, and shares the
// room with those who ask for it within the next tick.
func (s *Service) Survey(ctx context.Context, event string, q Query) (Survey, error) {
	v, err := s.Store.Survey(ctx, event, q)
	if err == nil {
		s.saw(v.Room)
	}
	return v, err
}

// Rooms returns all rooms, by event.
func (s *Service) Rooms(ctx context.Context) ([]Room, error) {
	events, err := s.Store.Rooms(ctx)
	if err != nil {
		return nil, err
	}
	slices.Sort(events)
	rooms := make([]Room, 0, len(events))
	for _, event := range events {
		room, err := s.Room(ctx, event)
		if fault.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		rooms = append(rooms, room)
	}
	return rooms, nil
}

// News calls f with what changes in the rooms, until ctx ends.
func (s *Service) News(ctx context.Context, f func(News)) error {
	return s.Store.News(ctx, func(n News) {
		if n.Event != "" && len(n.Visitors) == 0 {
			s.mu.Lock()
			delete(s.rooms, n.Event)
			s.mu.Unlock()
		}
		f(n)
	})
}
