package redisstore

import "sync"

// places remembers the highest place of each room that this node has seen given. A
// replica that is promoted may have missed the last joins: who comes after that
// must not be given the places of people who are about to come back with their
// receipts.
type places struct {
	mu sync.Mutex
	by map[string]int64
}

// mostRooms bounds the rooms that are remembered.
const mostRooms = 10_000

func newPlaces() *places { return &places{by: make(map[string]int64)} }

func (p *places) note(event string, place int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if place <= p.by[event] {
		return
	}
	if len(p.by) >= mostRooms {
		clear(p.by)
	}
	p.by[event] = place
}

func (p *places) highest(event string) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.by[event]
}
