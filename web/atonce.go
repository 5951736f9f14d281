package web

import (
	"crypto/sha256"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"onsale/internal/fault"
	"onsale/waitroom"
)

// mostAtOnce is how many requests that take tickets or money one visitor may have
// under way at this node. Each waits for the ones before it, with a connection of
// the database; pages have one, or two in two tabs.
const mostAtOnce = 8

// atOnce counts requests under way by what identifies their visitor.
type atOnce struct {
	mu   sync.Mutex
	busy map[[sha256.Size]byte]int
}

func newAtOnce() *atOnce { return &atOnce{busy: make(map[[sha256.Size]byte]int)} }

// limit refuses a visitor who has too many requests under way. Who sends no
// credentials is refused by what follows.
func (a *atOnce) limit(s *Server) gin.HandlerFunc {
	return func(c *gin.Context) {
		who := c.GetHeader("Authorization")
		if who == "" {
			who = s.cookie(c, visitorCookie)
		}
		if who == "" || c.Request.Method == http.MethodGet {
			c.Next()
			return
		}
		key := sha256.Sum256([]byte(who))
		if !a.enter(key) {
			s.fail(c, fault.New(fault.TooMany, "you have %d requests under way already; wait for their answers", mostAtOnce).After(time.Second))
			return
		}
		defer a.leave(key)
		c.Next()
	}
}

// limitAddress refuses a network address that has too many requests under way, where
// nobody shows credentials yet.
func (a *atOnce) limitAddress(s *Server) gin.HandlerFunc {
	return func(c *gin.Context) {
		key := sha256.Sum256([]byte("address " + waitroom.Network(c.ClientIP())))
		if !a.enter(key) {
			s.fail(c, fault.New(fault.TooMany, "your network has %d of these requests under way already; wait for their answers", mostAtOnce).After(time.Second))
			return
		}
		defer a.leave(key)
		c.Next()
	}
}

func (a *atOnce) enter(key [sha256.Size]byte) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.busy[key] >= mostAtOnce {
		return false
	}
	a.busy[key]++
	return true
}

func (a *atOnce) leave(key [sha256.Size]byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.busy[key]--; a.busy[key] == 0 {
		delete(a.busy, key)
	}
}
