package httpsend

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"

	"fanjet/subscriber/outcome"
)

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
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &op) && !outcome.IsAlert(err):
		return fmt.Errorf("the connection broke in the TLS handshake: %w", err)
	default:
		return &outcome.HandshakeError{Err: err}
	}
}
