package httpsend

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"fanjet/subscriber/outcome"
)

// reason is why there was no response: an exchange that was interrupted has no other.
func (x *Exchange) reason(err error) error {
	if cause := context.Cause(x.Context); cause != nil {
		return cause
	}
	var timeout net.Error
	if x.expired() && (errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()) {
		return outcome.ErrTimeout
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		if lack := lackOfDescriptors(); lack != nil {
			return fmt.Errorf("%w (%w)", lack, err)
		}
	}
	return err
}

// lackOfDescriptors is the error of the system when it gives the process no file
// descriptor. A resolver that gets none says that there is no such name.
func lackOfDescriptors() error {
	f, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	_ = f.Close()
	return nil
}
