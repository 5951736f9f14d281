package stack

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ErrNotRunning is returned for a data folder whose PostgreSQL does not run.
var ErrNotRunning = errors.New("no PostgreSQL runs in the data folder")

// RunningPostgres returns the connection string of the PostgreSQL that another
// process runs in the data folder of a [Stack], for a command that works on the
// database beside that process. Errors: ErrNotRunning.
func RunningPostgres(dir string) (string, error) {
	p := &Postgres{dir: filepath.Join(dir, "postgres")}
	password, err := os.ReadFile(filepath.Join(p.dir, "password"))
	if errors.Is(err, os.ErrNotExist) {
		return "", ErrNotRunning
	} else if err != nil {
		return "", fmt.Errorf("read kept password: %w", err)
	}
	p.password = strings.TrimSpace(string(password))
	if p.postmasterID() == 0 {
		return "", ErrNotRunning
	}
	// The fourth line of postmaster.pid is the port.
	content, err := os.ReadFile(filepath.Join(p.data(), "postmaster.pid"))
	if err != nil {
		return "", ErrNotRunning
	}
	lines := strings.Split(string(content), "\n")
	if len(lines) < 4 {
		return "", ErrNotRunning
	}
	if p.port, err = strconv.Atoi(strings.TrimSpace(lines[3])); err != nil {
		return "", ErrNotRunning
	}
	return p.URL(), nil
}
