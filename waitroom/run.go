package waitroom

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"onsale/internal/fault"
)

const (
	roomsAtOnce  = 8       // rooms ticked at the same time
	moveAtOnce   = 50      // ticks in a row while a lobby moves
	ledgerLimit  = 100_000 // admissions remembered while the Archive is down
	archiveLimit = 5 * time.Second
	drawLimit    = time.Second      // for which an opening waits for the Archive
	rebuildLimit = 30 * time.Second // a room may have had very many turns
	saveAnyway   = time.Minute      // in case another node saved something older later
)

// Run ticks all rooms and keeps the Archive up to date until ctx ends. Failures
// of the store or the Archive are logged and tried again.
func (s *Service) Run(ctx context.Context) error {
	ticked := make(chan struct{})
	var g errgroup.Group
	g.Go(func() error {
		defer close(ticked)
		s.tickRooms(ctx)
		return nil
	})
	if s.Archive != nil {
		g.Go(func() error {
			s.checkpoints(context.WithoutCancel(ctx), ticked)
			return nil
		})
	}
	return g.Wait()
}

// tickRooms ticks every room about once per Options.Tick. The jitter keeps
// nodes from ticking in step.
func (s *Service) tickRooms(ctx context.Context) {
	if s.Archive != nil {
		if err := s.rebuild(ctx, ""); err != nil {
			s.Logger.LogAttrs(ctx, slog.LevelWarn, "rooms could not be restored, trying again", slog.Any("error", err))
		}
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	var down bool
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		err := s.TickAll(ctx)
		if failed := err != nil && ctx.Err() == nil; failed != down {
			down = failed
			if failed {
				s.Logger.LogAttrs(ctx, slog.LevelError, "rooms cannot be ticked", slog.Any("error", err))
			} else {
				s.Logger.LogAttrs(ctx, slog.LevelInfo, "rooms are ticked again")
			}
		}
		timer.Reset(time.Duration(float64(s.Options.Tick) * (0.9 + 0.2*rand.Float64())))
	}
}

// TickAll ticks every room once and returns the first error.
func (s *Service) TickAll(ctx context.Context) error {
	events, err := s.Store.Rooms(ctx)
	if err != nil {
		return err
	}
	if s.Archive != nil && s.lostRooms(events) {
		if err := s.rebuild(ctx, ""); err != nil {
			return err
		}
		if events, err = s.Store.Rooms(ctx); err != nil {
			return err
		}
	}
	var g errgroup.Group
	g.SetLimit(roomsAtOnce)
	for _, event := range events {
		g.Go(func() error { return s.tick(ctx, event) })
	}
	return g.Wait()
}

// lostRooms reports whether rooms seen before are not listed any more.
func (s *Service) lostRooms(events []string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for event := range s.saved {
		if !slices.Contains(events, event) {
			return true
		}
	}
	return false
}

func (s *Service) tick(ctx context.Context, event string) error {
	for moved := range moveAtOnce {
		start := time.Now() // the real duration, whatever clock the domain has
		// Not cut short by the end of Run: who is admitted must be noted.
		t, err := s.Store.Admit(context.WithoutCancel(ctx), event, s.Options.Tick/2)
		if err != nil {
			if fault.Is(err, fault.NotFound) && s.Archive != nil {
				return s.rebuild(ctx, event)
			}
			return err
		}
		s.metrics.ticked(event, t, time.Since(start))
		if t.Admitted > 0 {
			s.admitted(Admission{Event: event, At: t.At, Count: t.Admitted, Cursor: t.Cursor})
		}
		if !t.Moving {
			return nil
		}
		if moved == 0 {
			s.keepDraw(ctx, event)
		}
		if err := s.place(ctx, event); err != nil {
			return err
		}
	}
	return nil // the rest of the lobby moves with the next tick
}

const placedAtOnce = 2000

// place brings some of those in the lobby their drawn places. Any number of nodes
// may do so at once, and any of them may die in the middle: a place follows from
// the draw and the join index alone.
func (s *Service) place(ctx context.Context, event string) error {
	room, err := s.Store.Room(ctx, event)
	if err != nil || !room.Moving || room.Order != DrawOrder {
		return err
	}
	place, err := room.Draw.placing(room.Order)
	if err != nil {
		return err
	}
	list, err := s.Store.Gathered(ctx, event, placedAtOnce)
	if err != nil || len(list) == 0 {
		return err
	}
	for i := range list {
		list[i].Place = place(list[i].Index)
	}
	return s.Store.Place(ctx, event, list)
}

