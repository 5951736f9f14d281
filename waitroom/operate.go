package waitroom

import (
	"context"
	"strings"
	"time"
	"unicode/utf8"

	"onsale/internal/fault"
)

// Seed creates the room unless it is there. It returns fault.Invalid and
// Unavailable.
func (s *Service) Seed(ctx context.Context, settings Settings) (created bool, err error) {
	return s.seed(ctx, settings, 0, 0)
}

// Configure changes the settings of a room; it works at once. It returns
// fault.Invalid, NotFound, Unavailable, and Conflict for what is not possible
// now.
func (s *Service) Configure(ctx context.Context, event string, p Patch) error {
	if err := p.Validate(); err != nil {
		return err
	}
	room, err := s.look(ctx, event)
	if err != nil || p.IsEmpty() {
		return err
	}
	draws := room.Order == DrawOrder
	if p.Order != nil {
		draws = *p.Order == DrawOrder
	}
	if p.PublicSource != nil && *p.PublicSource != "" && !draws {
		return fault.New(fault.Conflict, "public_source belongs to rooms whose order is draw")
	}
	secret := ""
	if draws && room.Draw.Secret == "" {
		if secret, err = s.secret(ctx, event); err != nil {
			return err
		}
	}
	defer s.forget(event)
	return s.Store.Configure(ctx, event, p, secret)
}

// secret is that of the room's draw: kept outside the store before anybody is
// told its commitment.
func (s *Service) secret(ctx context.Context, event string) (string, error) {
	proposed := NewSecret()
	if s.Archive == nil {
		return proposed, nil
	}
	return s.Archive.Secret(ctx, event, proposed)
}

// Schedule takes a room that nobody has joined so far back to its countdown. It returns
// fault.Conflict once somebody has, NotFound and Unavailable.
func (s *Service) Schedule(ctx context.Context, event string) error {
	room, err := s.look(ctx, event)
	switch {
	case err != nil:
		return err
	case room.State == Scheduled:
		return nil
	case room.Joined > 0:
		return fault.New(fault.Conflict, "people have joined the room already: their line goes on, and cannot go back to a countdown").
			With("state", room.State)
	}
	return s.change(ctx, event, Scheduled, "", 0, Lobby, Open, Paused, Closed)
}

// OpenLobby lets people gather before the opening. It returns fault.Conflict
// unless the room is scheduled, NotFound and Unavailable.
func (s *Service) OpenLobby(ctx context.Context, event string) error {
	return s.change(ctx, event, Lobby, "", 0, Scheduled)
}

// Open opens the door: those in the lobby get their places and the line moves.
// It returns fault.Conflict when the room is open or paused, NotFound and
// Unavailable.
func (s *Service) Open(ctx context.Context, event string) error {
	return s.change(ctx, event, Open, "", 0, Scheduled, Lobby, Closed)
}

// Pause stops the line; everyone keeps their place, and shoppers go on. It
// returns fault.Conflict unless the room is open, NotFound and Unavailable.
func (s *Service) Pause(ctx context.Context, event string) error {
	return s.change(ctx, event, Paused, "", 0, Open)
}

// Resume lets a paused line move again. It returns fault.Conflict unless the
// room is paused, NotFound and Unavailable.
func (s *Service) Resume(ctx context.Context, event string) error {
	return s.change(ctx, event, Open, "", 0, Paused)
}

// Drain lets in those who are in line, or of the general lane those up to the
// place cutoff (0: all), and nobody else, and then closes. It returns
// fault.Invalid, Conflict unless the room is open or paused, NotFound and
// Unavailable.
func (s *Service) Drain(ctx context.Context, event string, cutoff int64) error {
	if cutoff < 0 || cutoff > mostPlace {
		return fault.New(fault.Invalid, "cutoff must be a place, from 1 on")
	}
	return s.change(ctx, event, Draining, "", cutoff, Open, Paused)
}

// mostPlace is the highest place there can be.
const mostPlace = 1_000_000_000_000 - 1

// Close ends the line for everybody who waits; shoppers keep their leases. The
// reason, such as "sold_out", is shown. It returns fault.Conflict when the room
// is closed, Invalid, NotFound and Unavailable.
func (s *Service) Close(ctx context.Context, event, reason string) error {
	if err := checkText("reason", reason, 100); err != nil {
		return err
	}
	return s.change(ctx, event, Closed, reason, 0, Scheduled, Lobby, Open, Paused, Draining)
}

