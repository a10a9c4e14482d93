package outcome

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"fanjet/subscriber/egress"
)

// Class groups the outcomes of attempts for metrics and decisions.
type Class string

// The classes.
const (
	Class2xx         Class = "2xx"
	Class3xx         Class = "3xx"
	Class4xx         Class = "4xx"
	Class5xx         Class = "5xx"
	ClassTimeout     Class = "timeout"     // the attempt took longer than the endpoint's timeout
	ClassDNS         Class = "dns"         // the name does not resolve
	ClassConnect     Class = "connect"     // no connection, or it broke
	ClassTLS         Class = "tls"         // handshake or certificate
	ClassBlocked     Class = "blocked"     // the egress policy forbids the address
	ClassLocal       Class = "local"       // this machine has no more file descriptors; not the endpoint's failure
	ClassInterrupted Class = "interrupted" // a shutdown, a process that stood still, or another egress policy; not the endpoint's failure
)

// Classes lists all of them, for metrics.
var Classes = [...]Class{
	Class2xx, Class3xx, Class4xx, Class5xx, ClassTimeout, ClassDNS, ClassConnect, ClassTLS, ClassBlocked, ClassLocal, ClassInterrupted,
}

// StatusClass is the class of a response with a status.
func StatusClass(status int) Class {
	switch {
	case status >= 200 && status < 300:
		return Class2xx
	case status >= 300 && status < 400:
		return Class3xx
	case status >= 400 && status < 500:
		return Class4xx
	default:
		return Class5xx // and what no RFC knows
	}
}

// ClassOf is the class of an attempt that got no response for a reason.
func ClassOf(err error) Class {
	var (
		dns       *net.DNSError
		record    tls.RecordHeaderError
		shake     *HandshakeError
		cert      *tls.CertificateVerificationError
		authority x509.UnknownAuthorityError
		timeout   net.Error
	)
	switch {
	case errors.Is(err, ErrInterrupted), errors.Is(err, ErrRetired), errors.Is(err, ErrStoodStill):
		return ClassInterrupted
	case errors.Is(err, egress.ErrBlocked):
		return ClassBlocked
	case isLocal(err):
		return ClassLocal
	case errors.As(err, &dns):
		return ClassDNS
	case errors.Is(err, ErrTimeout), errors.Is(err, context.DeadlineExceeded):
		return ClassTimeout
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &record), errors.As(err, &shake), IsAlert(err),
		errors.As(err, &cert), errors.As(err, &authority):
		return ClassTLS
	case errors.As(err, &timeout) && timeout.Timeout():
		return ClassTimeout
	default:
		return ClassConnect
	}
}

// HandshakeError is a TLS handshake in which the two sides did not agree:
// about a certificate, a version, a protocol.
type HandshakeError struct{ Err error }

func (e *HandshakeError) Error() string { return e.Err.Error() }
func (e *HandshakeError) Unwrap() error { return e.Err }

// isLocal reports whether err says that this machine lacks what an attempt
// needs, whoever the endpoint is.
func isLocal(err error) bool {
	if _, ok := errors.AsType[x509.SystemRootsError](err); ok {
		return true // the certificates of the system cannot be read
	}
	for _, lack := range [...]error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, lack) {
			return true
		}
	}
	return false
}

// IsAlert reports whether TLS ended a connection. In TLS 1.3 a receiver that
// asks for a certificate misses it only after the handshake.
func IsAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error")
}

// Plain makes a line of text that can be shown anywhere, of at most limit
// bytes. Some errors repeat what the receiver sent, or its certificate says.
func Plain(text string, limit int) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case unicode.IsSpace(r):
			r = ' '
		case r == utf8.RuneError, !unicode.IsPrint(r):
			r = '?'
		}
		if b.WriteRune(r); b.Len() > limit {
			const cut = "..."
			return strings.ToValidUTF8(b.String()[:limit-len(cut)], "") + cut
		}
	}
	return b.String()
}
