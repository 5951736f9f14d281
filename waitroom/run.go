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
	saveAnyway   = time.Minute // in case another node saved something older later
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
	for range moveAtOnce {
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
	}
	return nil // the rest of the lobby moves with the next tick
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
// of event, or all of them.
func (s *Service) rebuild(ctx context.Context, event string) error {
	ctx, cancel := context.WithTimeout(ctx, archiveLimit)
	defer cancel()
	all, err := s.Archive.Rooms(ctx)
	if err != nil {
		return err
	}
	for _, settings := range all {
		if event != "" && event != settings.Event {
			continue
		}
		created, err := s.Seed(ctx, settings)
		if err != nil {
			return err
		}
		s.mu.Lock()
		if _, known := s.saved[settings.Event]; !known {
			s.saved[settings.Event] = saved{settings: settings, at: s.Now()}
		}
		s.mu.Unlock()
		if created {
			s.Logger.LogAttrs(ctx, slog.LevelInfo, "room created from its checkpoint",
				slog.String("event", settings.Event), slog.String("state", string(settings.State)), slog.Int64("cursor", settings.Cursor))
		}
	}
	return nil
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
		if known && was.settings == room.Settings && s.Now().Sub(was.at) < saveAnyway {
			continue
		}
		if err := s.Archive.SaveRoom(ctx, room.Settings); err != nil {
			return err
		}
		s.mu.Lock()
		s.saved[event] = saved{settings: room.Settings, at: s.Now()}
		s.mu.Unlock()
	}
	return nil
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
