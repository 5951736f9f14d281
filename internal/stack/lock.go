package stack

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// ErrLocked is returned when another live process uses the data folder.
var ErrLocked = errors.New("the data folder is in use by another process")

// folderLock is an advisory lock on a folder. The kernel drops it when the
// process ends, however it ends, so it can never be stale.
//
// It holds a bare descriptor: an os.File that nobody refers to any more is
// closed by the garbage collector, and the lock would go while the server runs.
type folderLock struct {
	descriptor int
	held       bool
}

// lockFolder creates dir if needed and takes its lock without waiting.
// Errors: ErrLocked, and those of the file system.
func lockFolder(dir string) (*folderLock, error) {
	if err := makeFolder(dir); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "lock")
	descriptor, err := syscall.Open(path, syscall.O_RDWR|syscall.O_CREAT|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data folder: %w", &os.PathError{Op: "open", Path: path, Err: err})
	}
	lock := &folderLock{descriptor, true}
	if err := syscall.Flock(descriptor, syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.unlock()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock data folder %s: %w", dir, err)
		}
		return nil, fmt.Errorf("%s: %w%s", dir, ErrLocked, lockHolder(path))
	}
	// The process id is for the error message above only; the lock is the flock.
	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		lock.unlock()
		return nil, fmt.Errorf("lock data folder: %w", err)
	}
	return lock, nil
}

func lockHolder(path string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	if pid, err := strconv.Atoi(strings.TrimSpace(string(content))); err == nil {
		return fmt.Sprintf(" (process %d)", pid)
	}
	return ""
}

func (l *folderLock) unlock() {
	if l != nil && l.held {
		l.held = false
		_ = syscall.Close(l.descriptor) // the lock goes in any case
	}
}

// makeFolder creates dir with its parents. As root the folders can be passed
// through (not listed) by others, since PostgreSQL inside runs as another user;
// the secret files in them are 0600.
func makeFolder(dir string) error {
	mode := os.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o711
	}
	if err := os.MkdirAll(dir, mode); err != nil {
		return fmt.Errorf("create data folder: %w", err)
	}
	return nil
}