// keepDraw has the Archive know of an opening before anybody is told a place by
// it: a lobby that is lost afterwards is not drawn anew. Rooms go on without the
// Archive.
func (s *Service) keepDraw(ctx context.Context, event string) {
	if s.Archive == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drawLimit)
	defer cancel()
	room, err := s.Store.Room(ctx, event)
	s.mu.Lock()
	was, known := s.saved[event]
	s.mu.Unlock()
	if err == nil && (!known || was.settings.Draw != room.Draw || was.settings.Epoch != room.Epoch) {
		err = s.save(ctx, room.Settings)
	}
	if err != nil {
		s.Logger.LogAttrs(ctx, slog.LevelWarn, "a lobby moves without a checkpoint", slog.String("event", event), slog.Any("error", err))
	}
}

func (s *Service) save(ctx context.Context, settings Settings) error {
	if err := s.Archive.SaveRoom(ctx, settings); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saved[settings.Event] = saved{settings: settings, at: s.Now()}
	return nil
}

// admitted notes admissions for the log and the metrics.
func (s *Service) admitted(a Admission) {
	s.metrics.admitted.WithLabelValues(a.Event).Add(float64(a.Count))
	if s.Archive == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ledger) >= ledgerLimit {
		s.lost++
		return
	}
	s.ledger = append(s.ledger, a)
}

// rebuild creates the rooms the Archive knows and the store does not: the one
// of event, or all of them; once for all who ask at the same time, since that may
// be everybody in line.
func (s *Service) rebuild(ctx context.Context, event string) error {
	done := s.fetch.DoChan("rebuild "+event, func() (any, error) {
		// The one who begins must not be cut short by their own impatience alone.
		return nil, s.rebuildNow(context.WithoutCancel(ctx), event)
	})
	select {
	case r := <-done:
		return r.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Service) rebuildNow(ctx context.Context, event string) error {
	ctx, cancel := context.WithTimeout(ctx, rebuildLimit)
	defer cancel()
	all, err := s.Archive.Rooms(ctx)
	if err != nil {
		return err
	}
	there, err := s.Store.Rooms(ctx)
	if err != nil {
		return err
	}
	for _, c := range all {
		if event != "" && event != c.Event {
			continue
		}
		if !slices.Contains(there, c.Event) || event != "" {
			if err := s.revive(ctx, c); err != nil {
				return err
			}
		}
		s.mu.Lock()
		if _, known := s.saved[c.Event]; !known {
			s.saved[c.Event] = saved{settings: c.Settings, at: s.Now()}
		}
		s.mu.Unlock()
	}
	return nil
}

const (
	turnsAtOnce = 1000
	// Places given after the last checkpoint are known to their receipts alone.
	// Newcomers begin far behind them: by as many as could have been given.
	placesUnknown   = 1_000_000
	placesPerSecond = 100_000
	oldestUnknown   = time.Hour
)

// revive creates a room from its checkpoint, unless it is there. Its turns come
// first: as long as there is no room, nobody joins, and nobody can have a turn
// that they had before.
func (s *Service) revive(ctx context.Context, c Checkpoint) error {
	if _, err := s.Store.Room(ctx, c.Event); !fault.Is(err, fault.NotFound) {
		if err != nil {
			return err
		}
		// Another node may have died before it listed the room.
		_, err = s.Store.Seed(ctx, c.withDefaults(), 0, 0)
		return err
	}
	turns := 0
	if c.Lived {
		unknown := placesUnknown + int64(min(c.Age, oldestUnknown).Seconds())*placesPerSecond
		c.Next = max(c.Next, c.Cursor) + unknown
		if c.LobbyNext += unknown; c.Draw.Frozen() {
			c.LobbyNext = c.Draw.N
		}
		for after := ""; ; {
			list, err := s.Archive.Turns(ctx, c.Event, max(c.Epoch, 1), after, turnsAtOnce)
			if err != nil {
				return err
			}
			if err := s.Store.Restore(ctx, c.Event, list); err != nil {
				return err
			}
			turns += len(list)
			if len(list) < turnsAtOnce {
				break
			}
			after = list[len(list)-1].Visitor
		}
	}
	quiet := time.Duration(0)
	if c.Lived {
		quiet = max(s.Options.ReturnWindow, 0)
	}
	created, err := s.seed(ctx, c.Settings, quiet, turns)
	if created {
		s.Logger.LogAttrs(ctx, slog.LevelInfo, "room created from its checkpoint",
			slog.String("event", c.Event), slog.String("state", string(c.State)), slog.Int64("cursor", c.Cursor), slog.Int("turns", turns))
	}
	return err
}

func (s *Service) seed(ctx context.Context, settings Settings, quiet time.Duration, turns int) (created bool, err error) {
	settings = settings.withDefaults()
	if err := settings.Validate(); err != nil {
		return false, err
	}
	if settings.Order == DrawOrder && settings.Draw.Secret == "" {
		if settings.Draw.Secret, err = s.secret(ctx, settings.Event); err != nil {
			return false, err
		}
	}
	created, err = s.Store.Seed(ctx, settings, quiet, turns)
	if created {
		s.forget(settings.Event)
	}
	return created, err
}

// checkpoints writes rooms that changed, and the admission log, to the Archive,
// and once more when the ticks have ended.
func (s *Service) checkpoints(ctx context.Context, ticked <-chan struct{}) {
	ticker := time.NewTicker(s.Options.Checkpoint)
	defer ticker.Stop()
	var down bool
	for {
		last := false
		select {
		case <-ticked:
			last = true
		case <-ticker.C:
		case <-s.refresh:
		}
		err := s.Checkpoint(ctx)
		if (err != nil) != down {
			down = err != nil
			if down {
				s.Logger.LogAttrs(ctx, slog.LevelWarn, "rooms cannot be checkpointed, trying again", slog.Any("error", err))
			} else {
				s.Logger.LogAttrs(ctx, slog.LevelInfo, "rooms are checkpointed again")
			}
		}
		if last {
			return
		}
	}
}

// Keep writes a room to the Archive now, for who does not Run. It returns fault.NotFound
// and Unavailable.
func (s *Service) Keep(ctx context.Context, event string) error {
	room, err := s.Store.Room(ctx, event)
	if err != nil || s.Archive == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, archiveLimit)
	defer cancel()
	return s.save(ctx, room.Settings)
}