func (s *Service) change(ctx context.Context, event string, to State, reason string, cutoff int64, from ...State) error {
	changed, before, err := s.Store.Change(ctx, event, to, reason, cutoff, from)
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

// Draw opens a room that draws or, with a value, brings the public value that
// its draw waits for. It returns fault.Conflict, Invalid, NotFound and
// Unavailable.
func (s *Service) Draw(ctx context.Context, event, value string) error {
	room, err := s.look(ctx, event)
	if err != nil {
		return err
	}
	if room.Order != DrawOrder {
		return fault.New(fault.Conflict, "the order of this room is %s; there is nothing to draw", room.Order).With("order", room.Order)
	}
	if value == "" {
		return s.Open(ctx, event)
	}
	if err := checkText("public_value", value, 300); err != nil {
		return err
	}
	defer s.forget(event)
	return s.Store.SetPublicValue(ctx, event, value)
}

// AdmitNow lets in up to n from the head of the line now, whatever the rate, but
// within the cap. What is let in this way is owed by the throttle: it lets in as
// many less later. It returns how many it was, fault.Invalid, Conflict when the
// room lets in nobody at all, NotFound and Unavailable.
func (s *Service) AdmitNow(ctx context.Context, event string, n int) (admitted int, err error) {
	const atOnce, most = 500, 10_000
	if n < 1 || n > most {
		return 0, fault.New(fault.Invalid, "count must be from 1 to %d, not %d", most, n)
	}
	room, err := s.look(ctx, event)
	if err != nil {
		return 0, err
	}
	switch room.State {
	case Open, Paused, Draining:
	default:
		return 0, fault.New(fault.Conflict, "the room is %s; this needs it to be open, paused or draining", room.State).With("state", room.State)
	}
	defer s.forget(event)
	for admitted < n {
		t, err := s.Store.AdmitNow(ctx, event, min(n-admitted, atOnce))
		if err != nil {
			return admitted, err
		}
		if t.Admitted == 0 {
			break
		}
		admitted += t.Admitted
		s.admitted(Admission{Event: event, At: t.At, Count: t.Admitted, Cursor: t.Cursor})
	}
	return admitted, nil
}

// SetLane moves a visitor to another lane, at the same place number. It returns
// fault.UnknownVisitor for somebody who does not wait, NotFound and Unavailable.
func (s *Service) SetLane(ctx context.Context, event, visitor string, to Lane) (Visitor, error) {
	return s.Store.SetLane(ctx, event, visitor, to, NoLane)
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

func checkText(name, text string, most int) *fault.Error {
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

// ShopOK says that the shop of event is well, and how many tickets can be had
// and are held (-1: not known). Without it, admission pauses by itself after
// Options.ShopGrace. It returns fault.NotFound and Unavailable.
func (s *Service) ShopOK(ctx context.Context, event string, available, held, perBuyer int) error {
	return s.Store.Shop(ctx, event, ShopReport{
		Well: s.Options.ShopGrace, Available: max(available, -1), Held: max(held, -1), PerBuyer: max(perBuyer, 0),
	})
}

// ShopDown says that the shop of event is not well: admission pauses at once.
// It returns fault.NotFound and Unavailable.
func (s *Service) ShopDown(ctx context.Context, event string) error {
	return s.Store.Shop(ctx, event, ShopReport{Available: -1, Held: -1})
}

// healthLife is how long what a node says of the shop counts.
const healthLife = 10 * time.Second

// Steer takes in how this node's part of the shop feels, and lets the autopilots
// of all rooms follow how the whole of it does. It returns that, and
// fault.Unavailable.
func (s *Service) Steer(ctx context.Context, node string, h Health) (Health, error) {
	all, err := s.Store.Health(ctx, node, h, healthLife)
	if err != nil {
		return Health{}, err
	}
	worst := Worst(all)
	rooms, err := s.Rooms(ctx)
	if err != nil {
		return worst, err
	}
	for i := range rooms {
		room := &rooms[i]
		rate, why, change := room.steer(worst)
		if !change {
			continue
		}
		if err := s.Store.Steer(ctx, room.Event, room.SteeredAt, rate, why); err != nil {
			return worst, err
		}
		s.forget(room.Event)
	}
	return worst, nil
}
