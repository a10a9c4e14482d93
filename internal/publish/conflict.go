package publish

import (
	"errors"

	"github.com/nats-io/nats.go"
)

// asksForID reports whether a single message met a conflict that may be with itself.
// A server without a cluster compares the expected sequence of a single message before
// it looks at the id: a message that is sent again, because its answer was lost, is
// told that it conflicts with what it stored the first time.
func (it *item) asksForID(err error) bool {
	return classify(err) == conflict && it.msg.Header.Get(nats.MsgIdHdr) != ""
}

// askForIDs decides the items that met a conflict, by sending each as an atomic batch
// of its own: of a batch every server looks at the ids first. It returns why an item
// is not decided.
func (p *Publisher) askForIDs(items []item) (err error) {
	for i := range items {
		it := &items[i]
		if it.done == nil || it.conflict == nil {
			continue
		}
		it.conflict = nil
		answer := p.tryBatch(items[i : i+1])
		switch {
		case errors.Is(answer, ErrStale):
			it.unstage()
			it.done.Published(ErrStale)
			*it = item{}
			continue
		case classify(answer) == duplicates:
			if !it.tried && p.opts.Known != nil {
				p.opts.Known(it.done)
			}
			answer = nil
		}
		if it.unstage(); !p.decide(it, answer) {
			err = answer
		}
	}
	return err
}
