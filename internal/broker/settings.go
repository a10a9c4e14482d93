package broker

import (
	"time"

	"fanjet/internal/secret"
)

// Settings say which NATS to use.
type Settings struct {
	URL         string // empty: the embedded server
	Prefix      string
	Embedded    Embedded
	Domain      string // of JetStream, on servers of others; empty: that of the server itself
	Credentials string // path of a .creds file, or of the seed of an nkey
	// User and Password are of a user that servers of others know by these; zero:
	// none.
	User, Password secret.Value
	TLS            TLS
	Replicas       int // of the streams that Fanjet creates
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
type TLS struct {
	CA, Cert, Key string
	// HandshakeFirst is for servers of others that say nothing before the TLS
	// handshake.
	HandshakeFirst bool
}
