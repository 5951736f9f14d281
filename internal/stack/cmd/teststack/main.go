// Command teststack runs a command with one shared Redis and PostgreSQL for the
// tests it contains: teststack COMMAND [ARG...].
//
// It exports ONSALE_TEST_REDIS_URL and ONSALE_TEST_DATABASE_URL, so that not
// every test process starts servers of its own, and ends with the command's
// exit code.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"onsale/internal/stack"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: teststack COMMAND [ARG...]")
		os.Exit(2)
	}
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "teststack:", err)
	}
	os.Exit(code)
}

func run(command []string) (code int, err error) {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	servers, err := stack.Start(ctx, stack.Options{
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo})),
		Redis:  stack.RedisOptions{RealOnly: true},
		Postgres: stack.PostgresOptions{
			NoSync: true,
			Config: map[string]string{"max_connections": "500"},
		},
	})
	if err != nil {
		return 1, err
	}
	defer func() {
		stop, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		err = errors.Join(err, servers.Stop(stop))
	}()

	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(),
		"ONSALE_TEST_REDIS_URL="+servers.Redis.URL(),
		"ONSALE_TEST_DATABASE_URL="+servers.Postgres.URL(),
		"ONSALE_REQUIRE_REAL=1",
	)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	err = cmd.Run()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		if code := failed.ExitCode(); code > 0 {
			return code, nil
		}
		return 1, err
	}
	if err != nil {
		return 1, err
	}
	return 0, nil
}
