package subscriber

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
)

// handshakeError is a TLS handshake in which the two sides did not agree:
// about a certificate, a version, a protocol.
type handshakeError struct{ error }

func (e *handshakeError) Unwrap() error { return e.error }

// handshakeFailure tells what went wrong in a handshake from a connection that
// broke meanwhile.
func handshakeFailure(err error) error {
	var (
		record tls.RecordHeaderError
		op     *net.OpError
	)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the TLS handshake takes too long: %w", err)
	case errors.As(err, &record):
		return err // as it is: http.Client looks at its type
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &op) && !isAlert(err):
		return fmt.Errorf("the connection broke in the TLS handshake: %w", err)
	default:
		return &handshakeError{err}
	}
}
