package overdue

import (
	"fmt"
	"time"

	"go.uber.org/zap"
)

// A schedule that is overdue by alarmAfter is alarming. When there is one for longer than
// those that are set anew need to fire, alarmFor, the gateway is not ready for it; after
// helpAfter the embedded server is restarted, at most every helpEvery: what is stored
// fires then.
const alarmAfter, alarmFor, helpAfter, helpEvery = time.Minute, 20 * time.Second, time.Minute, 15 * time.Minute

// tell says how it is, and has the embedded server restarted when nothing else
// helps.
func (w *Watch) tell(now, local time.Time) {
	var age time.Duration
	for _, l := range w.late {
		age = max(age, now.Sub(l.due))
	}
	w.opts.Metrics.longest.Store(int64(age))
	switch {
	case age < alarmAfter:
		w.alarmed = time.Time{}
	case w.alarmed.IsZero():
		w.alarmed = local
	}
	if w.alarmed.IsZero() || local.Sub(w.alarmed) < alarmFor {
		w.opts.Report(nil)
		return
	}
	fix := "if it has room, restart it"
	if w.opts.Restart != nil {
		fix = "it is restarted soon, if that lasts"
	}
	// Without a figure that changes with every look.
	w.opts.Report(fmt.Errorf("retries are overdue: the NATS server does not make deliveries of them, although they were set anew; %s", fix))
	if w.opts.Restart == nil || local.Sub(w.alarmed) < helpAfter || !w.helped.IsZero() && local.Sub(w.helped) < helpEvery {
		return
	}
	w.helped = local
	if err := w.opts.Restart("its schedules do not fire"); err != nil {
		w.opts.Log.Error("the embedded NATS server cannot be restarted; it is tried again", zap.Error(err))
	}
}
