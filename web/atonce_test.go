package web

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gin-gonic/gin"

	"onsale/waitroom"
)

// One visitor cannot occupy all connections of the database: beyond a few requests
// under way they are told to wait. Others are not.
func TestFewRequestsOfOneVisitorAtOnce(t *testing.T) {
	t.Parallel()
	e := newEntrance(t, waitroom.Options{})
	engine := gin.New()
	arrived, release := make(chan struct{}, mostAtOnce), make(chan struct{})
	engine.POST("/slow", newAtOnce().limit(e.server), func(c *gin.Context) {
		arrived <- struct{}{}
		<-release
		c.Status(http.StatusNoContent)
	})
	ask := func(header, value string) int {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/slow", nil)
		r.Header.Set(header, value)
		w := httptest.NewRecorder()
		engine.ServeHTTP(w, r)
		if w.Code == http.StatusTooManyRequests && w.Header().Get("Retry-After") != "1" {
			t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
		}
		return w.Code
	}
	done := make(chan int, mostAtOnce+1)
	for range mostAtOnce {
		go func() { done <- ask("Authorization", "Bearer a") }()
		<-arrived
	}
	if code := ask("Authorization", "Bearer a"); code != http.StatusTooManyRequests {
		t.Errorf("one more: %d", code)
	}
	go func() { done <- ask("Cookie", e.server.cookieName(visitorCookie)+"=b") }()
	<-arrived
	close(release)
	for range mostAtOnce + 1 {
		if code := <-done; code != http.StatusNoContent {
			t.Errorf("refused: %d", code)
		}
	}
	if code := ask("Authorization", "Bearer a"); code != http.StatusNoContent {
		t.Errorf("afterwards: %d", code)
	}
}
