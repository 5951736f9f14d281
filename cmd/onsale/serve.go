package main

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	catalogpg "onsale/catalog/pgstore"
	"onsale/config"
	"onsale/internal/stack"
)

func newServeCommand(environ []string) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run one node in production",
		Long: `Run one node: all of the program, or one role of it.

A node in the role waitroom needs only Redis and goes on when the shop or its
database is down. The roles shop and worker need Redis and PostgreSQL. Where
redis_url or database_url is empty, the node runs a private server of its own in
its data folder, which suits a single machine.

The database must be migrated (onsale migrate); an embedded one migrates itself.`,
		Args: noArgs,
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration file (YAML)")
	flags := settingFlags(cmd, "addr", "role", "data-dir", "public-url", "log-level")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.Load(config.Source{File: file, Environ: environ, Flags: flags()})
		if err != nil {
			return err
		}
		return runServe(cmd.Context(), cfg, cmd)
	}
	return cmd
}

func runServe(ctx context.Context, cfg config.Config, cmd *cobra.Command) (err error) {
	log := newLogger(cfg.Log, cmd.ErrOrStderr())
	listener, err := listen(ctx, &cfg)
	if err != nil {
		return err
	}
	defer listener.Close() // closed already when the app has run

	ownDatabase := cfg.EmbeddedPostgres()
	servers, err := startEmbedded(ctx, &cfg, "serve", log)
	if err != nil {
		return unlessEnded(ctx, err)
	}
	defer func() { err = errors.Join(err, stopEmbedded(servers)) }()

	switch {
	case ownDatabase && servers.Postgres != nil:
		if err := catalogpg.Migrate(ctx, cfg.DatabaseURL.Reveal(), log); err != nil {
			return unlessEnded(ctx, err)
		}
	case cfg.Role != config.RoleWaitroom:
		// An unreachable database may come back; an old schema will not mend itself.
		if n, err := catalogpg.Pending(ctx, cfg.DatabaseURL.Reveal()); err == nil && n > 0 {
			return fmt.Errorf("the database lacks %d migrations: run onsale migrate", n)
		}
	}
	app, err := newApp(ctx, cfg, log)
	if err != nil {
		return unlessEnded(ctx, err)
	}
	log.Info("serving", "role", cfg.Role, "addr", cfg.Addr, "url", cfg.PublicURL)
	return unlessEnded(ctx, serveWith(ctx, app, servers, listener))
}

// serveWith runs app until ctx ends, or one of the servers it needs dies.
// servers may be nil.
func serveWith(ctx context.Context, app *App, servers *stack.Stack, listener net.Listener) error {
	group, groupCtx := errgroup.WithContext(ctx)
	appCtx, stopApp := context.WithCancel(groupCtx)
	group.Go(func() error {
		tendGarbage(appCtx)
		return nil
	})
	group.Go(func() error {
		defer stopApp() // ends the goroutine below
		return app.Run(appCtx, listener)
	})
	if servers != nil {
		group.Go(func() error {
			select {
			case <-servers.Done():
				return servers.Err()
			case <-appCtx.Done():
				return nil
			}
		})
	}
	return group.Wait()
}
