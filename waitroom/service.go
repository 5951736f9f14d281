package waitroom

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"onsale/internal/fault"
	"onsale/waitroom/pass"
)

// Options tune a Service. The zero value of each takes the default.
type Options struct {
	Tick           time.Duration // between two ticks of a room by this node; 1 s
	ShopGrace      time.Duration // how long one ShopOK is good; 5 s
	VisitorToken   time.Duration // validity of a visitor token; 30 days
	JoinsPerMinute int           // most new visitors per address; 0: no limit
	Checkpoint     time.Duration // between two checkpoints to the Archive; 2 s
	ReturnWindow   time.Duration // how long a restored room waits for those who come back; 5 s
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
	set(&o.ReturnWindow, 5*time.Second)
	return o
}

// Deps is what a Service is made of. Store, Keys, Now and Logger are needed.
type Deps struct {
	Store      Store
	Archive    Archive // nil: rooms live in the store alone
	Keys       *pass.KeySet
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

	mu      sync.Mutex
	rooms   map[string]cached
	ledger  []Admission // not yet in the Archive
	lost    int         // admissions that were dropped from the ledger
	saved   map[string]saved
	refresh chan struct{} // asks for a checkpoint before its time
}

// cached is a room as last seen by this node.
type cached struct {
	room Room
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
	m, err := newMetrics(d.Registerer)
	if err != nil {
		return nil, fmt.Errorf("waitroom: %w", err)
	}
	return &Service{
		Deps: d, metrics: m,
		rooms: make(map[string]cached), saved: make(map[string]saved), refresh: make(chan struct{}, 1),
	}, nil
}

// JoinRequest is who wants to join a room.
type JoinRequest struct {
	Event   string
	Visitor string // whose token was shown; "" makes a new visitor
	Receipt string // of a place they had; "" for none
	Address string // IP address they come from; "" is never limited
}

// Join gives a visitor a place in the room, or finds the one they have. A
// receipt that does not verify is ignored: it is a help, not a demand. Without
// a visitor, a good receipt brings back the visitor it was made for. It returns
// fault.NotFound, RoomClosed, TooMany and Unavailable.
func (s *Service) Join(ctx context.Context, r JoinRequest) (Joined, error) {
	j := Join{Visitor: r.Visitor, PerAddress: s.Options.JoinsPerMinute}
	made := false
	if r.Receipt != "" {
		receipt, err := s.Keys.Receipt(r.Receipt, r.Event)
		if err == nil && (r.Visitor == "" || r.Visitor == receipt.Visitor) {
			made = r.Visitor == ""
			j.Visitor, j.Place, j.Epoch = receipt.Visitor, receipt.Place, receipt.Epoch
		}
	}
	if j.Visitor == "" {
		j.Visitor, j.Fresh, made = pass.NewVisitor(), true, true
	}
	if !pass.ValidVisitor(j.Visitor) {
		return Joined{}, fault.New(fault.Unauthorized, "the visitor's id is not valid")
	}
	if r.Address == "" {
		j.PerAddress = 0
	}
	if j.PerAddress > 0 {
		j.Address = s.Keys.Pseudonym(network(r.Address))
	}
	v, outcome, err := s.join(ctx, r.Event, j)
	if err != nil {
		if fault.Is(err, fault.TooMany) {
			s.metrics.refused.Inc()
		}
		return Joined{}, err
	}
	switch outcome {
	case Placed:
		s.metrics.joins.WithLabelValues("new").Inc()
	case Restored:
		s.metrics.joins.WithLabelValues("restored").Inc()
	case Found:
		s.metrics.joins.WithLabelValues("found").Inc()
	}
	if outcome == Placed && v.State == Ready {
		s.admitted(Admission{Event: r.Event, At: v.Admitted, Count: 1, Cursor: v.Place})
	}
	me, err := s.me(ctx, r.Event, v)
	if err != nil {
		return Joined{}, err
	}
	joined := Joined{Me: me}
	if made {
		joined.VisitorToken = s.Keys.SignVisitor(v.ID, s.Now().Add(s.Options.VisitorToken))
	}
	return joined, nil
}

