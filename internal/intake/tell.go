package intake

import (
	"context"
	"sync"

	"github.com/nats-io/nats.go"
)

// teller tells the server what became of messages. Who settles a message does not wait
// for it: a connection is locked while its buffer is written, and all would stand in line.
type teller struct {
	conn *nats.Conn

	mu     sync.Mutex
	silent sync.Cond // there is nothing to say any more
	words  []word
	spare  []word // of words, for its memory
	speaks bool   // a goroutine says them
}

// word is what is to be said about a message.
type word struct {
	reply string
	text  []byte
}

func (t *teller) init(conn *nats.Conn) {
	t.conn = conn
	t.silent.L = &t.mu
}

// say has a word said soon. Words are said in the order in which they came.
func (t *teller) say(reply string, text []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.words = append(t.words, word{reply, text})
	if !t.speaks {
		t.speaks = true
		go t.speak()
	}
}

// speak says all words, also those that come meanwhile.
func (t *teller) speak() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.words) > 0 {
		words := t.words
		t.words = t.spare[:0]
		t.mu.Unlock()
		for _, w := range words {
			_ = t.conn.Publish(w.reply, w.text)
		}
		clear(words)
		t.mu.Lock()
		t.spare = words
	}
	t.speaks = false
	t.silent.Broadcast()
}

// wait waits until there is nothing to say, or ctx ends.
func (t *teller) wait(ctx context.Context) error {
	return waitUntil(ctx, &t.silent, func() bool { return !t.speaks })
}

// waitUntil waits until something is so, which is looked at with the lock of a condition
// held whenever that is signalled, or until ctx ends.
func waitUntil(ctx context.Context, signalled *sync.Cond, is func() bool) error {
	stop := context.AfterFunc(ctx, func() {
		signalled.L.Lock()
		signalled.Broadcast()
		signalled.L.Unlock()
	})
	defer stop()
	signalled.L.Lock()
	defer signalled.L.Unlock()
	for !is() && ctx.Err() == nil {
		signalled.Wait()
	}
	return ctx.Err()
}
