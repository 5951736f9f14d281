package bench

import (
	"fmt"
	"syscall"
)

// spareFiles is what a process needs besides the connections of a crowd.
const spareFiles = 600

// raiseFileLimit raises the number of files this process and those it starts
// may open as far as it goes, and returns it.
func raiseFileLimit() (int, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("ask for the limit of open files: %w", err)
	}
	if limit.Cur < limit.Max {
		raised := syscall.Rlimit{Cur: limit.Max, Max: limit.Max}
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised); err == nil {
			limit = raised
		}
	}
	const most = 1 << 30 // "unlimited" does not fit an int everywhere
	return int(min(limit.Cur, most)), nil
}

// mostConnections is how many connections one process can hold here.
func mostConnections() (int, error) {
	files, err := raiseFileLimit()
	return max(files-spareFiles, 0), err
}

// fits refuses a crowd that this process cannot hold connections for.
func fits(crowd int) error {
	most, err := mostConnections()
	if err != nil {
		return err
	}
	if crowd > most {
		return fmt.Errorf("%d connections are too many: a process may open %d files here, which is enough for %d (raise it with ulimit -n)",
			crowd, most+spareFiles, most)
	}
	return nil
}
