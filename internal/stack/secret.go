package stack

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// keptPassword returns the password kept in the file, creating it with a fresh
// random one and mode 0600 when the file does not exist.
func keptPassword(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err == nil {
		if password := strings.TrimSpace(string(content)); password != "" {
			return password, nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read kept password: %w", err)
	}
	password := rand.Text()
	if err := os.WriteFile(path, []byte(password+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keep password: %w", err)
	}
	return password, nil
}
