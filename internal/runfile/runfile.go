// Package runfile is what a gateway leaves on its machine while it runs, so that
// commands find it without its configuration file: that may have been changed since,
// have a mistake, or be gone.
//
// The file is locked by the process that wrote it, so that one of a process that has
// ended, however it ended, tells nobody anything.
package runfile

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"
)

// Record says where a gateway is, in the settings with which it runs. It has no
// secret.
type Record struct {
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	Config  string    `json:"config"` // its configuration file
	Admin   Admin     `json:"admin"`
	NATS    NATS      `json:"nats"`

	// Network is the network namespace that its addresses are in: folders can be
	// shared by containers that are not in one. Empty: not known. Set by Write.
	Network string `json:"network,omitempty"`
	// Revision counts the updates. Set by Write and Update.
	Revision int `json:"revision"`
}

// Admin is where the listener for operators is.
type Admin struct {
	Address string `json:"address"`        // host:port that it is bound to
	Cert    string `json:"cert,omitempty"` // PEM file of its certificate; empty: plain HTTP
}

// NATS is where NATS is.
type NATS struct {
	URL            string `json:"url,omitempty"` // without users and passwords; empty: the server is embedded
	Prefix         string `json:"prefix"`
	Domain         string `json:"domain,omitempty"`
	Listen         string `json:"listen,omitempty"` // of the embedded server
	StoreDir       string `json:"store_dir,omitempty"`
	Credentials    string `json:"credentials,omitempty"` // a path, as are the next
	CA             string `json:"ca,omitempty"`
	Cert           string `json:"cert,omitempty"`
	Key            string `json:"key,omitempty"`
	HandshakeFirst bool   `json:"handshake_first,omitempty"`
	// ServerCert is the PEM file of the certificate that the embedded server has.
	ServerCert string `json:"server_cert,omitempty"`
	// Password is whether it proves itself with a password or token, which is not here.
	Password bool `json:"password,omitempty"`
}

// maxSize bounds what is read of a file, in bytes.
const maxSize = 64 << 10

// Folders are where a gateway leaves its file, and where commands of the same user, or
// of one that root's gateway serves, look for it. They need not exist. There are
// several, for none is there everywhere: containers with a read-only root have
// /dev/shm, and services with a /tmp of their own have it, too.
func Folders() []string {
	name := "fanjet-" + strconv.Itoa(os.Getuid())
	folders := []string{filepath.Join(os.TempDir(), name)}
	if runtime.GOOS == "linux" {
		folders = append(folders, filepath.Join("/dev/shm", name))
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		folders = append(folders, filepath.Join(dir, "fanjet"))
	}
	return folders
}

// ErrNowhere means that no folder takes a file.
var ErrNowhere = errors.New("no folder can be written to")

// network names the network namespace of this process; empty where there are none.
func network() string {
	name, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return ""
	}
	return name
}

// prefix begins the names of the files of gateways with a configuration file.
func prefix(config string) string {
	sum := sha256.Sum256([]byte(Locate(config)))
	return "gateway-" + hex.EncodeToString(sum[:8]) + "-"
}

// Locate is a configuration file's path, the same however it is written. The file may
// be gone, and may be a link that leads elsewhere tomorrow.
func Locate(config string) string {
	path, err := filepath.Abs(config)
	if err != nil {
		return config
	}
	if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		path = filepath.Join(dir, filepath.Base(path))
	}
	return path
}
