package subscriber

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
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
	ClassInterrupted Class = "interrupted" // a shutdown; not the endpoint's failure
)

// classes lists all of them, for metrics.
var classes = [...]Class{
	Class2xx, Class3xx, Class4xx, Class5xx, ClassTimeout, ClassDNS, ClassConnect, ClassTLS, ClassBlocked, ClassLocal, ClassInterrupted,
}

func statusClass(status int) Class {
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

func classOf(err error) Class {
	var (
		dns       *net.DNSError
		record    tls.RecordHeaderError
		alert     tls.AlertError
		cert      *tls.CertificateVerificationError
		authority x509.UnknownAuthorityError
		timeout   net.Error
	)
	switch {
	case errors.Is(err, errInterrupted):
		return ClassInterrupted
	case errors.Is(err, ErrBlocked):
		return ClassBlocked
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return ClassLocal
	case errors.As(err, &dns):
		return ClassDNS
	case errors.Is(err, errTimeout), errors.Is(err, context.DeadlineExceeded):
		return ClassTimeout
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &record), errors.As(err, &alert), errors.As(err, &cert), errors.As(err, &authority):
		return ClassTLS
	case errors.As(err, &timeout) && timeout.Timeout():
		return ClassTimeout
	default:
		return ClassConnect
	}
}

// Failure says why there was no response, without the URL, which may carry a
// secret; empty if there was one.
func (r Result) Failure() string { return r.describe() }

// describe says why an attempt failed, for headers and logs: without the URL,
// which may carry a secret in its path or query.
func (r Result) describe() string {
	if r.Err == nil {
		return ""
	}
	err := r.Err
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err
	}
	return string(r.Class) + ": " + strings.TrimPrefix(err.Error(), "net/http: ")
}
