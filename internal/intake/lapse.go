package intake

import "time"

// Lapsed reports whether the server has taken the message back, because nothing was
// heard of it for the consumer's AckWait: this process was stopped, its machine
// suspended, or the connection lost. Others may have it, and may have settled it;
// what was not begun must not be. If nobody has it the server sends it again, and
// when that is to here it has not lapsed any more.
func (m *Message) Lapsed() bool {
	m.in.mu.Lock()
	defer m.in.mu.Unlock()
	return m.lapsed || m.in.lapses(m, time.Now())
}

// lapses reports whether the server has taken a message back that was beaten no
// more. The caller holds mu.
func (in *Intake) lapses(m *Message, now time.Time) bool {
	if in.opts.AckWait <= 0 {
		return false
	}
	// A report that leaves now would come too late already.
	return m.silence(now) >= in.opts.AckWait-in.opts.AckWait/10
}

// Silence is for how long the server has heard nothing of the message. Below the
// consumer's AckWait nobody else has it.
func (m *Message) Silence(now time.Time) time.Duration {
	m.in.mu.Lock()
	defer m.in.mu.Unlock()
	return m.silence(now)
}

// silence is Silence for a caller that holds in.mu.
func (m *Message) silence(now time.Time) time.Duration {
	// While a machine is suspended its clock stands, but not the time of day. When
	// that was set forward instead, the message comes again all the same.
	return max(now.Sub(m.beaten), now.Round(0).Sub(m.beaten.Round(0)))
}
