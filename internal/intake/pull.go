package intake

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// The pull protocol of JetStream is spoken here rather than by nats.go's
// jetstream package: that one takes an empty event with a header "Status" for a
// control message of the server, and never hands it out (1.55.0). A message is
// what asks for an acknowledgement, whatever its headers.

const (
	ackPrefix = "$JS.ACK."

	// fetchWait is how long one pull request waits for messages. It bounds how
	// long a stop takes, and keeps a pinned client pinned.
	fetchWait = 500 * time.Millisecond
	// answerWait is how much later the server may say that the wait is over.
	answerWait = 2 * time.Second

	headerStatus      = "Status"
	headerDescription = "Description"
	headerPinID       = "Nats-Pin-Id"
)

// pullRequest is what asks for messages (NATS ADR-37, priority groups ADR-42).
type pullRequest struct {
	Batch    int           `json:"batch"`
	MaxBytes int           `json:"max_bytes"`
	Expires  time.Duration `json:"expires"`
	Group    string        `json:"group,omitempty"`
	PinID    string        `json:"id,omitempty"`
}

// puller asks the server for messages, one request at a time.
type puller struct {
	conn    *nats.Conn
	subject string // of requests
	group   string
	pinID   string // says that we are the client that the group is pinned to

	inbox string // answers to request n come to inbox.n
	n     uint64
	sub   *nats.Subscription
	msgs  chan *nats.Msg
	wait  *time.Timer
}

func newPuller(o *Options) (*puller, error) {
	p := &puller{
		conn:    o.Conn,
		subject: cmp.Or(o.Prefix, "$JS.API") + ".CONSUMER.MSG.NEXT." + o.Stream + "." + o.Consumer,
		group:   o.Group,
		inbox:   o.Conn.NewInbox(),
		msgs:    make(chan *nats.Msg, 2*maxFetch),
		wait:    time.NewTimer(time.Hour),
	}
	var err error
	p.sub, err = o.Conn.ChanSubscribe(p.inbox+".*", p.msgs)
	return p, err
}

// close ends the interest in answers. The server sends no more then; what it
// had sent before goes to admit.
func (p *puller) close(admit func(*nats.Msg)) {
	_ = p.sub.Unsubscribe()
	p.wait.Stop()
	for {
		select {
		case m := <-p.msgs:
			if isMessage(m) {
				admit(m)
			}
		default:
			return
		}
	}
}

// errUnanswered means that the server said nothing about a request.
var errUnanswered = errors.New("the server does not answer pull requests")

// errNoRoom means that the next message is larger than what was asked for.
var errNoRoom = errors.New("the next message is larger than what is asked for at a time: it was stored when the server's max_payload was larger")

// pull makes one request and hands every message to admit. It returns when
// the request is answered in full or its wait is over.
func (p *puller) pull(count, size int, admit func(*nats.Msg)) error {
	request, err := json.Marshal(pullRequest{Batch: count, MaxBytes: size, Expires: fetchWait, Group: p.group, PinID: p.pinID})
	if err != nil {
		return err
	}
	p.n++
	inbox := p.inbox + "." + strconv.FormatUint(p.n, 10)
	if err := p.conn.PublishRequest(p.subject, inbox, request); err != nil {
		return fmt.Errorf("cannot pull: %w", err)
	}
	p.wait.Reset(fetchWait + answerWait)
	asked := count
	for count > 0 {
		select {
		case m := <-p.msgs:
			if isMessage(m) {
				if id := pinOf(m); id != "" && p.group != "" {
					p.pinID = id
				}
				admit(m)
				count--
				continue
			}
			if m.Subject != inbox {
				continue // about an earlier request
			}
			done, err := p.status(m)
			if errors.Is(err, errNoRoom) && count < asked {
				return nil // what came before it filled the room
			}
			if done || err != nil {
				return err
			}
		case <-p.wait.C:
			return errUnanswered
		}
	}
	return nil
}

// admitRest hands to admit what came although nobody waits for it, until the
// returned function is called: a server in a cluster can answer a request for
// which it said that the time was over, beside the next one. A message that lay
// here unseen would not be reported in progress, and another client would get it,
// too.
func (p *puller) admitRest(in *Intake) (stop func()) {
	for {
		select {
		case m := <-p.msgs:
			if isMessage(m) {
				in.admit(m)
			}
			continue
		default:
		}
		break
	}
	if !in.Full() {
		return func() {}
	}
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case m := <-p.msgs:
				if isMessage(m) {
					in.admit(m)
				}
			case <-over:
				return
			}
		}
	}()
	return func() { close(over); <-done }
}

// pinOf reads the id that the server adds to every message for a pinned client.
// The producer may have stored a header of that name, which comes before it.
func pinOf(m *nats.Msg) string {
	if ids := m.Header[headerPinID]; len(ids) > 0 {
		return ids[len(ids)-1]
	}
	return ""
}

// isMessage tells a message of the stream from a status of the server.
func isMessage(m *nats.Msg) bool { return strings.HasPrefix(m.Reply, ackPrefix) }

// status reads what the server says about a request.
func (p *puller) status(m *nats.Msg) (done bool, err error) {
	code, description := m.Header.Get(headerStatus), m.Header.Get(headerDescription)
	switch code {
	case "100": // still there
		return false, nil
	case "404", "408": // nothing came
		return true, nil
	case "423": // another client is pinned
		p.pinID = ""
		return true, nil
	case "503":
		return true, nats.ErrNoResponders
	case "409":
		switch lower := strings.ToLower(description); {
		case strings.Contains(lower, "batch completed"):
			return true, nil
		case strings.Contains(lower, "exceeds maxbytes"):
			return true, errNoRoom
		case strings.Contains(lower, "server shutdown"), strings.Contains(lower, "leadership change"):
			return true, errors.New("the server of the consumer stops, or another one takes over")
		}
	}
	return true, fmt.Errorf("the server refuses to send: %s %s", code, description)
}

// receive pulls until ctx ends or the consumer fails. It reports whether any
// request was answered.
func (in *Intake) receive(ctx context.Context) (received bool, err error) {
	p, err := newPuller(&in.opts)
	if err != nil {
		return false, fmt.Errorf("cannot pull: %w", err)
	}
	defer p.close(in.admit)
	in.beatAll()
	for {
		rest := p.admitRest(in)
		count, size := in.credit(ctx)
		rest()
		if ctx.Err() != nil {
			return received, nil
		}
		if !in.opts.Conn.IsConnected() {
			return received, nats.ErrDisconnected
		}
		in.mu.Lock()
		in.life = in.opts.Conn.Stats().Reconnects
		in.asked = time.Now()
		in.mu.Unlock()
		if err := p.pull(count, size, in.admit); err != nil {
			return received, err
		}
		if !received {
			received = true
			in.state(nil)
		}
	}
}
