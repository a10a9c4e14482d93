package broker

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nats-io/nkeys"
)

// OperatorKeyName is the file in the store directory of an embedded server that
// holds the operator's key: the seed of an nkey, on a line of its own. A user
// who can read it has every right on the server.
const OperatorKeyName = "operator.nk"

// maxKeySize bounds what is read of a file that should hold a seed of 58 bytes.
const maxKeySize = 4 << 10

// operatorKey reads the key of a store directory. At the first start, or when
// somebody has deleted it, it makes a new one, mode 0600; one that is there is
// never replaced. The caller holds the lock of the directory.
func operatorKey(dir string) (nkeys.KeyPair, error) {
	path := filepath.Join(dir, OperatorKeyName)
	pair, err := readKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return pair, err
	}
	if pair, err = nkeys.CreateUser(); err != nil {
		return nil, fmt.Errorf("make the operator's key: %w", err)
	}
	seed, err := pair.Seed()
	if err != nil {
		return nil, fmt.Errorf("make the operator's key: %w", err)
	}
	if err := writeKey(path, seed); err != nil {
		return nil, fmt.Errorf("make the operator's key: %w", err)
	}
	return pair, nil
}

// writeKey makes a file that is complete or not there, also after a crash.
func writeKey(path string, seed []byte) (err error) {
	// A name of its own each time: a crash may have left one behind.
	file, err := os.CreateTemp(filepath.Dir(path), OperatorKeyName+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name())
		}
	}()
	_, err = file.Write(append(seed, '\n'))
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err = os.Rename(file.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// readKey reads a file with the seed of a user's nkey. One that everybody on
// the machine may read is refused. A group may be let in on purpose: the
// operators, or the one that Kubernetes gives the files of a volume.
func readKey(path string) (nkeys.KeyPair, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o007 != 0 {
		return nil, fmt.Errorf("%s has mode %04o, so that every user of this machine may use the key in it: run chmod o= %s; "+
			"and if one may have read it, delete it and restart: then there is a new key", path, mode, path)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxKeySize))
	if err != nil {
		return nil, err
	}
	return parseKey(path, data)
}

// parseKey reads the seed of a user's nkey; its errors show nothing of it.
func parseKey(path string, data []byte) (nkeys.KeyPair, error) {
	pair, err := nkeys.ParseDecoratedUserNKey(data)
	if err != nil {
		return nil, fmt.Errorf("%s does not hold the seed of an nkey for a user, which begins with SU: %w", path, err)
	}
	return pair, nil
}

// operatorKeyOf reads the key of the embedded server of another process.
func operatorKeyOf(settings Embedded) (nkeys.KeyPair, error) {
	path := filepath.Join(settings.StoreDir, OperatorKeyName)
	pair, err := readKey(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the operator's key of the embedded server is not at %s: start the gateway (fanjet serve), which makes it; "+
			"or run this where the gateway runs, with its configuration; or set nats.url: %w", path, err)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("the operator's key of the embedded server may be read only by the user that the gateway runs as: "+
			"run this as that user, or let a group of operators read the key (mode 640, and 750 for its folder): %w", err)
	}
	return pair, err
}
