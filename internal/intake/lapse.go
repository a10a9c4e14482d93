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
func (in *Intake) lapses(m *Message, now time.Time) bool { return in.lapsesSince(m.beaten, now) }

// lapsesSince reports whether a report that leaves now would come too late for a message
// of which the server has heard nothing since some time.
func (in *Intake) lapsesSince(since, now time.Time) bool {
	return in.opts.AckWait > 0 && silence(since, now) >= in.opts.AckWait-in.opts.AckWait/10
}

// Silence is for how long the server has heard nothing of the message. Below the
// consumer's AckWait nobody else has it; of one that has lapsed it is never below that.
func (m *Message) Silence(now time.Time) time.Duration {
	m.in.mu.Lock()
	defer m.in.mu.Unlock()
	quiet := silence(m.beaten, now)
	if m.lapsed { // it waits for its next beat as the others do, but there was none
		quiet = max(quiet, m.in.opts.AckWait)
	}
	return quiet
}

// silence is how much time has passed. While a machine is suspended its clock stands, but
// not the time of day. When that was set forward instead, messages come again all the
// same.
func silence(since, now time.Time) time.Duration {
	return max(now.Sub(since), now.Round(0).Sub(since.Round(0)))
}