// Checkpoint writes what changed since the last one to the Archive.
func (s *Service) Checkpoint(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, archiveLimit)
	defer cancel()
	if err := s.flush(ctx); err != nil {
		return err
	}
	events, err := s.Store.Rooms(ctx)
	if err != nil {
		return err
	}
	for _, event := range events {
		room, err := s.Store.Room(ctx, event)
		if fault.Is(err, fault.NotFound) {
			continue // lost a moment ago; the next tick rebuilds it
		}
		if err != nil {
			return err
		}
		s.mu.Lock()
		was, known := s.saved[event]
		s.mu.Unlock()
		if err := s.saveTurns(ctx, event); err != nil {
			return err
		}
		if known && was.settings == room.Settings && s.Now().Sub(was.at) < saveAnyway {
			continue
		}
		if err := s.save(ctx, room.Settings); err != nil {
			return err
		}
	}
	return nil
}

// saveTurns writes the turns that changed, and what the room did by itself.
func (s *Service) saveTurns(ctx context.Context, event string) error {
	for {
		u, err := s.Store.Unsaved(ctx, event, turnsAtOnce)
		if err != nil || len(u.Turns)+len(u.Changes) == 0 {
			if fault.Is(err, fault.NotFound) {
				return nil // lost a moment ago
			}
			return err
		}
		if err := s.Archive.SaveTurns(ctx, event, u.Epoch, u.Turns); err != nil {
			return err
		}
		if err := s.Archive.Changed(ctx, event, u.Changes); err != nil {
			return err
		}
		if err := s.Store.Saved(ctx, event, u); err != nil || len(u.Turns) < turnsAtOnce {
			return err
		}
	}
}

// flush writes the admissions noted so far; what could not be written is kept.
func (s *Service) flush(ctx context.Context) error {
	s.mu.Lock()
	entries, lost := s.ledger, s.lost
	s.ledger, s.lost = nil, 0
	s.mu.Unlock()
	if lost > 0 {
		s.Logger.LogAttrs(ctx, slog.LevelError, "admissions are missing from the log", slog.Int("entries", lost))
	}
	if len(entries) == 0 {
		return nil
	}
	if err := s.Archive.Admitted(ctx, entries); err != nil {
		s.mu.Lock()
		s.ledger = append(entries, s.ledger...)
		s.mu.Unlock()
		return err
	}
	return nil
}
