package broker

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"fanjet/internal/natstest"
)

// A .creds file works against a server in operator mode, and one that does not
// is an error that says what to do.
func TestCredsFile(t *testing.T) {
	t.Parallel()
	operator, system, account := newPair(t, nkeys.CreateOperator), newPair(t, nkeys.CreateAccount), newPair(t, nkeys.CreateAccount)
	claims := jwt.NewAccountClaims(public(t, account))
	claims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	resolver := &server.MemAccResolver{}
	for _, c := range []*jwt.AccountClaims{claims, jwt.NewAccountClaims(public(t, system))} {
		token, err := c.Encode(operator)
		if err == nil {
			err = resolver.Store(c.Subject, token)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	trusted := jwt.NewOperatorClaims(public(t, operator))
	trusted.SystemAccount = public(t, system)
	s := natstest.Start(t, natstest.Options{Listen: true, Adjust: func(o *server.Options) {
		o.TrustedOperators, o.AccountResolver, o.SystemAccount = []*jwt.OperatorClaims{trusted}, resolver, public(t, system)
	}})

	user := newKey(t)
	good := writeCreds(t, account, user, user, 0)
	for _, test := range []struct {
		name, file string
		want       string // part of the error; empty: connects
	}{
		{"good", good, ""},
		{"expired", writeCreds(t, account, user, user, -time.Minute), "nats.credentials"},
		{"of another account", writeCreds(t, newPair(t, nkeys.CreateAccount), user, user, 0), "nats.credentials"},
		{"seed of another user", writeCreds(t, account, user, newKey(t), 0), "nats.credentials"},
		{"none", "", "set nats.credentials"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			nc, err := Connect(t.Context(), Settings{URL: s.URL(), Credentials: test.file}, ConnectOptions{NoWait: true})
			if test.want != "" {
				if err == nil {
					nc.Close()
				}
				wantError(t, err, test.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			if err := CheckServer(t.Context(), nc); err != nil {
				t.Error(err)
			}
		})
	}
}

// The seed of an nkey is credentials, too; what is neither form is named, but
// not shown.
func TestSeedAsCredentials(t *testing.T) {
	t.Parallel()
	pair := newKey(t)
	s := natstest.Start(t, natstest.Options{Listen: true, Adjust: func(o *server.Options) {
		o.Nkeys = []*server.NkeyUser{{Nkey: public(t, pair)}}
	}})
	write := func(text string) string {
		path := filepath.Join(t.TempDir(), "key.nk")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := newKey(t).Seed()
	if err != nil {
		t.Fatal(err)
	}
	connect(t, Settings{URL: s.URL(), Credentials: write(string(seed) + "\n")}, ConnectOptions{NoWait: true})
	if _, err := Connect(t.Context(), Settings{URL: s.URL(), Credentials: write(string(stranger))}, ConnectOptions{NoWait: true}); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("the key of a stranger: %v", err)
	}
	garbage := "hunter2-is-no-seed"
	_, err = Connect(t.Context(), Settings{URL: s.URL(), Credentials: write(garbage)}, ConnectOptions{NoWait: true})
	if err == nil || !strings.Contains(err.Error(), "nats.credentials") || strings.Contains(err.Error(), garbage) {
		t.Errorf("garbage: %v", err)
	}
}

func newPair(t *testing.T, create func() (nkeys.KeyPair, error)) nkeys.KeyPair {
	t.Helper()
	pair, err := create()
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// writeCreds writes what nsc would: a token for a user, and a seed. A validity
// of 0 has no end.
func writeCreds(t *testing.T, account, user, holder nkeys.KeyPair, validity time.Duration) string {
	t.Helper()
	claims := jwt.NewUserClaims(public(t, user))
	if validity != 0 {
		claims.Expires = time.Now().Add(validity).Unix()
	}
	token, err := claims.Encode(account)
	if err != nil {
		t.Fatal(err)
	}
	own, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := holder.Seed()
	if err != nil {
		t.Fatal(err)
	}
	data, err := jwt.FormatUserConfig(token, own)
	if err != nil {
		t.Fatal(err)
	}
	data = bytes.Replace(data, own, seed, 1)
	path := filepath.Join(t.TempDir(), "user.creds")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
