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
type folderLock struct{ file *os.File }

// lockFolder creates dir if needed and takes its lock without waiting.
// Errors: ErrLocked, and those of the file system.
func lockFolder(dir string) (*folderLock, error) {
	if err := makeFolder(dir); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data folder: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer file.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock data folder %s: %w", dir, err)
		}
		return nil, fmt.Errorf("%s: %w%s", dir, ErrLocked, lockHolder(file))
	}
	// The process id is for the error message above only; the lock is the flock.
	err = file.Truncate(0)
	if err == nil {
		_, err = file.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0)
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("lock data folder: %w", err)
	}
	return &folderLock{file}, nil
}

func lockHolder(file *os.File) string {
	content := make([]byte, 20)
	n, _ := file.ReadAt(content, 0)
	if pid, err := strconv.Atoi(strings.TrimSpace(string(content[:n]))); err == nil {
		return fmt.Sprintf(" (process %d)", pid)
	}
	return ""
}

func (l *folderLock) unlock() {
	if l != nil && l.file != nil {
		l.file.Close()
		l.file = nil
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
