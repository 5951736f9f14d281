package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"onsale/config"
	"onsale/waitroom/gate"
)

func newGateCommand() *cobra.Command {
	var (
		options        gate.Options
		addr, upstream string
		grace          time.Duration
	)
	cmd := &cobra.Command{
		Use:   "gate",
		Short: "Protect a site on another host: a proxy that lets in who has a pass",
		Long: `Run a proxy in front of a site that shares no host name with onsale. Visitors
without a turn are sent to the queue, and come back with a pass. It needs neither
Redis nor PostgreSQL: passes are verified by the keys that onsale publishes.

Onsale must list the site in allowed_origins. TLS ends at a proxy in front of this
one, or the site is reached by http.`,
		Example: `  onsale gate --event 0190b0a0-0000-7000-8000-000000000001 --onsale https://tickets.example \
    --site https://shop.example --upstream http://127.0.0.1:3000`,
		Args: noArgs,
	}
	f := cmd.Flags()
	f.StringVar(&addr, "addr", "127.0.0.1:8090", "address to listen on, host:port")
	f.StringVar(&options.Event, "event", "", "id of the event whose room protects the site")
	f.StringVar(&options.Onsale, "onsale", "", "where onsale is reached, such as https://tickets.example")
	f.StringVar(&options.Site, "site", "", "where visitors reach the site, such as https://shop.example")
	f.StringVar(&upstream, "upstream", "", "where the site itself listens, such as http://127.0.0.1:3000")
	f.DurationVar(&options.CheckEvery, "check-every", 10*time.Second, "how long an answer is believed that a turn still runs; 0 never asks")
	f.DurationVar(&grace, "shutdown-grace", 20*time.Second, "how long requests may end when the program is stopped")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if options.Event == "" || options.Onsale == "" || options.Site == "" || upstream == "" {
			return usageError{cmd.Name(), errors.New("--event, --onsale, --site and --upstream are required")}
		}
		site, err := url.Parse(upstream)
		if err != nil || site.Scheme != "http" && site.Scheme != "https" || site.Host == "" {
			return usageError{cmd.Name(), fmt.Errorf("--upstream: %q is not an address such as http://127.0.0.1:3000", upstream)}
		}
		options.Logger = newLogger(config.Default().Log, cmd.ErrOrStderr())
		return runGate(cmd.Context(), options, addr, site, grace)
	}
	return cmd
}

func runGate(ctx context.Context, options gate.Options, addr string, site *url.URL, grace time.Duration) error {
	g, err := gate.New(options)
	if err != nil {
		return err
	}
	defer g.Close()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	log := options.Logger
	server := &http.Server{
		Handler: g.Protect(&httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(site)
				r.Out.Host = r.In.Host
				r.SetXForwarded()
			},
			ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
				if r.Context().Err() == nil {
					log.WarnContext(r.Context(), "the site does not answer", "error", err)
				}
				w.WriteHeader(http.StatusBadGateway)
			},
			ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		}),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	log.Info("protecting", "site", options.Site, "addr", listener.Addr().String(), "upstream", site.Redacted())
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := server.Shutdown(end); err != nil {
		_ = server.Close() // what has not ended by now is cut off
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
