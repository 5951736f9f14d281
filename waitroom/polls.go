package waitroom

import (
	"sync"
	"time"

	"onsale/internal/fault"
)

// pollers holds those who poll to what they were told. A few polls more than
// told are forgiven: pages are reloaded, and clocks differ. It is kept by each
// node for those who poll there, and forgets who has not polled for a while.
type pollers struct {
	mu    sync.Mutex
	polls map[pollKey]poll
	swept time.Time
}

type pollKey struct{ event, visitor string }

// poll is a bucket of polls that refills by one each interval.
type poll struct {
	left     float64
	at       time.Time
	interval time.Duration
}

const (
	pollsForgiven = 40
	pollTolerance = 0.7 // of the interval told, after which a poll counts as in time
	pollsSwept    = time.Minute
)

func newPollers() *pollers { return &pollers{polls: make(map[pollKey]poll)} }

// ask takes one poll of a visitor, or says how long to wait for it.
func (p *pollers) ask(event, visitor string, now time.Time) (wait time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.swept) > pollsSwept {
		p.swept = now
		for key, b := range p.polls {
			if now.Sub(b.at) > pollsSwept {
				delete(p.polls, key)
			}
		}
	}
	key := pollKey{event, visitor}
	b, known := p.polls[key]
	if !known {
		b = poll{left: pollsForgiven, at: now, interval: time.Second}
	}
	b.left = min(pollsForgiven, b.left+float64(max(now.Sub(b.at), 0))/float64(b.interval))
	b.at = now
	if b.left < 1 {
		p.polls[key] = b
		return time.Duration((1 - b.left) * float64(b.interval)), false
	}
	b.left--
	p.polls[key] = b
	return 0, true
}

// told notes when a visitor was told to come back.
func (p *pollers) told(event, visitor string, after time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := pollKey{event, visitor}
	if b, ok := p.polls[key]; ok {
		b.interval = max(time.Duration(float64(after)*pollTolerance), 100*time.Millisecond)
		p.polls[key] = b
	}
}

// polled is fault.TooMany for a visitor who asks more often than they were told.
func (s *Service) polled(event, visitor string) error {
	wait, ok := s.polls.ask(event, visitor, s.Now())
	if ok {
		return nil
	}
	s.metrics.refused.WithLabelValues("polls").Inc()
	return fault.New(fault.TooMany, "you ask more often than poll_after_ms says; your place is safe").After(wait)
}
