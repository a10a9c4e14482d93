package admin

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"

	"fanjet/internal/secret"
)

// Settings are the part of the configuration that is about the listener.
type Settings struct {
	// Listen is host:port; port 0 takes a free one. Other machines can reach it
	// unless the host is localhost or a loopback address; then it needs tokens,
	// and TLS.
	Listen string
	// Hosts are the names, without port and in lower case, by which requests may
	// ask for it besides localhost and loopback addresses; without any it is the
	// address of Listen. A web page that makes a name of its own resolve to it
	// gets nothing.
	Hosts          []string
	Tokens         []Token // without any, whoever reaches it may do all
	TLS            TLS
	BehindTLSProxy bool // a proxy in front of it has TLS
}

// Token lets whoever has it use the API.
type Token struct {
	Name   string // unique; it is what the audit shows
	Secret secret.Value
	Scope  Scope
}

// TLS names PEM files; both or neither.
type TLS struct{ Cert, Key string }

// Scope is what a token allows. Each includes those before it.
type Scope string

// The scopes.
const (
	ScopeRead    Scope = "read"    // look, but not at the bodies of events
	ScopeOperate Scope = "operate" // pause, resume, ping, replay; look at bodies
	ScopeAdmin   Scope = "admin"   // what cannot be undone: purge
)

// Covers reports whether s allows what needs another scope; that may be empty,
// which everybody has.
func (s Scope) Covers(needed Scope) bool { return s.rank() >= needed.rank() }

func (s Scope) rank() int {
	switch s {
	case ScopeRead:
		return 1
	case ScopeOperate:
		return 2
	case ScopeAdmin:
		return 3
	default:
		return 0
	}
}

const (
	minToken = 24 // bytes
	maxToken = 1024
)

var (
	nameText  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	tokenText = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`) // of RFC 6750
)

// CheckName says what is wrong with the name of a token, or of a user of the embedded
// server.
func CheckName(name string) error {
	if !nameText.MatchString(name) {
		return errors.New("must be 1 to 63 letters, digits, dots, dashes and underscores, the first a letter or a digit")
	}
	return nil
}

// CheckToken says what is wrong with a token, without any of its text.
func CheckToken(text string) error {
	switch {
	case len(text) < minToken:
		return fmt.Errorf("has %d bytes; a token needs at least %d: `openssl rand -base64 32` makes one", len(text), minToken)
	case len(text) > maxToken:
		return fmt.Errorf("has %d bytes; a token has at most %d", len(text), maxToken)
	case !tokenText.MatchString(text):
		return errors.New("has characters that a bearer token cannot have: it takes letters, digits and . _ ~ + / - with = at the end")
	}
	return nil
}

// Problem is what is wrong with [Settings] as a whole.
type Problem struct {
	Key     string // of the configuration, below admin
	Message string
}

// Problems says why these settings would let somebody in who must not be. A
// token whose secret is not known counts.
func (s *Settings) Problems() []Problem {
	host, _, err := net.SplitHostPort(s.Listen)
	if err != nil {
		return []Problem{{"listen", "must be host:port, such as 127.0.0.1:8422"}}
	}
	var found []Problem
	ip := net.ParseIP(host)
	if host != "" && ip == nil && !strings.EqualFold(host, "localhost") {
		found = append(found, Problem{"listen", "must be an IP address and a port, such as 127.0.0.1:8422; a name could come to mean another address"})
	}
	if s.exposed() {
		why := "can be reached from other machines"
		if s.BehindTLSProxy {
			why = "is behind a proxy that others reach"
		}
		if len(s.Tokens) == 0 {
			found = append(found, Problem{"listen", why + ", so it needs admin.tokens: set some, or listen on 127.0.0.1 without a proxy"})
		}
		if s.TLS == (TLS{}) && !s.BehindTLSProxy {
			found = append(found, Problem{"listen", why + ", so it needs TLS: set admin.tls, or admin.behind_tls_proxy if a proxy in front of it has TLS"})
		}
	}
	if len(s.Hosts) == 0 && (host == "" || ip != nil && ip.IsUnspecified()) {
		found = append(found, Problem{"listen", "is every address of this machine, so admin.hosts must name those by which it is asked for, such as [fanjet.example.com]"})
	}
	return found
}

// Check returns every problem, those of tokens included.
func (s *Settings) Check() error {
	var errs []error
	for _, p := range s.Problems() {
		errs = append(errs, fmt.Errorf("admin.%s: %q %s", p.Key, s.Listen, p.Message))
	}
	names := make(map[string]bool)
	for _, t := range s.Tokens {
		if names[t.Name] {
			errs = append(errs, fmt.Errorf("admin.tokens: there are two tokens with the name %s", t.Name))
		}
		names[t.Name] = true
		if err := CheckName(t.Name); err != nil {
			errs = append(errs, fmt.Errorf("admin.tokens: the name %q %w", t.Name, err))
		}
		if err := checkSecret(t.Secret); err != nil {
			errs = append(errs, fmt.Errorf("admin.tokens: the token %s %w", t.Name, err))
		}
		if t.Scope.rank() == 0 {
			errs = append(errs, fmt.Errorf("admin.tokens: the token %s has no scope", t.Name))
		}
	}
	return errors.Join(errs...)
}

// exposed reports whether others than this machine can reach the listener.
func (s *Settings) exposed() bool { return s.BehindTLSProxy || !isLoopback(s.Listen) }

// isLoopback reports whether host:port is reached from this machine only.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// bindAddress is what to listen at. The name localhost is not resolved: a hosts
// file must not be able to open the listener up.
func (s *Settings) bindAddress() string {
	if host, port, err := net.SplitHostPort(s.Listen); err == nil && strings.EqualFold(host, "localhost") {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return s.Listen
}
