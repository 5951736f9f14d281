package stack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Options says which pair of servers to run.
type Options struct {
	Dir    string // data folder of both; "": a temporary one, without persistence
	Logger *slog.Logger

	// SkipRedis and SkipPostgres leave a server out, for a program that was
	// given the address of one of them.
	SkipRedis, SkipPostgres bool

	Redis    RedisOptions    // Dir and Logger are set by Start
	Postgres PostgresOptions // Dir and Logger are set by Start
}

// Stack is a running pair of private servers. A server that dies unexpectedly is
// started again on its port and data; one that keeps dying ends the stack.
type Stack struct {
	Redis    *Redis    // nil with SkipRedis
	Postgres *Postgres // nil with SkipPostgres

	log    *slog.Logger
	lock   *folderLock
	quit   context.CancelFunc
	keeper sync.WaitGroup

	failOnce sync.Once
	failed   chan struct{}
	err      error
}

// Start starts both servers at once and returns when both are ready. Nothing
// is left running when it fails.
func Start(ctx context.Context, options Options) (*Stack, error) {
	s := &Stack{log: options.Logger, failed: make(chan struct{})}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	redisOptions, postgresOptions := options.Redis, options.Postgres
	redisOptions.Logger, postgresOptions.Logger = s.log, s.log
	redisOptions.Dir, postgresOptions.Dir = "", ""
	if options.Dir != "" {
		dir, err := filepath.Abs(options.Dir)
		if err != nil {
			return nil, fmt.Errorf("data folder: %w", err)
		}
		if s.lock, err = lockFolder(dir); err != nil {
			return nil, err
		}
		redisOptions.Dir, postgresOptions.Dir = filepath.Join(dir, "redis"), filepath.Join(dir, "postgres")
	}

	// Not errgroup.WithContext: a start cut short is slower to clean up than one
	// that runs to its end.
	var starting errgroup.Group
	if !options.SkipRedis {
		starting.Go(func() (err error) { s.Redis, err = StartRedis(ctx, redisOptions); return err })
	}
	if !options.SkipPostgres {
		starting.Go(func() (err error) { s.Postgres, err = StartPostgres(ctx, postgresOptions); return err })
	}
	keep, quit := context.WithCancel(context.Background())
	s.quit = quit
	if err := starting.Wait(); err != nil {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		return nil, errors.Join(err, s.Stop(stop))
	}
	if s.Redis != nil {
		s.keeper.Go(func() { s.keep(keep, "Redis", s.Redis) })
	}
	if s.Postgres != nil {
		s.keeper.Go(func() { s.keep(keep, "PostgreSQL", s.Postgres) })
	}
	return s, nil
}

// server is what keep needs of Redis and Postgres.
type server interface {
	ended() (done <-chan struct{}, wanted func() bool)
	Restart(ctx context.Context) error
}

// keep restarts a server whenever it dies unexpectedly, until that has happened
// too often or ctx ends.
func (s *Stack) keep(ctx context.Context, name string, kept server) {
	const most, within = 5, time.Minute
	var deaths []time.Time
	for {
		done, wanted := kept.ended()
		select {
		case <-done:
		case <-ctx.Done():
			return
		}
		if wanted() {
			// Killed or stopped by its own methods: whoever did that restarts it.
			select {
			case <-time.After(100 * time.Millisecond):
				continue
			case <-ctx.Done():
				return
			}
		}
		now := time.Now()
		deaths = append(deaths, now)
		for now.Sub(deaths[0]) > within {
			deaths = deaths[1:]
		}
		if len(deaths) > most {
			s.fail(fmt.Errorf("%s died %d times within %v", name, len(deaths), within))
			return
		}
		s.log.Error("a server of the data folder died: starting it again", "server", name)
		restart, cancel := context.WithTimeout(ctx, startTimeout)
		err := kept.Restart(restart)
		cancel()
		if err != nil && ctx.Err() == nil {
			s.fail(fmt.Errorf("%s died and cannot be started again: %w", name, err))
			return
		}
	}
}

func (s *Stack) fail(err error) {
	s.failOnce.Do(func() { s.err = err; close(s.failed) })
}

// Done returns a channel that closes when a server is gone for good; Err then
// says why.
func (s *Stack) Done() <-chan struct{} { return s.failed }

// Err returns why Done is closed, nil before.
func (s *Stack) Err() error {
	select {
	case <-s.failed:
		return s.err
	default:
		return nil
	}
}

// Stop stops both servers in order, or kills them when ctx ends first.
func (s *Stack) Stop(ctx context.Context) error {
	s.quit()
	s.keeper.Wait()
	var stopping errgroup.Group
	if s.Redis != nil {
		stopping.Go(func() error { return s.Redis.Stop(ctx) })
	}
	var postgresErr error
	if s.Postgres != nil {
		postgresErr = s.Postgres.Stop(ctx)
	}
	err := errors.Join(stopping.Wait(), postgresErr)
	s.lock.unlock()
	return err
}
