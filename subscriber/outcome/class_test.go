package outcome

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"testing"

	"fanjet/subscriber/egress"
)

func TestClassOf(t *testing.T) {
	t.Parallel()
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	for _, tt := range []struct {
		err  error
		want Class
	}{
		{ErrInterrupted, ClassInterrupted},
		{ErrTimeout, ClassTimeout},
		{fmt.Errorf("%w: 10.0.0.1 is not a public address", egress.ErrBlocked), ClassBlocked},
		{dial(os.NewSyscallError("socket", syscall.EMFILE)), ClassLocal},
		{dial(os.NewSyscallError("socket", syscall.ENFILE)), ClassLocal},
		{dial(&net.DNSError{Err: "no such host", IsNotFound: true}), ClassDNS},
		{dial(&net.DNSError{Err: "i/o timeout", IsTimeout: true}), ClassDNS},
		{dial(os.ErrDeadlineExceeded), ClassTimeout},
		{dial(os.NewSyscallError("connect", syscall.ETIMEDOUT)), ClassTimeout},
		{dial(os.NewSyscallError("connect", syscall.ECONNREFUSED)), ClassConnect},
		{fmt.Errorf("the TLS handshake takes too long: %w", context.DeadlineExceeded), ClassTimeout},
		{http.ErrSchemeMismatch, ClassTLS},
		{tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, ClassTLS},
		{&net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")}, ClassTLS},
		{&HandshakeError{errors.New("tls: server selected unsupported protocol version 301")}, ClassTLS},
		{&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, ClassTLS},
		{x509.UnknownAuthorityError{}, ClassTLS},
		{io.ErrUnexpectedEOF, ClassConnect},
		{errors.New("anything else"), ClassConnect},
	} {
		if got := ClassOf(tt.err); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.err, got, tt.want)
		}
		if got := ClassOf(&url.Error{Op: "Post", URL: "http://x", Err: tt.err}); got != tt.want {
			t.Errorf("%v, in an url.Error: %s, want %s", tt.err, got, tt.want)
		}
	}
}
