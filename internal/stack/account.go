package stack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is the user a server runs as. A nil account is the user of this process.
type account struct {
	name         string
	uid, gid     uint32
	capabilities []uintptr
}

func (a *account) apply(attr *syscall.SysProcAttr) {
	if a == nil {
		return
	}
	attr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid}
	setAmbient(attr, a.capabilities)
}

// own gives one file or folder to the account.
func (a *account) own(path string) error {
	if a == nil {
		return nil
	}
	return os.Lchown(path, int(a.uid), int(a.gid))
}

// ownAll gives a whole folder to the account, unless its top already belongs to it.
func (a *account) ownAll(dir string) error {
	if a == nil {
		return nil
	}
	if uid, _, err := ownerOf(dir); err != nil || uid == a.uid {
		return err
	}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return a.own(path)
	})
}

// unprivileged returns the account for a server that refuses root: nil unless
// this process is root. data is the server's folder, which decides when it
// already belongs to some other user; program is the server's binary.
func unprivileged(data, program string) (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // nil is the account of this process
	}
	found, err := chooseAccount(data)
	if err != nil {
		return nil, err
	}
	closed, err := found.closedFolder(filepath.Dir(data))
	if err != nil {
		return nil, err
	}
	if closed != "" {
		capability, err := passCapability()
		if err != nil {
			return nil, fmt.Errorf("the user %s, as whom PostgreSQL runs since it refuses root, cannot pass through the folder %s (%w): "+
				"choose another data folder, or run: chmod o+x %s", found.name, closed, err, closed)
		}
		found.capabilities = []uintptr{capability}
	}
	// The capability works from the program's start on, not for starting it.
	if program, err = filepath.EvalSymlinks(program); err != nil {
		return nil, err
	}
	if closed, err = found.closedFolder(filepath.Dir(program)); err != nil {
		return nil, err
	}
	if closed != "" {
		return nil, fmt.Errorf("the user %s, as whom PostgreSQL runs since it refuses root, cannot start %s: "+
			"the folder %s is closed to it; run: chmod o+x %s", found.name, program, closed, closed)
	}
	return found, nil
}

func chooseAccount(data string) (*account, error) {
	if uid, gid, err := ownerOf(data); err == nil && uid != 0 {
		name := strconv.FormatUint(uint64(uid), 10)
		if known, err := user.LookupId(name); err == nil {
			name = known.Username
		}
		return &account{name: name, uid: uid, gid: gid}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		known, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(known.Uid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("user %s: %w", name, err)
		}
		gid, err := strconv.ParseUint(known.Gid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("user %s: %w", name, err)
		}
		return &account{name: name, uid: uint32(uid), gid: uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL refuses to run as root, and this machine has neither a user postgres nor nobody: start as another user")
}

// closedFolder returns the first folder on the way to path, path included, that
// the account may not pass through, or "". Access lists beyond the mode bits are
// not looked at.
func (a *account) closedFolder(path string) (string, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	path, err = filepath.Abs(path)
	if err != nil {
		return "", err
	}
	for ; ; path = filepath.Dir(path) {
		info, err := os.Stat(path)
		if err != nil {
			return "", err
		}
		uid, gid := owner(info)
		mode := info.Mode().Perm()
		var may bool
		switch {
		case uid == a.uid:
			may = mode&0o100 != 0
		case gid == a.gid:
			may = mode&0o010 != 0
		default:
			may = mode&0o001 != 0
		}
		if !may {
			return path, nil
		}
		if path == filepath.Dir(path) {
			return "", nil
		}
	}
}

func ownerOf(path string) (uid, gid uint32, err error) {
	info, err := os.Lstat(path)
	if err != nil {
		return 0, 0, err
	}
	uid, gid = owner(info)
	return uid, gid, nil
}

func owner(info fs.FileInfo) (uid, gid uint32) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0
	}
	return stat.Uid, stat.Gid
}
