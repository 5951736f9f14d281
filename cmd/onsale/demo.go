package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"onsale/config"
)

func newDemoCommand(environ []string) *cobra.Command {
	var noBrowser bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run everything on this machine, with demo events on sale",
		Long: `Run everything on this machine: a Redis and a PostgreSQL of its own in a data
folder that is kept between runs, demo events on sale, the shop and the console
on one address. SIGINT (Ctrl-C) and SIGTERM stop all it started.

On stdout come three lines, once it is ready: url, console and admin-token.`,
		Args: noArgs,
	}
	flags := settingFlags(cmd, "addr", "data-dir", "public-url", "log-level")
	cmd.Flags().BoolVar(&noBrowser, "no-browser", false, "do not open the page in a browser")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.Load(config.Source{Environ: environ, Flags: flags()})
		if err != nil {
			return err
		}
		ready := func(url string) {
			if !noBrowser && hasBrowser(environ) {
				openBrowser(url)
			}
		}
		return runDemo(cmd.Context(), cfg, cmd.OutOrStdout(), newLogger(cfg.Log, cmd.ErrOrStderr()), ready)
	}
	return cmd
}

// demoJoins is the demo's limit of joins per address and minute: everybody who
// tries it, and the load it is tried with, comes from this one machine.
const demoJoins = 30_000

// runDemo runs the demo until ctx ends, which is no error, or something fails.
// It calls ready with the program's URL once requests are answered.
func runDemo(ctx context.Context, cfg config.Config, stdout io.Writer, log *slog.Logger, ready func(url string)) (err error) {
	if !cfg.EmbeddedRedis() || !cfg.EmbeddedPostgres() {
		return errors.New("onsale demo runs a Redis and a PostgreSQL of its own and fills them with demo events: " +
			"unset redis_url and database_url, or use onsale serve")
	}
	// Before anything else starts: the likeliest failure, and the cheapest to find.
	listener, err := listen(ctx, &cfg)
	if err != nil {
		return err
	}
	defer listener.Close() // closed already when the app has run

	servers, err := startEmbedded(ctx, &cfg, "demo", log)
	if err != nil {
		return unlessEnded(ctx, err)
	}
	defer func() { err = errors.Join(err, stopEmbedded(servers)) }()

	if err := prepareDemo(ctx, cfg, log); err != nil {
		return unlessEnded(ctx, err)
	}
	if cfg.Waitroom.JoinsPerAddressPerMinute == config.Default().Waitroom.JoinsPerAddressPerMinute {
		cfg.Waitroom.JoinsPerAddressPerMinute = demoJoins
	}
	if cfg.Limits.Sockets == config.Default().Limits.Sockets {
		cfg.Limits.Sockets = 0
	}
	cfg.Webhooks.AllowPrivate = true // whoever tries them listens on this machine
	if !cfg.Mail.SMTPURL.IsSet() {
		folder := filepath.Join(cfg.DataDir, "mail")
		cfg.Mail.SMTPURL = config.NewSecret((&url.URL{Scheme: "file", Path: folder}).String())
		if cfg.Mail.From == "" {
			cfg.Mail.From = "Onsale demo <tickets@demo.invalid>"
		}
		log.Info("e-mails are written as .eml files, not sent", "folder", folder)
	}
	app, err := newApp(ctx, cfg, log)
	if err != nil {
		return unlessEnded(ctx, err)
	}
	// From here on connections wait in the listener until they are served.
	_, err = fmt.Fprintf(stdout, "url: %s\nconsole: %s/console\nadmin-token: %s\n", cfg.PublicURL, cfg.PublicURL, cfg.AdminToken.Reveal())
	if err != nil {
		return fmt.Errorf("print where the demo runs: %w", err)
	}
	ready(cfg.PublicURL)
	return unlessEnded(ctx, serveWith(ctx, app, servers, listener))
}

// listen takes cfg.Addr, and makes cfg say what was taken when that left it open.
func listen(ctx context.Context, cfg *config.Config) (net.Listener, error) {
	var way net.ListenConfig
	listener, err := way.Listen(ctx, "tcp", cfg.Addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("address %s is in use by another program: stop that one, or choose another address with --addr (--addr 127.0.0.1:0 takes a free port)", cfg.Addr)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", cfg.Addr, err)
	}
	derived := cfg.PublicURL == cfg.URLFor(cfg.Addr)
	if _, port, err := net.SplitHostPort(cfg.Addr); err == nil && port == "0" {
		cfg.Addr = listener.Addr().String()
	}
	if derived {
		cfg.PublicURL = cfg.URLFor(cfg.Addr)
	}
	return listener, nil
}

// unlessEnded returns err, or nil when ctx was ended by the user: then what
// failed was cut short on purpose.
func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// hasBrowser tells whether somebody is there to look at one: a terminal, a
// display, not root, not a CI job.
func hasBrowser(environ []string) bool {
	set := func(name string) bool {
		return slices.ContainsFunc(environ, func(variable string) bool {
			return len(variable) > len(name)+1 && variable[:len(name)+1] == name+"="
		})
	}
	info, err := os.Stdout.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 || os.Geteuid() == 0 || set("CI") {
		return false
	}
	return runtime.GOOS == "darwin" || set("DISPLAY") || set("WAYLAND_DISPLAY")
}

// openBrowser shows url; that it cannot is no failure, since the URL is printed.
func openBrowser(url string) {
	program := "xdg-open"
	if runtime.GOOS == "darwin" {
		program = "open"
	}
	cmd := exec.Command(program, url) //nolint:noctx // the browser stays when the demo ends
	if cmd.Start() == nil {
		go func() { _ = cmd.Wait() }() // reaps it; ends with the helper
	}
}
