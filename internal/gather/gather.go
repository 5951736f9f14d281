// Package gather sends calls that come at the same time together: at a rush most
// of the cost of a call is the round trip.
package gather

import (
	"context"
	"errors"
	"sync"
)

// Gatherer carries calls. A call that comes alone is sent at once. There is no
// goroutine of its own: those whose calls find a free lane carry the calls of all
// who come while they are on their way, and the next of these takes over. The zero
// Gatherer is not ready: all of its exported fields have to be set.
type Gatherer[C, R any] struct {
	Most   int // calls that travel together
	Lanes  int // how many may be on their way at the same time
	Enough int // calls that wait before another lane than the first is taken
	// Carry sends calls and returns what came of each, in order. It puts a deadline
	// on what it is given.
	Carry func(ctx context.Context, calls []C) []Outcome[R]

	mu      sync.Mutex
	busy    int // lanes
	waiting []*gathered[C, R]
}

// Outcome is what came of one call.
type Outcome[R any] struct {
	Reply R
	Err   error
}

// gathered is one call. Its caller waits for turn, which says that either the
// outcome is there or they have to carry the next calls.
type gathered[C, R any] struct {
	call C
	turn chan struct{}
	done bool
	Outcome[R]
}

// Do has a call carried, alone or with others.
func (p *Gatherer[C, R]) Do(ctx context.Context, call C) (R, error) {
	p.mu.Lock()
	if p.busy == 0 { // and so nobody waits
		p.busy++
		p.mu.Unlock()
		defer p.next()
		o := p.Carry(ctx, []C{call})[0]
		return o.Reply, o.Err
	}
	g := &gathered[C, R]{call: call, turn: make(chan struct{}, 1)}
	p.waiting = append(p.waiting, g)
	if p.busy < p.Lanes && len(p.waiting) >= p.Enough {
		p.busy++
		p.pass()
	}
	p.mu.Unlock()

	// The deadline is that of whoever carries the call; waiting for a lane is
	// bounded by the deadlines of those before.
	select {
	case <-g.turn:
	case <-ctx.Done():
		if p.forget(g) {
			var none R
			return none, ctx.Err()
		}
		<-g.turn // somebody carries it already, or we are to carry others
	}
	if !g.done {
		p.carryAll(ctx, g)
	}
	return g.Reply, g.Err
}

// next hands a lane to the first who waits, or gives it up.
func (p *Gatherer[C, R]) next() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) == 0 || p.busy > 1 && len(p.waiting) < p.Enough {
		p.busy--
		return
	}
	p.pass()
}

// pass gives a lane to the first who waits. p.mu is held.
func (p *Gatherer[C, R]) pass() {
	p.waiting[0].turn <- struct{}{}
	p.waiting = p.waiting[1:]
}

// forget takes a call back that nobody carries yet.
func (p *Gatherer[C, R]) forget(g *gathered[C, R]) bool {
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

// carryAll carries g and those who wait.
func (p *Gatherer[C, R]) carryAll(ctx context.Context, g *gathered[C, R]) {
	p.mu.Lock()
	n := min(len(p.waiting), p.Most-1)
	all := append([]*gathered[C, R]{g}, p.waiting[:n]...)
	p.waiting = p.waiting[n:]
	p.mu.Unlock()
	defer p.next()

	calls := make([]C, len(all))
	for i, one := range all {
		calls[i] = one.call
	}
	var outcomes []Outcome[R]
	defer func() { // whatever happened: the others wait for nothing else
		for i, one := range all {
			if one.done = true; outcomes != nil {
				one.Outcome = outcomes[i]
			} else {
				one.Err = errBroken
			}
			if one != g {
				one.turn <- struct{}{}
			}
		}
	}()
	// One caller's impatience must not end the others' calls.
	outcomes = p.Carry(context.WithoutCancel(ctx), calls)
}

// errBroken is what the others are told of a Carry that panicked.
var errBroken = errors.New("gather: whoever carried the call broke down")