// join joins, once more after rebuilding the room if the store has lost it.
func (s *Service) join(ctx context.Context, event string, j Join) (Visitor, Outcome, error) {
	v, outcome, err := s.Store.Join(ctx, event, j)
	if fault.Is(err, fault.NotFound) && s.Archive != nil {
		if again := s.rebuild(ctx, event); again != nil {
			return Visitor{}, 0, again
		}
		return s.Store.Join(ctx, event, j)
	}
	return v, outcome, err
}

// network is the part of an address that counts as one joiner: the address
// itself, but the /64 of an IPv6 address, which is what one line is given.
func network(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	a = a.Unmap().WithZone("")
	if a.Is6() {
		p, _ := a.Prefix(64) // 64 bits fit
		return p.String()
	}
	return a.String()
}

// Me tells a visitor where they stand. It returns fault.UnknownVisitor,
// NotFound and Unavailable.
func (s *Service) Me(ctx context.Context, event, visitor string) (Me, error) {
	return s.about(ctx, event, visitor, s.Store.Visitor)
}

// Claim takes a ready visitor's turn; the answer carries the pass. Claiming
// again gives the same pass. It returns fault.NotYourTurn, UnknownVisitor,
// NotFound and Unavailable.
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

// LookUp says where a visitor is, for the support desk. It returns
// fault.UnknownVisitor, NotFound and Unavailable.
func (s *Service) LookUp(ctx context.Context, event, visitor string) (Visitor, error) {
	return s.Store.Visitor(ctx, event, visitor)
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
	room, err := s.Room(ctx, event)
	if err != nil {
		return Me{}, err
	}
	info := room.Info()
	if v.State == Waiting { // the room was looked at before the visitor was
		info.Waiting = max(info.Waiting, v.Ahead+1)
	}
	return s.Compose(&room, info, &v), nil
}

