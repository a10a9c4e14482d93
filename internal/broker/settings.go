// Package broker connects to NATS: to the server embedded in the process, or
// to one that somebody else runs.
package broker

import "time"

// Settings say which NATS to use.
type Settings struct {
	URL         string // empty: the embedded server
	Prefix      string
	Embedded    Embedded
	Credentials string // path of a .creds file, or of the seed of an nkey
	TLS         TLS
	Replicas    int // of the streams that Fanjet creates
}

// Embedded are the settings of the server in the process.
type Embedded struct {
	StoreDir string
	// Listen is host:port for other NATS clients; port -1 picks a free one.
	// Beyond loopback it needs users and TLS.
	Listen string
	// SyncInterval is how often writes reach the disk; 0 syncs every write
	// before it is acknowledged (durability tier "fsync").
	SyncInterval time.Duration

	Subjects  []string // of the events: what producers may publish to
	Anonymous bool     // clients without credentials are producers
	Users     []User   // names are unique
	TLS       TLS      // Cert and Key: of the server; CA: of its clients' certificates, which it then asks for
}

// TLS are paths of PEM files; empty ones are not used.
type TLS struct{ CA, Cert, Key string }
