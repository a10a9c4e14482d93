package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"fanjet/config"
	"fanjet/internal/broker"
	"fanjet/subscriber/endpoint"
)

// Parts of a mode: what others than owner and group may do.
const (
	othersRead  fs.FileMode = 0o004
	othersWrite fs.FileMode = 0o002
)

// examineSecrets looks at how good secrets are, and who can read their files.
func examineSecrets(d *diagnosis, cfg *config.Config) {
	before := len(d.Checks)
	key := []byte(rand.Text()) // forgotten at the end
	users := make(map[[32]byte][]string)
	weak := make(map[[32]byte]string)
	var order [][32]byte // as they come
	for _, e := range cfg.Endpoints {
		for _, s := range e.Secrets {
			digest := s.Digest(key)
			if users[digest] == nil {
				order = append(order, digest)
				weak[digest] = endpoint.WeakSecret(s)
			}
			users[digest] = append(users[digest], e.Name)
		}
	}
	for _, digest := range order {
		names := users[digest]
		if why := weak[digest]; why != "" {
			d.problem("secrets", someNames(names), "make another one with `fanjet secret new`", "a secret can be guessed: %s", why)
		}
		if len(names) > 1 {
			d.warn("secrets", someNames(names), "give each endpoint a secret of its own",
				"share a secret: each of these receivers can sign what the others accept")
		}
	}
	for _, path := range cfg.SecretFiles {
		examineFile(d, "secrets", path)
	}
	if len(d.Checks) == before && len(order) > 0 {
		d.ok("secrets", "", "%s, none of them shared or easy to guess", counted(len(order), "secret"))
	}
}

// examineFile looks at who may read and write a file with a secret.
func examineFile(d *diagnosis, check, path string) {
	info, err := os.Stat(path)
	switch {
	case err != nil: // that it cannot be read is a problem of the configuration
	case info.Mode()&othersWrite != 0:
		d.problem(check, path, "chmod o-rw "+path, "everybody on this machine may change it (mode %04o)", info.Mode().Perm())
	case info.Mode()&othersRead != 0:
		d.warn(check, path, "chmod o-r "+path, "everybody on this machine may read it (mode %04o)", info.Mode().Perm())
	}
}

// someNames lists the first of many names.
func someNames(names []string) string {
	const most = 5
	if len(names) > most {
		return fmt.Sprintf("%s and %d others", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// Free space below which somebody should hear of it.
const (
	lowSpace   = 2 << 30 // in bytes
	leastSpace = 200 << 20
)

// examineDisk looks at the folder of the embedded server.
func examineDisk(d *diagnosis, cfg *config.Config) {
	if cfg.NATS.URL != "" {
		return // its disks are elsewhere
	}
	dir := cfg.NATS.Embedded.StoreDir
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.ok("disk", dir, "does not exist yet: `fanjet serve` creates it")
		return
	case err != nil:
		d.problem("disk", dir, "let the user that runs Fanjet read it", "cannot be looked at: %v", err)
		return
	case !info.IsDir():
		d.problem("disk", dir, "name a folder in nats.embedded.store_dir", "is no folder")
		return
	case info.Mode()&(othersRead|othersWrite) != 0:
		d.warn("disk", dir, "chmod o-rwx "+dir, "everybody on this machine may look into it, and events are kept there (mode %04o)", info.Mode().Perm())
	}
	key := filepath.Join(dir, broker.OperatorKeyName)
	if info, err := os.Stat(key); err == nil && info.Mode().Perm()&0o007 != 0 {
		d.problem("disk", key, "chmod o-rwx "+key, "everybody on this machine may read the operator's key (mode %04o)", info.Mode().Perm())
	}
	free, total, err := broker.DiskSpace(dir)
	const fix = "make room: when the disk is full, producers are refused and deliveries stand still"
	switch {
	case err != nil:
		d.warn("disk", dir, "", "the free space is not known: %v", err)
	case free < leastSpace:
		d.problem("disk", dir, fix, "only %s of %s are free", bytesText(free), bytesText(total))
	case free < lowSpace:
		d.warn("disk", dir, fix, "only %s of %s are free", bytesText(free), bytesText(total))
	default:
		d.ok("disk", dir, "%s of %s are free", bytesText(free), bytesText(total))
	}
}

// bytesText is a number of bytes for people.
func bytesText(n uint64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, i := float64(n)/unit, 0
	for ; value >= unit && i < 4; i++ {
		value /= unit
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTP"[i])
}
