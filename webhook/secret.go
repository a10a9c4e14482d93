package webhook

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Prefixes of secrets (Standard Webhooks 1.0, signature scheme).
const (
	prefixShared  = "whsec_"
	prefixPrivate = "whsk_"
	prefixPublic  = "whpk_"
)

const (
	// Bounds of a shared secret, in bytes (Standard Webhooks 1.0).
	minShared, maxShared = 24, 64

	// newShared is what [NewSecret] makes: as long as the output of SHA-256;
	// longer ones add nothing.
	newShared = 32

	// maxSecrets bounds the secrets of a sender or receiver, and with them the
	// work that a stranger's signature header can cause.
	maxSecrets = 16
)

// ErrSecret means that a secret cannot be used. The error that wraps it says
// which one and why, and never contains any of it.
var ErrSecret = errors.New("invalid webhook secret")

// NewSecret returns a new shared secret: "whsec_" and 32 random bytes in
// base64.
func NewSecret() string {
	b := make([]byte, newShared)
	rand.Read(b) // never fails, see its documentation
	return prefixShared + base64.StdEncoding.EncodeToString(b)
}

// NewKeyPair returns a new Ed25519 key pair: a whsk_ secret for the sender, and
// the whpk_ public key for its receivers.
func NewKeyPair() (private, public string) {
	seed := make([]byte, ed25519.SeedSize)
	rand.Read(seed)
	key := ed25519.NewKeyFromSeed(seed)
	return prefixPrivate + base64.StdEncoding.EncodeToString(key),
		prefixPublic + base64.StdEncoding.EncodeToString(publicHalf(key))
}

// secretKey is a parsed secret: a shared one has only mac, a public one only
// public, and a private one has private and the public that belongs to it.
type secretKey struct {
	mac     *macKey
	private *privateKey
	public  ed25519.PublicKey
}

// parseSecrets parses all of secrets and reports everything that is wrong.
func parseSecrets(secrets []string) ([]secretKey, error) {
	switch {
	case len(secrets) == 0:
		return nil, fmt.Errorf("%w: none given", ErrSecret)
	case len(secrets) > maxSecrets:
		return nil, fmt.Errorf("%w: %d given, at most %d are allowed", ErrSecret, len(secrets), maxSecrets)
	}
	keys := make([]secretKey, len(secrets))
	var errs []error
	for i, secret := range secrets {
		var err error
		if keys[i], err = parseSecret(secret); err != nil {
			errs = append(errs, fmt.Errorf("%w (%d of %d): %w", ErrSecret, i+1, len(secrets), err))
		}
	}
	return keys, errors.Join(errs...)
}

func parseSecret(secret string) (secretKey, error) {
	if text, ok := strings.CutPrefix(secret, prefixShared); ok {
		b, err := decodeSecret(text)
		if err != nil {
			return secretKey{}, err
		}
		if len(b) < minShared || len(b) > maxShared {
			return secretKey{}, fmt.Errorf("it has %d bytes, a whsec_ secret has %d to %d", len(b), minShared, maxShared)
		}
		return secretKey{mac: newMACKey(b)}, nil
	}
	if text, ok := strings.CutPrefix(secret, prefixPrivate); ok {
		b, err := decodeSecret(text)
		if err != nil {
			return secretKey{}, err
		}
		if len(b) != ed25519.PrivateKeySize {
			return secretKey{}, fmt.Errorf("it has %d bytes, a whsk_ key has %d", len(b), ed25519.PrivateKeySize)
		}
		// Signatures made with a public half that is not the seed's would give
		// the private key away.
		key := ed25519.NewKeyFromSeed(b[:ed25519.SeedSize])
		if subtle.ConstantTimeCompare(key, b) != 1 {
			return secretKey{}, errors.New("the public half of the whsk_ key does not belong to its private half")
		}
		return secretKey{private: newPrivateKey(key), public: publicHalf(key)}, nil
	}
	if text, ok := strings.CutPrefix(secret, prefixPublic); ok {
		b, err := decodeSecret(text)
		if err != nil {
			return secretKey{}, err
		}
		if len(b) != ed25519.PublicKeySize {
			return secretKey{}, fmt.Errorf("it has %d bytes, a whpk_ key has %d", len(b), ed25519.PublicKeySize)
		}
		return secretKey{public: b}, nil
	}
	return secretKey{}, errors.New("it must start with whsec_, whsk_ or whpk_")
}

// decodeSecret is strict, because a secret that was cut or pasted badly would
// otherwise show up only as signatures that do not match.
func decodeSecret(text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") {
		return nil, errors.New("it contains a line break")
	}
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		// The cause is left out: its offset is of no use without the text.
		return nil, errors.New("what follows its prefix is not base64 (standard alphabet, with padding)")
	}
	return b, nil
}

// publicHalf returns a copy, so that who keeps it does not keep the private key.
func publicHalf(key ed25519.PrivateKey) ed25519.PublicKey {
	return slices.Clone(ed25519.PublicKey(key[ed25519.SeedSize:]))
}
