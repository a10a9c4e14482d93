package httpsend

import "time"

const (
	// lookTime is how long what came in time may take to be read after the time is
	// up. It waits in the socket already.
	lookTime = 250 * time.Millisecond
)

// Read implements [net.Conn]. When the time of an exchange is up it looks at the
// socket once more: a process that was stopped, or had no processor, finds its
// timers run out before it has read what came in time. With nothing there, the time
// is up.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 || err == nil || !c.looks || !isTimeout(err) {
		return n, err
	}
	c.looks = false
	if !c.quiet.Waiting() {
		return n, err
	}
	_ = c.SetReadDeadline(time.Now().Add(lookTime))
	return c.Conn.Read(p)
}
