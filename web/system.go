package web

import (
	"context"
	"net/http"
	"sort"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

func (s *Server) systemRoutes(r gin.IRouter) {
	r.GET("/healthz", func(c *gin.Context) { private(c, http.StatusOK, gin.H{"status": "ok"}) })
	r.GET("/readyz", s.readyz)
	r.GET("/openapi.json", s.openapiJSON)
	r.GET("/docs", s.docsHTML)
	if s.Gatherer != nil {
		r.GET("/metrics", gin.WrapH(promhttp.HandlerFor(s.Gatherer, promhttp.HandlerOpts{})))
	}
}

// readyz asks after every dependency of the node's role.
func (s *Server) readyz(c *gin.Context) {
	ctx, cancel := context.WithTimeout(c.Request.Context(), 2*time.Second)
	defer cancel()
	type state struct {
		Name string `json:"name"`
		OK   bool   `json:"ok"`
	}
	states := make([]state, 0, len(s.Ready))
	status, word := http.StatusOK, "ready"
	for name, ask := range s.Ready {
		err := ask(ctx)
		if err != nil {
			status, word = http.StatusServiceUnavailable, "not ready"
		}
		states = append(states, state{name, err == nil})
	}
	sort.Slice(states, func(i, j int) bool { return states[i].Name < states[j].Name })
	if status != http.StatusOK {
		c.Header("Retry-After", "2")
	}
	private(c, status, gin.H{"status": word, "dependencies": states})
}
