package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"onsale/config"
	"onsale/internal/stack"
)

// databaseTimeout bounds what a one-shot command does to the database, the start
// of an embedded one and the migration included.
const databaseTimeout = 5 * time.Minute

// onDatabase makes f the work of a command: it gets the address of the
// configured database or, when none is configured, of the embedded one in the
// data folder. That one is used beside the program that runs it, and started for
// the time of the command when none does.
func onDatabase(cmd *cobra.Command, environ []string, f func(ctx context.Context, cfg config.Config, databaseURL string, args []string) error) {
	flags := settingFlags(cmd, "data-dir")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		cfg, err := config.Load(config.Source{Environ: environ, Flags: flags()})
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), databaseTimeout)
		defer cancel()
		if !cfg.EmbeddedPostgres() {
			return f(ctx, cfg, cfg.DatabaseURL.Reveal(), args)
		}
		folder, err := cfg.DataFolder("demo", runtime.GOOS, os.Geteuid() == 0, os.Getenv)
		if err != nil {
			return err
		}
		servers, err := stack.Start(ctx, stack.Options{
			Dir: folder, SkipRedis: true, Logger: newLogger(cfg.Log, cmd.ErrOrStderr()),
		})
		if errors.Is(err, stack.ErrLocked) {
			databaseURL, err := stack.RunningPostgres(folder)
			if err != nil {
				return fmt.Errorf("data folder %s: %w", folder, err)
			}
			return f(ctx, cfg, databaseURL, args)
		} else if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stopEmbedded(servers)) }()
		return f(ctx, cfg, servers.Postgres.URL(), args)
	}
}
