package broker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// codeNoPeers: a replicated stream finds no servers for its replicas.
const codeNoPeers jetstream.ErrorCode = 10005

// Transient reports whether an error of a connection or of the JetStream API
// is one that passes by itself: a server that is away, starting, full of
// connections, or electing a leader. Errors of credentials, certificates and
// configuration are not.
func Transient(err error) bool {
	if err == nil {
		return false
	}
	if errors.Is(err, nats.ErrTLS) {
		// A handshake that was cut off, not one that was refused.
		return timedOut(err) || cutOff(err)
	}
	if refusedTLS(err) {
		return false
	}
	for _, passing := range []error{
		nats.ErrNoServers, nats.ErrTimeout, nats.ErrNoResponders, nats.ErrDisconnected, nats.ErrStaleConnection,
		nats.ErrConnectionReconnecting, nats.ErrMaxConnectionsExceeded, nats.ErrMaxAccountConnectionsExceeded,
		context.DeadlineExceeded, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed,
	} {
		if errors.Is(err, passing) {
			return true
		}
	}
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		switch api.ErrorCode {
		case jetstream.JSErrCodeJetStreamNotEnabled, jetstream.JSErrCodeJetStreamNotEnabledForAccount:
			return false
		}
		if api.ErrorCode == codeNoPeers && strings.Contains(api.Description, "offline") {
			return true // a server of the cluster is away: enough of them are there in principle
		}
		return api.Code == 503 // no leader, or not ready yet
	}
	_, network := errors.AsType[net.Error](err) // includes a name that does not resolve yet
	return network
}

// refusedTLS reports whether the peer ended a TLS handshake with an alert, which
// says why.
func refusedTLS(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error"
}

// cutOff reports whether the peer took a connection and closed it. With TLS 1.3
// that is how a server may refuse a client certificate, or that there is none:
// its alert comes after the handshake, and can be lost.
func cutOff(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// wantsHandshakeFirst is what to do about a server that says nothing before the TLS
// handshake. A client that waits for it to begin runs into a timeout, or is cut off: the
// two wait for equally long by default.
const wantsHandshakeFirst = "if it wants the TLS handshake before anything else, set nats.tls.handshake_first"

func (s Settings) usesTLS() bool {
	return s.TLS != (TLS{}) || strings.Contains(s.URL, "tls://") || strings.Contains(s.URL, "wss://")
}

func timedOut(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

// explain says what a failed connection to the servers at where means and what
// to do about it.
func explain(err error, where string, settings Settings) error {
	say := func(problem string) error { return fmt.Errorf("NATS at %s %s: %w", where, problem, err) }

	_, unknownCA := errors.AsType[x509.UnknownAuthorityError](err)
	_, wrongName := errors.AsType[x509.HostnameError](err)
	_, notTLS := errors.AsType[tls.RecordHeaderError](err)
	invalid, isInvalid := errors.AsType[x509.CertificateInvalidError](err)
	switch {
	case errors.Is(err, nats.ErrAuthorization) && !settings.User.IsZero() && settings.Credentials == "":
		return say("refused the user in nats.user and nats.password: use one that this server knows")
	case errors.Is(err, nats.ErrAuthorization) && settings.Credentials == "":
		return say("asks for credentials: set nats.credentials to a .creds file, or nats.user and nats.password")
	case errors.Is(err, nats.ErrAuthorization):
		return say("refused the user in nats.credentials (" + settings.Credentials + "): use a .creds file of a user that this server knows")
	case errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked), errors.Is(err, nats.ErrAccountAuthExpired):
		return say("no longer accepts these credentials: issue new ones and put them where nats.credentials points")
	case errors.Is(err, nats.ErrNkeysNotSupported):
		return say("does not know .creds files: leave nats.credentials empty")
	case errors.Is(err, nats.ErrSecureConnWanted):
		return say("has no TLS: use nats:// in nats.url and leave nats.tls empty, or switch TLS on in the server")
	case unknownCA:
		return say("has a certificate that no known authority signed: set nats.tls.ca to the PEM file of its authority")
	case wrongName:
		return say("has a certificate for another name: use a name of the certificate in nats.url")
	case isInvalid && invalid.Reason == x509.Expired:
		return say("has a certificate that has expired or is not valid yet: renew it, or set the clock of this machine")
	case isInvalid:
		return say("has a certificate that is not valid for a server: replace it")
	case refusedTLS(err) && settings.TLS.Cert != "":
		return say("refused the client certificate in nats.tls.cert (" + settings.TLS.Cert + "): use one that its authority signed and that has not expired")
	case notTLS && settings.TLS.HandshakeFirst:
		return say("does not begin with the TLS handshake: leave nats.tls.handshake_first out, or switch it on in the server")
	case notTLS:
		return say("does not speak TLS: use nats:// in nats.url")
	case cutOff(err) && settings.usesTLS() && !settings.TLS.HandshakeFirst:
		return say("ended the TLS handshake; if it asks for a client certificate, set nats.tls.cert and nats.tls.key to one that it accepts; " + wantsHandshakeFirst)
	case cutOff(err) && settings.usesTLS():
		return say("ended the TLS handshake; if it asks for a client certificate, set nats.tls.cert and nats.tls.key to one that it accepts")
	case (errors.Is(err, nats.ErrTLS) || refusedTLS(err)) && settings.TLS.Cert == "":
		return say("ended the TLS handshake; if it asks for a client certificate, set nats.tls.cert and nats.tls.key")
	case errors.Is(err, nats.ErrTLS):
		return say("cannot be reached over TLS")
	case Transient(err) && settings.URL == "":
		return say("does not answer: start the gateway (fanjet serve), or set nats.url")
	case (timedOut(err) || cutOff(err)) && !settings.TLS.HandshakeFirst:
		return say("does not answer: check nats.url, and that the server runs; " + wantsHandshakeFirst)
	case Transient(err):
		return say("does not answer: check nats.url, and that the server runs")
	}
	return say("cannot be used")
}
