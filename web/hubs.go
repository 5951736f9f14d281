package web

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// runHubs owns everything on this node that talks to WebSockets.
func (s *Server) runHubs(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	if s.hub != nil {
		g.Go(func() error { return s.hub.Run(ctx) })
	}
	if s.live != nil {
		g.Go(func() error { return s.live.run(ctx) })
	}
	if s.admin != nil {
		g.Go(func() error { return s.admin.run(ctx) })
	}
	return g.Wait()
}
