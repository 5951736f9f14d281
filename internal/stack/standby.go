package stack

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
)

// StartStandby starts a server that copies p as p writes, by streaming replication,
// with its data in dir, which must be empty. It returns when the copy is up with p.
// With confirming, p waits with every COMMIT until the copy has it. The caller stops
// the copy.
func (p *Postgres) StartStandby(ctx context.Context, dir string, confirming bool) (_ *Postgres, err error) {
	address, err := url.Parse(p.URL())
	if err != nil {
		return nil, err
	}
	program, err := p.Program("pg_basebackup")
	if err != nil {
		return nil, err
	}
	password, _ := address.User.Password()
	if err := os.WriteFile(filepath.Join(dir, "password"), []byte(password), 0o600); err != nil { // the copy has the same
		return nil, err
	}
	out, err := exec.CommandContext(ctx, program, "-d", p.URL(), "-D", filepath.Join(dir, "data"), "-R", "-c", "fast").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("pg_basebackup: %w\n%s", err, out)
	}
	standby, err := StartPostgres(ctx, PostgresOptions{Dir: dir, BinDirs: []string{p.install.bin}})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, standby.Stop(context.WithoutCancel(ctx)))
		}
	}()
	db, err := pgx.Connect(ctx, p.URL())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close(ctx)) }()
	wanted := "async"
	if confirming {
		wanted = "sync"
		for _, sql := range []string{`alter system set synchronous_standby_names = '*'`, `select pg_reload_conf()`} {
			if _, err := db.Exec(ctx, sql); err != nil {
				return nil, err
			}
		}
	}
	for streams := false; !streams; {
		if err := db.QueryRow(ctx, `select exists (select from pg_stat_replication where state = 'streaming' and sync_state = $1)`, wanted).Scan(&streams); err != nil {
			return nil, fmt.Errorf("wait for the copy: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return standby, nil
}
