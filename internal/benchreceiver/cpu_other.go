//go:build !unix

package benchreceiver

import "time"

// CPU cannot tell here.
func CPU() time.Duration { return 0 }
