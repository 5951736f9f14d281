package config

import (
	"errors"
	"path/filepath"
)

// DataFolder returns data_dir or, when that is empty, the default folder for
// data called name ("demo", "serve"): below /var/lib/onsale for root, else in
// the user's data folder (XDG_DATA_HOME, ~/.local/share, or macOS'
// ~/Library/Application Support).
func (c *Config) DataFolder(name, goos string, root bool, getenv func(string) string) (string, error) {
	if c.DataDir != "" {
		return c.DataDir, nil
	}
	if root {
		return filepath.Join("/var/lib/onsale", name), nil
	}
	if base := getenv("XDG_DATA_HOME"); filepath.IsAbs(base) {
		return filepath.Join(base, "onsale", name), nil
	}
	home := getenv("HOME")
	switch {
	case home == "":
		return "", errors.New("no home folder known (HOME is empty): say where data goes with --data-dir")
	case goos == "darwin":
		return filepath.Join(home, "Library", "Application Support", "onsale", name), nil
	default:
		return filepath.Join(home, ".local", "share", "onsale", name), nil
	}
}
