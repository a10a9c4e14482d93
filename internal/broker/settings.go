// Package broker connects to NATS: to the server embedded in the process, or
// to one that somebody else runs.
package broker

import "time"

// Settings say which NATS to use.
type Settings struct {
	URL         string // empty: the embedded server
	Prefix      string
	Embedded    Embedded
	Credentials string // path of a .creds file
	TLS         TLS
	Replicas    int // of the streams that Fanjet creates
}

// Embedded are the settings of the server in the process.
type Embedded struct {
	StoreDir string
	Listen   string // host:port for other NATS clients; loopback only. Port -1 picks a free one.
	// SyncInterval is how often writes reach the disk; 0 syncs every write
	// before it is acknowledged (durability tier "fsync").
	SyncInterval time.Duration
}

// TLS are paths of PEM files; empty ones are not used.
type TLS struct{ CA, Cert, Key string }