// Compose says what v is told in room, of which info is room.Info(). It signs
// v's receipt and pass, unless v has them, and leaves them there.
func (s *Service) Compose(room *Room, info RoomInfo, v *Visitor) Me {
	me := Me{Visitor: v.ID, State: v.State, Room: info, AsOf: v.AsOf}
	switch v.State {
	case InLobby, Waiting:
		if room.State == Closed {
			me.State = ShutOut
		}
	}
	if v.Place > 0 {
		me.Place = &v.Place
	}
	switch me.State {
	case Waiting:
		me.Ahead = &v.Ahead
		me.Wait = room.Wait(v.Ahead)
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
	case Waiting, Ready, Shopping:
		if v.Receipt == "" {
			v.Receipt = s.Keys.SignReceipt(pass.Receipt{Visitor: v.ID, Event: room.Event, Place: v.Place, Epoch: v.Epoch, Lane: 4})
		}
		me.Receipt = &v.Receipt
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
	s.mu.Lock()
	c, ok := s.rooms[event]
	s.mu.Unlock()
	if ok && s.Now().Sub(c.at) < s.Options.Tick {
		return c.room, nil
	}
	return s.look(ctx, event)
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
	s.rooms[room.Event] = cached{room: room, at: s.Now()}
}

// forget makes the next reader fetch the room anew.
func (s *Service) forget(event string) {
	s.fetch.Forget(event)
	s.mu.Lock()
	delete(s.rooms, event)
	s.mu.Unlock()
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

// Seed creates the room unless it is there. It returns fault.Invalid and
// Unavailable.
func (s *Service) Seed(ctx context.Context, settings Settings) (created bool, err error) {
	if settings.State == "" {
		settings.State = Open
	}
	if settings.Epoch == 0 {
		settings.Epoch = 1
	}
	if err := settings.Validate(); err != nil {
		return false, err
	}
	created, err = s.Store.Seed(ctx, settings, s.Options.ReturnWindow)
	if created {
		s.forget(settings.Event)
	}
	return created, err
}

// Configure changes the throttle of a room; it works from the next tick on. It
// returns fault.Invalid, NotFound and Unavailable.
func (s *Service) Configure(ctx context.Context, event string, p ThrottlePatch) error {
	if err := p.Validate(); err != nil {
		return err
	}
	if p.IsEmpty() {
		_, err := s.look(ctx, event)
		return err
	}
	defer s.forget(event)
	return s.Store.Configure(ctx, event, p)
}

// Open opens the door: those in the lobby get their places and the line moves.
// It returns fault.Conflict when the room is open or paused, NotFound and
// Unavailable.
func (s *Service) Open(ctx context.Context, event string) error {
	return s.change(ctx, event, Open, "", Scheduled, Lobby, Closed)
}

// Pause stops the line; everyone keeps their place, and shoppers go on. It
// returns fault.Conflict unless the room is open, NotFound and Unavailable.
func (s *Service) Pause(ctx context.Context, event string) error {
	return s.change(ctx, event, Paused, "", Open)
}

// Resume lets a paused line move again. It returns fault.Conflict unless the
// room is paused, NotFound and Unavailable.
func (s *Service) Resume(ctx context.Context, event string) error {
	return s.change(ctx, event, Open, "", Paused)
}

// Drain lets in those who are in line and nobody else, and then closes. It
// returns fault.Conflict unless the room is open or paused, NotFound and
// Unavailable.
func (s *Service) Drain(ctx context.Context, event string) error {
	return s.change(ctx, event, Draining, "", Open, Paused)
}

// Close ends the line for everybody who waits; shoppers keep their leases. The
// reason, such as "sold_out", is shown. It returns fault.Conflict when the room
// is closed, Invalid, NotFound and Unavailable.
func (s *Service) Close(ctx context.Context, event, reason string) error {
	if err := checkText("reason", reason, 100); err != nil {
		return err
	}
	return s.change(ctx, event, Closed, reason, Scheduled, Lobby, Open, Paused, Draining)
}

func (s *Service) change(ctx context.Context, event string, to State, reason string, from ...State) error {
	changed, before, err := s.Store.Change(ctx, event, to, reason, from)
	if err != nil {
		return err
	}
	if changed {
		s.forget(event)
		return nil
	}
	var names []string
	for _, state := range from {
		names = append(names, string(state))
	}
	if before == to {
		return fault.New(fault.Conflict, "the room is %s already", before).With("state", before)
	}
	return fault.New(fault.Conflict, "the room is %s; this needs it to be %s", before, strings.Join(names, " or ")).With("state", before)
}

// Message sets what the host says to everyone in the room; empty for nothing.
// It returns fault.Invalid, NotFound and Unavailable.
func (s *Service) Message(ctx context.Context, event, text string) error {
	if err := checkText("message", text, 500); err != nil {
		return err
	}
	defer s.forget(event)
	return s.Store.SetMessage(ctx, event, text)
}

func checkText(name, text string, most int) error {
	switch {
	case !utf8.ValidString(text):
		return fault.New(fault.Invalid, "the %s is not valid UTF-8", name)
	case utf8.RuneCountInString(text) > most:
		return fault.New(fault.Invalid, "the %s is longer than %d characters", name, most)
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f }):
		return fault.New(fault.Invalid, "the %s has control characters", name)
	}
	return nil
}

// ShopOK says that the shop of event is well, and how many tickets are left (-1:
// not known). Without it, admission pauses by itself after Options.ShopGrace.
// It returns fault.NotFound and Unavailable.
func (s *Service) ShopOK(ctx context.Context, event string, stockLeft int) error {
	return s.Store.ShopOK(ctx, event, s.Options.ShopGrace, max(stockLeft, -1))
}

// ShopDown says that the shop of event is not well: admission pauses at once.
// It returns fault.NotFound and Unavailable.
func (s *Service) ShopDown(ctx context.Context, event string) error {
	return s.Store.ShopOK(ctx, event, 0, -1)
}
