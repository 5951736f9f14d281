package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

// minPostgres is the oldest major version the program's SQL is tested with.
const minPostgres = 14

// installation is one set of PostgreSQL server binaries.
type installation struct {
	bin   string // folder with initdb and postgres
	major int
}

// postgresFolders returns where server binaries may be, in order of preference:
// PATH, then the places of Debian, Red Hat, Homebrew and Postgres.app.
func postgresFolders() []string {
	var folders []string
	for _, folder := range filepath.SplitList(os.Getenv("PATH")) {
		if filepath.IsAbs(folder) {
			folders = append(folders, folder)
		}
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin",
		"/usr/lib/postgresql*/bin",
		"/usr/libexec/postgresql*",
		"/usr/pgsql-*/bin",
		"/opt/homebrew/opt/postgresql*/bin",
		"/usr/local/opt/postgresql*/bin",
		"/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
		"/Applications/Postgres.app/Contents/Versions/*/bin",
	} {
		found, _ := filepath.Glob(pattern) // the only error is a bad pattern
		folders = append(folders, found...)
	}
	return folders
}

var postgresVersion = regexp.MustCompile(`PostgreSQL\) (\d+)`)

// inspect tells whether folder holds server binaries, and which version.
func inspect(ctx context.Context, folder string) (installation, bool) {
	server := filepath.Join(folder, "postgres")
	for _, path := range []string{server, filepath.Join(folder, "initdb")} {
		if info, err := os.Stat(path); err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			return installation{}, false
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, server, "-V")
	cmd.Env = childEnv()
	out, err := cmd.Output()
	match := postgresVersion.FindSubmatch(out)
	if err != nil || match == nil {
		return installation{}, false
	}
	major, err := strconv.Atoi(string(match[1]))
	return installation{folder, major}, err == nil
}

// errNoPostgres is returned when no usable server binaries are on the machine.
var errNoPostgres = errors.New("no PostgreSQL server binaries found")

// findPostgres returns the binaries to use: of exactly the wanted major version
// when an existing data folder asks for one (0: none does), else what PATH has,
// else the newest.
func findPostgres(ctx context.Context, folders []string, wanted int) (installation, error) {
	onPath := make(map[string]bool)
	for _, folder := range filepath.SplitList(os.Getenv("PATH")) {
		onPath[folder] = true
	}
	var best installation
	var seen []string
	for _, folder := range folders {
		found, ok := inspect(ctx, folder)
		if !ok {
			continue
		}
		seen = append(seen, strconv.Itoa(found.major))
		switch {
		case wanted != 0:
			if found.major == wanted {
				return found, nil
			}
		case found.major < minPostgres:
		case onPath[folder]:
			return found, nil
		case found.major > best.major:
			best = found
		}
	}
	if best.bin != "" {
		return best, nil
	}
	if len(seen) == 0 {
		return installation{}, errNoPostgres
	}
	return installation{}, fmt.Errorf("%w that fit: found version %s", errNoPostgres, strings.Join(seen, ", "))
}

// downloadPostgres fetches server binaries into folder, unless they are there.
//
// The library that knows where binaries for every system are has no call for
// fetching alone, so it is asked to start a throwaway server; what counts is
// that the binaries are there afterwards (as root its initdb always fails).
func downloadPostgres(ctx context.Context, repository, folder string) (installation, error) {
	const version = embeddedpostgres.V17
	bin := filepath.Join(folder, string(version), "bin")
	if found, ok := inspect(ctx, bin); ok {
		return found, nil
	}
	if err := makeFolder(folder); err != nil {
		return installation{}, err
	}
	throwaway, err := os.MkdirTemp(folder, "fetch-")
	if err != nil {
		return installation{}, err
	}
	defer os.RemoveAll(throwaway)
	port, err := FreePort(ctx)
	if err != nil {
		return installation{}, err
	}
	config := embeddedpostgres.DefaultConfig().
		Version(version).
		Port(uint32(port)).
		CachePath(filepath.Join(throwaway, "archive")).
		RuntimePath(filepath.Join(throwaway, "run")).
		DataPath(filepath.Join(throwaway, "data")).
		BinariesPath(filepath.Join(folder, string(version))).
		Logger(nil)
	if repository != "" {
		config = config.BinaryRepositoryURL(repository)
	}
	defer removeNew(filepath.Join(os.TempDir(), "embedded_postgres_log*"))() // which the library leaves behind
	fetched := make(chan error, 1)
	go func() { // the library takes no context; it ends by its own time-outs
		server := embeddedpostgres.NewDatabase(config)
		err := server.Start()
		if err == nil {
			err = server.Stop()
		}
		fetched <- err
	}()
	select {
	case err = <-fetched:
	case <-ctx.Done():
		return installation{}, fmt.Errorf("download PostgreSQL: %w", ctx.Err())
	}
	if found, ok := inspect(ctx, bin); ok {
		return found, nil
	}
	return installation{}, fmt.Errorf("download PostgreSQL: %w", err)
}

// removeNew returns a function that removes the files matching pattern that were
// not there when removeNew was called.
func removeNew(pattern string) func() {
	before, _ := filepath.Glob(pattern) // the only error is a bad pattern
	return func() {
		after, _ := filepath.Glob(pattern)
		for _, path := range after {
			if !slices.Contains(before, path) {
				_ = os.Remove(path) // an empty file that stays does no harm
			}
		}
	}
}

// downloadFolder is where downloaded binaries are kept, shared by all data
// folders of a user. Root's cache must be reachable for the user PostgreSQL
// runs as, so it is not in root's home.
func downloadFolder() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/cache/onsale/postgres", nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a folder for downloaded binaries: %w", err)
	}
	return filepath.Join(cache, "onsale", "postgres"), nil
}

// installCommand returns the command that installs PostgreSQL on this system.
func installCommand(goos, osRelease string, root bool) string {
	if goos == "darwin" {
		return "brew install postgresql@17"
	}
	command := "install the PostgreSQL server (version 14 or newer) with your system's package manager"
	var ids strings.Builder
	for line := range strings.Lines(osRelease) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if key == "ID" || key == "ID_LIKE" {
			fmt.Fprintf(&ids, " %s", strings.Trim(value, `"'`))
		}
	}
	for _, known := range []struct{ id, command string }{
		{"alpine", "apk add postgresql"},
		{"debian", "apt-get install -y postgresql"},
		{"ubuntu", "apt-get install -y postgresql"},
		{"fedora", "dnf install -y postgresql-server"},
		{"rhel", "dnf install -y postgresql-server"},
		{"suse", "zypper install -y postgresql-server"},
		{"arch", "pacman -S postgresql"},
	} {
		if strings.Contains(ids.String(), known.id) {
			if root {
				return known.command
			}
			return "sudo " + known.command
		}
	}
	return command
}
