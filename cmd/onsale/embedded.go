package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"onsale/config"
	"onsale/internal/stack"
)

// startEmbedded starts the servers whose addresses cfg leaves empty, in its data
// folder or the default one called name, and completes cfg: the addresses, and
// the admin token and signing key, generated and kept in that folder where
// missing. The caller stops the returned stack; it is nil when cfg names both
// servers.
func startEmbedded(ctx context.Context, cfg *config.Config, name string, log *slog.Logger) (*stack.Stack, error) {
	if !cfg.Embedded() {
		return nil, nil //nolint:nilnil // nothing was started, as documented
	}
	folder, err := cfg.DataFolder(name, runtime.GOOS, os.Geteuid() == 0, os.Getenv)
	if err != nil {
		return nil, err
	}
	if cfg.DataDir, err = filepath.Abs(folder); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	began := time.Now()
	servers, err := stack.Start(ctx, stack.Options{
		Dir:          cfg.DataDir,
		Logger:       log,
		SkipRedis:    !cfg.EmbeddedRedis(),
		SkipPostgres: !cfg.EmbeddedPostgres(),
	})
	if errors.Is(err, stack.ErrLocked) {
		return nil, fmt.Errorf("%w: stop it, or choose another folder with --data-dir", err)
	}
	if err != nil {
		return nil, err
	}
	if servers.Redis != nil {
		cfg.RedisURL = config.NewSecret(servers.Redis.URL())
		log.Info("embedded Redis is ready", "kind", servers.Redis.Kind(), "pid", servers.Redis.PID())
	}
	if servers.Postgres != nil {
		cfg.DatabaseURL = config.NewSecret(servers.Postgres.URL())
		log.Info("embedded PostgreSQL is ready", "version", servers.Postgres.Version(), "pid", servers.Postgres.PID())
	}
	log.Info("embedded servers are ready", "folder", cfg.DataDir, "took", time.Since(began).Round(time.Millisecond))

	// After the start, which has locked the folder against a second process.
	err = errors.Join(
		keepSecret(&cfg.AdminToken, filepath.Join(cfg.DataDir, "admin-token"), rand.Text),
		keepSecret(&cfg.SigningKey, filepath.Join(cfg.DataDir, "signing-key"), newSigningKey),
	)
	if err != nil {
		return nil, errors.Join(err, stopEmbedded(servers))
	}
	return servers, nil
}

// embeddedStopTimeout bounds the orderly stop of the embedded servers, after
// which they are killed. It begins when everything that uses them has ended.
const embeddedStopTimeout = 15 * time.Second

// stopEmbedded stops what startEmbedded started, in order. It needs no context
// of a caller, which has usually ended by then.
func stopEmbedded(servers *stack.Stack) error {
	if servers == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), embeddedStopTimeout)
	defer cancel()
	return servers.Stop(ctx)
}

// keepSecret sets an empty secret to the one kept in the file, which it writes
// with a generated value and mode 0600 when there is none.
func keepSecret(secret *config.Secret, path string, generate func() string) error {
	if secret.IsSet() {
		return nil
	}
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(content) == 0 {
		content = []byte(generate() + "\n")
		err = writeWhole(path, content)
	}
	if err != nil {
		return fmt.Errorf("generated secret: %w", err)
	}
	*secret = config.NewSecret(strings.TrimSpace(string(content)))
	return nil
}

// writeWhole writes a file so that a crash leaves it whole or missing.
func writeWhole(path string, content []byte) error {
	draft := path + ".new"
	if err := os.WriteFile(draft, content, 0o600); err != nil {
		return err
	}
	return os.Rename(draft, path)
}
