package pass

import (
	"crypto/sha256"
	"sync"
)

// seen remembers passes that were verified, so that a shopper's clicks cost one
// verification of a signature and not one each. It knows them by their digest: a
// forged token has another, and how long the look-up takes tells nothing about a
// genuine one.
type seen struct {
	mu       sync.Mutex
	now, old map[[sha256.Size]byte]Pass // old: the generation before
}

// mostSeen bounds one of the two generations, of some 200 bytes a pass.
const mostSeen = 32 << 10

func (s *seen) get(digest [sha256.Size]byte) (Pass, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.now[digest]
	if !ok {
		if p, ok = s.old[digest]; ok {
			s.keep(digest, p)
		}
	}
	return p, ok
}

func (s *seen) put(digest [sha256.Size]byte, p Pass) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep(digest, p)
}

// keep needs the lock.
func (s *seen) keep(digest [sha256.Size]byte, p Pass) {
	if s.now == nil || len(s.now) >= mostSeen {
		s.old, s.now = s.now, make(map[[sha256.Size]byte]Pass)
	}
	s.now[digest] = p
}
