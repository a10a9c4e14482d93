package dlq

import (
	"crypto/rand"
	"time"

	"github.com/nats-io/nats.go"
)

// remover is a purge or a drain, as replays see it.
type remover struct {
	*speaker
	endpoint string    // whose letters are removed; empty: those of all
	answers  chan bool // a replay has spoken; false: there is none

	quit, ended chan struct{}

	delivered int // letters that it removed, and that replays had delivered; read it when ended
}

// startRemover listens to replays that end while letters of an endpoint, or of
// all, are removed. Call end when they are.
func (q *Queue) startRemover(endpoint string) *remover {
	r := &remover{
		speaker:  listen(q.js.Conn(), rand.Text(), q.names.ControlRemoveSubject(), q.names.ControlReplaySubject()),
		endpoint: endpoint, answers: make(chan bool, notesRoom), quit: make(chan struct{}), ended: make(chan struct{}),
	}
	go r.run()
	return r
}

// run hears notes until r.quit is closed, and those that have come by then.
func (r *remover) run() {
	defer close(r.ended)
	for {
		select {
		case m := <-r.notes:
			r.hear(m)
		case <-r.quit:
			if len(r.notes) == 0 {
				return
			}
		}
	}
}

// hear takes what a replay says, and answers which of it were removed here.
func (r *remover) hear(m *nats.Msg) {
	note, ok, nobody := r.read(m)
	if ok {
		taken := note.Delivered.of(r.endpoint)
		if r.confirm(besideNote{To: note.From, Taken: taken}) {
			r.delivered += taken.Total()
		}
	}
	if nobody || ok {
		select {
		case r.answers <- ok:
		default:
		}
	}
}

// end asks the replays that run what of the removed letters they had delivered,
// and returns the outcome as it is then: those are skipped.
func (r *remover) end(o Outcome) Outcome {
	if o.Done > 0 {
		r.ask()
	}
	r.close()
	close(r.quit)
	<-r.ended
	n := min(r.delivered, o.Done)
	o.Done -= n
	o.Skipped += n
	return o
}

func (r *remover) ask() {
	for len(r.answers) > 0 {
		<-r.answers // of those that ended before
	}
	if !r.say(besideNote{Endpoint: r.endpoint}) {
		return
	}
	wait := time.NewTimer(answerTime)
	defer wait.Stop()
	for {
		select {
		case there := <-r.answers:
			if !there {
				return
			}
			wait.Reset(quietTime)
		case <-wait.C:
			return
		}
	}
}
