package redisstore

import (
	"context"
	"sync"

	"github.com/redis/go-redis/v9"

	"onsale/lua"
)

// gatherer sends the calls of visitors who come at the same time in one
// pipeline: at a rush most of the cost of a call is the round trip. A call that
// comes alone is sent at once. There is no goroutine of its own: those whose
// calls find a free lane carry the calls of all who come while they are on
// their way, and the next of these takes over.
type gatherer struct {
	mu      sync.Mutex
	lanes   int // pipelines on their way
	waiting []*gathered
}

// gathered is one call. Its caller waits for turn, which says that either the
// reply is there or they have to carry the next pipeline.
type gathered struct {
	call  lua.RoomCall
	turn  chan struct{}
	reply lua.RoomReply
	err   error
	done  bool
}

const (
	mostLanes = 4   // pipelines at the same time
	mostCalls = 128 // in one pipeline
)

// gather runs a call, alone or with others, within the store's deadline.
func (s *Store) gather(ctx context.Context, call lua.RoomCall) (lua.RoomReply, error) {
	p := s.pool
	p.mu.Lock()
	if p.lanes < mostLanes && len(p.waiting) == 0 {
		p.lanes++
		p.mu.Unlock()
		defer p.next()
		ctx, cancel := s.deadline(ctx)
		defer cancel()
		return call.Run(ctx, s.rdb)
	}
	g := &gathered{call: call, turn: make(chan struct{}, 1)}
	p.waiting = append(p.waiting, g)
	p.mu.Unlock()

	// The deadline is that of whoever carries the call; waiting for a lane is
	// bounded by the deadlines of those before.
	select {
	case <-g.turn:
	case <-ctx.Done():
		if p.forget(g) {
			return lua.RoomReply{}, ctx.Err()
		}
		<-g.turn // somebody carries it already, or we are to carry others
	}
	if g.done {
		return g.reply, g.err
	}
	s.carry(ctx, g)
	return g.reply, g.err
}

// next hands a lane to the first who waits, or gives it up.
func (p *gatherer) next() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) == 0 {
		p.lanes--
		return
	}
	p.waiting[0].turn <- struct{}{}
	p.waiting = p.waiting[1:]
}

// forget takes a call back that nobody carries yet.
func (p *gatherer) forget(g *gathered) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, other := range p.waiting {
		if other == g {
			p.waiting = append(p.waiting[:i], p.waiting[i+1:]...)
			return true
		}
	}
	return false
}

// carry sends g and those who wait in one pipeline.
func (s *Store) carry(ctx context.Context, g *gathered) {
	p := s.pool
	p.mu.Lock()
	n := min(len(p.waiting), mostCalls-1)
	calls := append([]*gathered{g}, p.waiting[:n]...)
	p.waiting = p.waiting[n:]
	p.mu.Unlock()
	defer p.next()

	// One caller's impatience must not end the others' calls.
	ctx, cancel := s.deadline(context.WithoutCancel(ctx))
	defer cancel()
	queued := make([]*redis.Cmd, len(calls))
	_, _ = s.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error { // each command has its own error
		for i, c := range calls {
			queued[i] = c.call.Queue(ctx, pipe)
		}
		return nil
	})
	for i, c := range calls {
		c.reply, c.err = c.call.Read(ctx, s.rdb, queued[i])
		c.done = true
		if c != g {
			c.turn <- struct{}{}
		}
	}
}
