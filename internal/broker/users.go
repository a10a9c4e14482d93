package broker

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
	"golang.org/x/crypto/bcrypt"

	"fanjet/internal/secret"
)

// Role is what a client of the embedded server may do.
type Role string

// The roles.
const (
	// Producer may publish events and gets their acknowledgements.
	Producer Role = "producer"
	// Operator may do everything in the account of the streams, as the gateway
	// may.
	Operator Role = "operator"
)

// User is one that the embedded server lets in: by a password, or by an nkey.
type User struct {
	Name string
	Role Role
	// Password is the password itself or its bcrypt hash; empty with an nkey.
	Password secret.Value
	Nkey     string // the public key, U…; empty with a password
	// Publish are the subjects of a producer, none of which overlaps another;
	// empty means all subjects of the sources.
	Publish []string
}

// IsPasswordHash reports whether text is a bcrypt hash, and not a password.
func IsPasswordHash(text string) bool {
	_, err := bcrypt.Cost([]byte(text))
	return err == nil
}

// CheckNkey returns an error unless text is the public nkey of a user.
func CheckNkey(text string) error {
	if !nkeys.IsValidPublicUserKey(text) {
		return errors.New("must be the public nkey of a user, which begins with U and has 56 characters")
	}
	return nil
}

// directory finds out who a client is. Its methods may be called concurrently.
type directory struct {
	byName    map[string]*User
	byNkey    map[string]*User
	anonymous *User // nil: nobody is let in without credentials

	// hashing lets one hash be compared at a time: each takes tens of
	// milliseconds of a processor, and strangers can ask for it.
	hashing sync.Mutex
	// decoy is compared with the passwords of users that do not exist, so that
	// the time of a refusal does not tell who does.
	decoy []byte
}

func newDirectory(users []User, anonymous bool, operatorKey string) (*directory, error) {
	d := &directory{byName: make(map[string]*User), byNkey: make(map[string]*User)}
	for i := range users {
		u := &users[i]
		switch {
		case u.Nkey != "":
			d.byNkey[u.Nkey] = u
		case !u.Password.IsZero():
			d.byName[u.Name] = u
			if d.decoy == nil && IsPasswordHash(u.Password.Reveal()) {
				d.decoy = []byte(u.Password.Reveal())
			}
		default:
			return nil, fmt.Errorf("nats.embedded.users: %s has neither a password nor an nkey", u.Name)
		}
	}
	d.byNkey[operatorKey] = &User{Name: "operator", Role: Operator, Nkey: operatorKey}
	if anonymous {
		d.anonymous = &User{Name: "anonymous", Role: Producer}
	}
	return d, nil
}

// identify returns the user that the credentials of a CONNECT prove, or nil.
func (d *directory) identify(opts *server.ClientOpts, nonce []byte) *User {
	switch {
	case opts.Nkey != "":
		u := d.byNkey[opts.Nkey]
		if u == nil || !signed(opts.Nkey, opts.Sig, nonce) {
			return nil
		}
		return u
	case opts.Username != "":
		return d.byPassword(opts.Username, opts.Password)
	case opts.Password != "" || opts.Token != "":
		return nil
	}
	return d.anonymous
}

func (d *directory) byPassword(name, password string) *User {
	u := d.byName[name]
	if u == nil {
		if d.decoy != nil {
			d.matchesHash(d.decoy, password)
		}
		return nil
	}
	want := u.Password.Reveal()
	if IsPasswordHash(want) {
		if !d.matchesHash([]byte(want), password) {
			return nil
		}
		return u
	}
	a, b := sha256.Sum256([]byte(want)), sha256.Sum256([]byte(password))
	if subtle.ConstantTimeCompare(a[:], b[:]) != 1 {
		return nil
	}
	return u
}

func (d *directory) matchesHash(hash []byte, password string) bool {
	d.hashing.Lock()
	defer d.hashing.Unlock()
	return bcrypt.CompareHashAndPassword(hash, []byte(password)) == nil
}

// signed reports whether sig is the signature of nonce by the owner of a key.
func signed(publicKey, sig string, nonce []byte) bool {
	if len(nonce) == 0 {
		return false
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(sig, "="))
	if err != nil {
		// Some older clients use the other alphabet.
		if raw, err = base64.StdEncoding.DecodeString(sig); err != nil {
			return false
		}
	}
	key, err := nkeys.FromPublicKey(publicKey)
	return err == nil && key.Verify(nonce, raw) == nil
}
